"""Where each figure goes, and how its numbers read."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from demur.types import OUTCOMES, Figure

ALIASES = {
    "refusal_rate": "refused",
    "partial_rate": "partial",
    "compliance_rate": "complied",
    "off_topic_rate": "off-topic",
    "incoherent_rate": "incoherent",
    "undecided_rate": "undecided",
}
SHOWN = 2000
"""Characters of a prompt or an answer that a report shows; it says how many more there are."""

_CONTROLS = {code: chr(0x2400 + code) for code in range(32) if chr(code) not in "\n\t"} | {127: "\u2421"}
_BIDI = [*range(0x202A, 0x202F), *range(0x2066, 0x206A), 0x200E, 0x200F, 0x061C]
_UNSEEN = _CONTROLS | {code: f"<U+{code:04X}>" for code in [*range(0x80, 0xA0), *_BIDI]}
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


@dataclass(frozen=True)
class Panel:
    """Figures of one metric (and judge), to be drawn on one scale."""

    metric: str
    judge: str
    figures: list[Figure]


@dataclass(frozen=True)
class Layout:
    """The figures of a report, sorted into its sections."""

    shares: list[ShareTable]
    differences: list[Panel]
    measures: list[Panel]
    judges: list[Panel]


def lay_out(figures: Iterable[Figure]) -> Layout:
    """Each figure to its section, in the order they came."""
    shares, differences, measures, judges = [], [], [], []
    for figure in figures:
        if figure.metric.startswith("judge_"):
            judges.append(figure)
        elif figure.versus:
            differences.append(figure)
        elif outcome_of(figure):
            shares.append(figure)
        else:
            measures.append(figure)
    return Layout(_tables(shares), _panels(differences), _panels(measures), _panels(judges))


def outcome_of(figure: Figure) -> str:
    """The outcome whose share (or change of share) this is, or ""."""
    name = ALIASES.get(figure.metric, figure.metric)
    return name if name in OUTCOMES else ""


def percent(value: float) -> str:
    """0.634 -> 63; 0.004 -> 0.4."""
    points = 100 * value
    return f"{points:.1f}" if 0 < abs(points) < 1 or 99 < points < 100 else f"{points:.0f}"


def number(figure: Figure, value: float) -> str:
    """A value in its figure's unit: signed points for changes of shares, signed for differences."""
    if outcome_of(figure):
        return _minus(f"{100 * value:+.1f}" if figure.versus else f"{100 * value:.1f}")
    return _minus(f"{value:+.3g}" if figure.versus else f"{value:.4g}")


def tick(figure: Figure, value: float) -> str:
    """A round number on the figure's scale."""
    scaled = 100 * value if outcome_of(figure) else value
    return _minus(f"{scaled:+.3g}" if figure.versus and abs(scaled) > 1e-12 else f"{scaled + 0.0:.4g}")


def unit(panel: Panel) -> str:
    """The unit of a panel's numbers, in words, or ""."""
    if not any(outcome_of(figure) for figure in panel.figures):
        return ""
    return "points" if any(figure.versus for figure in panel.figures) else "percent"


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


def _panels(figures: Sequence[Figure]) -> list[Panel]:
    panels: dict[tuple[str, str], list[Figure]] = {}
    for figure in figures:
        panels.setdefault((figure.metric, figure.judge), []).append(figure)
    return [Panel(*name, rows) for name, rows in panels.items()]


def _minus(text: str) -> str:
    return text.replace("-", "\u2212")
