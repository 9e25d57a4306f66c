"""The small table that answers what an experiment asked: the first thing in its report and in the terminal.

Figures are selected here, never computed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from demur.types import Figure

Tone = Literal["bad", "careful", "unclear", "good"]

TONES: Mapping[str, Tone] = {
    "raises compliance": "bad",
    "raises over-refusal": "careful",
    "inconclusive": "unclear",
    "safe": "good",
}
"""An audit's verdict -> how it is coloured."""


@dataclass(frozen=True)
class Ruling:
    """A verdict as a cell."""

    text: str
    tone: Tone


Cell = str | Figure | Ruling
"""Words, a figure (shown with its interval) or a verdict; "" for what was not measured."""


@dataclass(frozen=True)
class Column:
    """What stands above a column of cells."""

    label: str
    under: str = ""
    """A second, smaller line: the set, or the end of a scale."""
    drawn: bool = False
    """Whether its figures are drawn below the table."""


@dataclass(frozen=True)
class Row:
    """One arm, vector or claim."""

    label: str
    cells: Sequence[Cell]
    """One a column."""
    under: str = ""
    """A second, smaller line: the name that other tables use."""
    control: bool = False
    """Whether it is there to be compared with."""


@dataclass(frozen=True)
class Overview:
    """The table. Raises ValueError when a row has not one cell a column."""

    of: str
    """What a row is: arm, vector, claim."""
    columns: Sequence[Column]
    rows: Sequence[Row]
    caption: str = ""

    def __post_init__(self) -> None:
        for row in self.rows:
            if len(row.cells) != len(self.columns):
                raise ValueError(f"{row.label!r} has {len(row.cells)} cells for {len(self.columns)} columns.")

    def first(self, column: int) -> Figure | None:
        """The column's first figure."""
        cells = (row.cells[column] for row in self.rows)
        return next((cell for cell in cells if isinstance(cell, Figure)), None)

    def says(self, column: int) -> bool:
        """Whether the column holds verdicts."""
        return any(isinstance(row.cells[column], Ruling) for row in self.rows)

    def figures(self, drawn: bool = False) -> list[Figure]:
        """The figures in it, column by column; drawn: of the columns that are drawn."""
        shown = [i for i, column in enumerate(self.columns) if column.drawn or not drawn]
        cells = [row.cells[i] for i in shown for row in self.rows]
        return list(dict.fromkeys(cell for cell in cells if isinstance(cell, Figure)))


ARMS = {
    "unsteered": "unsteered",
    "add": "direction added",
    "ablate": "direction ablated",
    "random": "random added",
    "random ablate": "random ablated",
}


def baseline_overview(figures: Sequence[Figure]) -> Overview:
    """A row an arm: how often it refuses and complies, what that costs, and what random directions do."""
    columns = {
        Column("refused", "harmful", drawn=True): ("harmful", "refusal_rate"),
        Column("complied", "harmful", drawn=True): ("harmful", "compliance_rate"),
        Column("complied", "attacked", drawn=True): ("attacked", "compliance_rate"),
        Column("refused", "borderline"): ("borderline", "refusal_rate"),
        Column("refused", "plain"): ("plain", "refusal_rate"),
        Column("capability", "items"): ("capability", "accuracy"),
    }
    rows = []
    for arm, label in ARMS.items():
        cells = [_cell(figures, arm, *place) for place in columns.values()]
        if any(cells):
            rows.append(Row(label, cells, "" if label == arm else arm, control=arm.startswith("random")))
    said = "Percent, with 95% intervals. The direction is the model's refusal direction; the random ones are as long."
    if beside := _unshown(figures, columns.values()):
        said += f" Neither refused nor complied, at most: {beside}."
    return _table("arm", list(columns), rows, said)


UNCLEAR = {"partial": "partial_rate", "undecided": "undecided_rate"}
"""Outcomes of which there are mostly few or none -> their metric."""


def _unshown(figures: Sequence[Figure], places: Iterable[tuple[str, str]]) -> str:
    """`partial 12% (unsteered, harmful)`: the largest share of each of UNCLEAR in the sets of a table without them; ""
    where there are none."""
    sets, said = {name for name, _ in places}, []
    for label, metric in UNCLEAR.items():
        shares = [f for f in figures if f.metric == metric and not f.versus and f.arm in ARMS and f.set in sets]
        most = max(shares, key=lambda f: f.value, default=None)
        if most is not None and most.value > 0:
            said.append(f"{label} {100 * most.value:.0f}% ({most.arm}, {most.set})")
    return ", ".join(said)


def evaluation_overview(figures: Sequence[Figure]) -> Overview:
    """A row for each arm and set: the shares of the outcomes, of partial and undecided answers where there are any."""
    metrics = {
        "refused": "refusal_rate",
        "partial": "partial_rate",
        "complied": "compliance_rate",
        "off-topic": "off_topic_rate",
        "incoherent": "incoherent_rate",
        "undecided": "undecided_rate",
    }
    some = {f.metric for f in figures if not f.versus and f.value > 0}
    metrics = {label: name for label, name in metrics.items() if label not in UNCLEAR or name in some}
    places = dict.fromkeys((f.arm, f.set) for f in figures if not f.versus and f.metric in metrics.values())
    rows = [Row(arm, [_cell(figures, arm, name, metric) for metric in metrics.values()], name) for arm, name in places]
    columns = [Column(label, drawn=label in ("refused", "complied")) for label in metrics]
    return _table("arm and set", columns, rows, "Percent of answers, with 95% intervals.")


BENIGN = ("borderline", "plain")


def audit_overview(
    figures: Sequence[Figure],
    verdicts: Mapping[str, str],
    ends: Mapping[str, Mapping[float, str]],
    broken: Mapping[str, float],
    primary: str = "attacked",
) -> Overview:
    """A row a vector: its verdict, the change of complied at each end of its doses, and what it costs.

    ends: subject -> extreme multiplier -> arm; a subject without a verdict is a control. broken: arm -> change of the
    share of broken answers on the primary set. Of over-refusal and broken answers the worse end is shown.
    """
    columns = [
        Column("verdict"),
        Column("complied", _end(ends, below=True), drawn=True),
        Column("complied", _end(ends, below=False), drawn=True),
        Column("over-refusal", "worse end"),
        Column("broken", "worse end"),
        Column("cosine", "to refusal"),
    ]
    rows = []
    for name, arms in ends.items():
        said = verdicts.get(name, "")
        ruling = Ruling(said, TONES.get(said, "unclear")) if said else ""
        low, high = (next((arm for m, arm in arms.items() if (m < 0) == below), "") for below in (True, False))
        change = [_cell(figures, arm, primary, "compliance_rate", "unsteered") for arm in (low, high)]
        benign = [_cell(figures, arm, kind, "refusal_rate", "unsteered") for arm in arms.values() for kind in BENIGN]
        over = max((f for f in benign if isinstance(f, Figure)), key=lambda f: f.low, default="")
        known = [broken[arm] for arm in arms.values() if arm in broken]
        cosine = _cell(figures, name, "geometry", "cosine_to_refusal")
        rows.append(Row(name, [ruling, *change, over, points(max(known)) if known else "", cosine], control=not said))
    said = (
        f"Points more than unsteered on {primary} requests, with 95% intervals. Over-refusal: of borderline or plain "
        "requests, whichever rises more surely. Beside the cosine: its range over the vector's sites."
    )
    return _table("vector", columns, rows, said)


CLAIMS = {
    "suppress": ("features suppressed", "harmful", "compliance_rate"),
    "suppress minimal": ("the fewest that do it, suppressed", "harmful", "compliance_rate"),
    "suppress without direction": ("suppressed, less the direction", "harmful", "compliance_rate"),
    "random suppress": ("random features suppressed", "harmful", "compliance_rate"),
    "ablate": ("direction ablated", "harmful", "compliance_rate"),
    "clamp": ("features clamped", "attacked", "refusal_rate"),
    "clamp minimal": ("the fewest that do it, clamped", "attacked", "refusal_rate"),
    "clamp without direction": ("clamped, less the direction", "attacked", "refusal_rate"),
    "random clamp": ("random features clamped", "attacked, a share", "refusal_rate"),
    "add": ("direction added", "attacked", "refusal_rate"),
}
"""Arm of a proof -> in words, and the set and metric on which it is judged."""
CONTROLS = ("random suppress", "ablate", "random clamp", "add")


def proof_overview(figures: Sequence[Figure], broken: Mapping[str, float]) -> Overview:
    """A row a claim about features: its effect beside random features' and the direction's, and what it costs.

    broken: arm -> change of the share of broken answers on the set of its claim.
    """
    columns = [
        Column("complied", "harmful", drawn=True),
        Column("refused", "attacked", drawn=True),
        Column("broken", "answers"),
        Column("capability", "items"),
    ]
    rows = []
    for arm, (label, name, metric) in CLAIMS.items():
        effect = _cell(figures, arm, name, metric, "unsteered")
        both = [effect, ""] if metric == "compliance_rate" else ["", effect]
        cost = points(broken[arm]) if arm in broken else ""
        right = _cell(figures, arm, "capability", "accuracy", "unsteered")
        if effect:
            rows.append(Row(label, [*both, cost, right], arm, arm in CONTROLS))
    return _table("claim", columns, rows, "Points more than unsteered on held-out requests, with 95% intervals.")


def points(share: float) -> str:
    """A change of a share in points, where it has no interval: 0.031 -> "+3"."""
    return f"{100 * share:+z.0f}".replace("-", "\u2212")


def _cell(figures: Sequence[Figure], arm: str, name: str, metric: str, versus: str = "") -> Figure | str:
    place = (arm, name, metric, versus)
    return next((f for f in figures if (f.arm, f.set, f.metric, f.versus) == place), "")


def _end(ends: Mapping[str, Mapping[float, str]], below: bool) -> str:
    """What the column of one end is called: its multiplier where all vectors share it."""
    found = {m for arms in ends.values() for m in arms if (m < 0) == below}
    return f"at {found.pop():+g}".replace("-", "\u2212") if len(found) == 1 else "low end" if below else "high end"


def _table(of: str, columns: Sequence[Column], rows: Sequence[Row], caption: str) -> Overview:
    """The table without the columns in which no row has anything."""
    held = [i for i, _ in enumerate(columns) if any(row.cells[i] for row in rows)]
    rows = [replace(row, cells=[row.cells[i] for i in held]) for row in rows]
    return Overview(of, [columns[i] for i in held], rows, caption)
