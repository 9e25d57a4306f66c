"""Where each figure goes, and how its numbers read: shared by page, notebook and terminal."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from demur.reports.findings import Example, Findings
from demur.reports.metrics import CONFUSION, hundredfold, outcome_of, signed, unit_of
from demur.reports.overview import Overview
from demur.types import OUTCOMES, Figure

SHOWN = 2000
"""Characters of a prompt or an answer that a report shows; it says how many more there are."""

_CONTROLS = {code: chr(0x2400 + code) for code in range(32) if chr(code) not in "\n\t"} | {127: "\u2421"}
_BIDI = [*range(0x202A, 0x202F), *range(0x2066, 0x206A), 0x200E, 0x200F, 0x061C]
_INVISIBLE = [0xAD, 0x180E, 0x200B, 0x2028, 0x2029, *range(0x2060, 0x2065), *range(0x206A, 0x2070), 0xFEFF,
              *range(0xFFF9, 0xFFFC), *range(0x1D173, 0x1D17B), *range(0xE0000, 0xE0080)]  # fmt: skip
"""No width and no ink; the joiners that scripts and emoji need are left out."""
_UNSEEN = _CONTROLS | {code: f"<U+{code:04X}>" for code in [*range(0x80, 0xA0), *_BIDI, *_INVISIBLE]}
_UNSEEN |= dict.fromkeys(range(55296, 57344), "�")


@dataclass(frozen=True)
class ShareRow:
    """One arm on one set: all outcome shares over the same n."""

    arm: str
    set: str
    n: int
    denominator: str
    shares: dict[str, Figure] = field(default_factory=dict)


@dataclass(frozen=True)
class ShareTable:
    """What one judge said."""

    judge: str
    rows: list[ShareRow]

    def sets(self) -> dict[str, list[ShareRow]]:
        """The rows by their set, in the order in which sets came first."""
        found: dict[str, list[ShareRow]] = {}
        for row in self.rows:
            found.setdefault(row.set, []).append(row)
        return found


@dataclass(frozen=True)
class Panel:
    """Figures of one metric (and judge), to be drawn on one scale."""

    metric: str
    judge: str
    figures: list[Figure]


@dataclass(frozen=True)
class Agreement:
    """What two judges said of the same answers."""

    first: str
    second: str
    measures: list[Figure]
    cells: dict[tuple[str, str], Figure]
    """(the first's outcome, the second's) -> the share of answers; pairs that did not occur are left out."""

    def measure(self, metric: str) -> Figure | None:
        """Its figure of a metric; None where it has none."""
        return next((one for one in self.measures if one.metric == metric), None)

    @property
    def rows(self) -> list[str]:
        """Outcomes of the first judge."""
        return [outcome for outcome in OUTCOMES if any(a == outcome for a, _ in self.cells)]

    @property
    def columns(self) -> list[str]:
        """Outcomes of the second."""
        return [outcome for outcome in OUTCOMES if any(b == outcome for _, b in self.cells)]

    def count(self, row: str, column: str) -> int:
        """Answers."""
        share = self.cells.get((row, column))
        return 0 if share is None else round(share.value * share.n)


@dataclass(frozen=True)
class Layout:
    """The figures of a report, sorted into its sections."""

    shares: list[ShareTable]
    differences: list[Panel]
    measures: list[Panel]
    judges: list[Panel]
    agreements: list[Agreement]

    @property
    def compared(self) -> list[Figure]:
        """The columns of the table of agreements: for each metric that a pair has, a figure of it."""
        return list({one.metric: one for pair in self.agreements for one in pair.measures}.values())


def lay_out(figures: Iterable[Figure]) -> Layout:
    """Each figure to its section, in the order they came."""
    shares, differences, measures, judges, agreed = [], [], [], [], []
    for figure in figures:
        if figure.metric.startswith("judge_"):
            judges.append(figure)
        elif figure.metric.startswith("judges_") or CONFUSION.fullmatch(figure.metric):
            agreed.append(figure)
        elif figure.versus:
            differences.append(figure)
        elif outcome_of(figure):
            shares.append(figure)
        else:
            measures.append(figure)
    return Layout(_tables(shares), _panels(differences), _panels(measures), _panels(judges), _agreements(agreed))


def pictured(findings: Findings) -> list[Panel]:
    """What is drawn right below the overview, a panel for each metric and column."""
    return _panels(findings.overview.figures(drawn=True)) if findings.overview else []


def barred(table: ShareTable, overview: Overview | None) -> dict[str, list[ShareRow]]:
    """The rows whose outcomes are drawn as bars, by set: those of the overview's arms and sets, and what they are
    compared with; all without an overview."""
    figures = overview.figures() if overview else []
    places = {(arm, figure.set) for figure in figures for arm in (figure.arm, figure.versus)}
    return {name: kept for name, rows in table.sets().items()
            if (kept := [row for row in rows if not overview or (row.arm, name) in places])}  # fmt: skip


def leading(examples: Sequence[Example]) -> tuple[list[Example], list[Example]]:
    """The first example of each set, to be read at once, and the others."""
    first: dict[str, Example] = {}
    others = []
    for example in examples:
        if example.set in first:
            others.append(example)
        else:
            first[example.set] = example
    return list(first.values()), others


def percent(value: float) -> str:
    """0.634 -> 63; 0.004 -> 0.4."""
    points = 100 * value
    return f"{points:.1f}" if 0 < abs(points) < 1 or 99 < points < 100 else f"{points:.0f}"


def number(figure: Figure, value: float) -> str:
    """A value in its figure's unit: signed points for changes of shares, signed for differences."""
    plus = "+" if signed(figure) else ""
    return _minus(f"{100 * value:{plus}.1f}" if hundredfold(figure) else f"{value:{plus}.{3 if plus else 4}g}")


def short(figure: Figure, value: float) -> str:
    """The same in as few digits as a small table needs: whole percent and points."""
    if not hundredfold(figure):
        return _minus(f"{value:+z.2f}" if signed(figure) else f"{value:z.2f}")
    if not signed(figure):
        return _minus(percent(value))
    points = 100 * value
    return _minus(f"{points:+z.1f}" if 0 < abs(points) < 1 else f"{points:+z.0f}")


def span(figure: Figure, between: str = " to ") -> str:
    """The interval in the digits of `short`: "70 to 97"; "" where the figure has none."""
    if figure.low == figure.high and not (figure.versus and signed(figure)):
        return ""
    return f"{short(figure, figure.low)}{between}{short(figure, figure.high)}"


def tick(figure: Figure, value: float) -> str:
    """A round number on the figure's scale."""
    scaled = 100 * value if hundredfold(figure) else value
    return _minus(f"{scaled:+.3g}" if signed(figure) and abs(scaled) > 1e-12 else f"{scaled + 0.0:.4g}")


def unit(panel: Panel) -> str:
    """The unit of a panel's numbers, in words, or ""."""
    return next((said for figure in panel.figures if (said := unit_of(figure))), "")


def duration(seconds: float) -> str:
    """95.2 -> 1 min 35 s."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{seconds:.3g} s"


def spec_text(spec: Mapping[str, Any]) -> str:
    """The spec as indented JSON."""
    return json.dumps(spec, indent=2, ensure_ascii=False, default=str)


def visible(text: str) -> str:
    """Text in which nothing hides: control and bidi characters shown by name, lone surrogates replaced."""
    return text.replace("\r\n", "\n").translate(_UNSEEN)


def one_line(text: str) -> str:
    """`visible`, with line breaks and runs of spaces as one space: a name cannot pretend to be a row."""
    return " ".join(visible(text).split())


def clip(text: str, limit: int = SHOWN) -> tuple[str, int]:
    """The text up to `limit` characters, and how many more there were."""
    return text[:limit], max(0, len(text) - limit)


def _tables(figures: Sequence[Figure]) -> list[ShareTable]:
    tables: dict[str, dict[tuple[str, str, int, str], ShareRow]] = {}
    for figure in figures:
        place = (figure.arm, figure.set, figure.n, figure.denominator)
        row = tables.setdefault(figure.judge, {}).setdefault(place, ShareRow(*place))
        row.shares.setdefault(outcome_of(figure), figure)
    return [ShareTable(judge, list(rows.values())) for judge, rows in tables.items()]


def _agreements(figures: Sequence[Figure]) -> list[Agreement]:
    pairs: dict[tuple[str, str], Agreement] = {}
    for figure in figures:
        pair = pairs.setdefault((figure.arm, figure.judge), Agreement(figure.arm, figure.judge, [], {}))
        if confused := CONFUSION.fullmatch(figure.metric):
            pair.cells[confused[1], confused[2]] = figure
        else:
            pair.measures.append(figure)
    return list(pairs.values())


def _panels(figures: Sequence[Figure]) -> list[Panel]:
    panels: dict[tuple[str, str], list[Figure]] = {}
    for figure in figures:
        panels.setdefault((figure.metric, figure.judge), []).append(figure)
    return [Panel(*name, rows) for name, rows in panels.items()]


def _minus(text: str) -> str:
    return text.replace("-", "\u2212")
