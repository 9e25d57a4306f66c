"""Targets: what a figure had to reach, and whether it did (protocol: Statistics, Results)."""

from __future__ import annotations

import operator
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from demur.analysis.tables import excess
from demur.errors import BadSpec
from demur.types import Figure

Comparison = Literal[">=", ">", "<=", "<"]
COMPARE = {">=": operator.ge, ">": operator.gt, "<=": operator.le, "<": operator.lt}
MARGIN = 0.05
"""An arm whose broken share exceeds the baseline's by more than this meets no target."""


@dataclass(frozen=True)
class Target:
    """A bound on the one figure with this arm, set, metric (and versus, judge)."""

    id: str
    text: str
    """The figure, in words, for people."""
    arm: str
    set: str
    metric: str
    comparison: Comparison
    bound: float
    """In the figure's own unit; shares are 0 to 1, so 2 points are 0.02."""
    versus: str = ""
    judge: str | None = None
    """None: whichever judge there is, if there is one only."""
    on: Literal["value", "interval"] = "value"
    """interval: the interval's worse end must hold the bound (for targets on small changes)."""
    baseline: str = "unsteered"
    """The arm whose incoherent + off-topic share is the measure for this one's."""

    def __post_init__(self) -> None:
        if not self.id or re.search(r"\s", self.id):
            raise BadSpec(f"target id {self.id!r} must be one word")
        if self.comparison not in COMPARE:
            raise BadSpec(f"target {self.id}: comparison {self.comparison!r}; known: {', '.join(COMPARE)}")
        if self.on not in ("value", "interval"):
            raise BadSpec(f"target {self.id}: on {self.on!r}; known: value, interval")

    def figure(self, figures: Iterable[Figure]) -> Figure | None:
        """The figure it speaks of, None when it was not measured. Raises BadSpec when several fit."""
        found = [figure for figure in figures if self._fits(figure)]
        if len(found) > 1:
            judges = sorted({figure.judge for figure in found})
            raise BadSpec(f"target {self.id} fits {len(found)} figures, by judges {judges}; name one judge")
        return found[0] if found else None

    def met(self, figures: Sequence[Figure]) -> bool:
        """Whether the figure was measured, holds the bound, and its arm is as coherent as it must be."""
        figure = self.figure(figures)
        if figure is None or excess(figures, self.arm, self.set, self.baseline) > MARGIN + 1e-9:
            return False
        value = figure.value
        if self.on == "interval":
            value = figure.low if self.comparison.startswith(">") else figure.high
        return bool(COMPARE[self.comparison](value, self.bound))

    def line(self, figures: Sequence[Figure]) -> str:
        """`met|short <id> <figure> <target>`: four words, separated by one space."""
        figure = self.figure(figures)
        against = f"-{self.versus}" if self.versus else ""
        measured = "=unmeasured"
        if figure is not None:
            measured = f"={figure.value:.4g}[{figure.low:.4g},{figure.high:.4g}],n={figure.n}"
        more = excess(figures, self.arm, self.set, self.baseline)
        broken = f",broken+{more:.4g}" if more > MARGIN + 1e-9 else ""
        words = re.sub(r"\s+", "_", f"{self.metric}({self.arm}{against},{self.set}){measured}{broken}")
        end = {"value": "", "interval": "(interval)"}[self.on]
        verdict = "met" if self.met(figures) else "short"
        return f"{verdict} {self.id} {words} {self.comparison}{self.bound:.4g}{end}"

    def _fits(self, figure: Figure) -> bool:
        mine = (self.arm, self.versus, self.set, self.metric)
        theirs = (figure.arm, figure.versus, figure.set, figure.metric)
        return mine == theirs and self.judge in (None, figure.judge)


def verdict_lines(figures: Sequence[Figure], targets: Iterable[Target]) -> list[str]:
    """One line a target, in their order, for an experiment to print."""
    return [target.line(figures) for target in targets]
