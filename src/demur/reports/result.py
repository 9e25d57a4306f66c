"""What every experiment returns."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from demur.errors import unknown
from demur.reports import html, paper
from demur.reports.layout import one_line
from demur.reports.metrics import ALIASES
from demur.reports.overview import Overview
from demur.runs.frame import to_pandas
from demur.types import Figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from pandas import DataFrame


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Result:
    """An experiment's answer, in words and figures.

    An experiment that returns more makes a final subclass with the same decorator and its own fields:

        @final
        @dataclass(frozen=True, kw_only=True, eq=False, repr=False)
        class AuditResult(Result):
            verdicts: Mapping[str, str]
    """

    title: str
    summary: tuple[str, ...]
    """What was found, one sentence each; the first is the headline."""
    figures: tuple[Figure, ...]
    spec: Mapping[str, Any]
    """All that is needed to run it again."""
    overview: Overview | None = None
    """The table that answers first."""
    seconds: float = 0.0
    generated: int = 0
    """Answers that the engine generated in this session, fits and calibrations among them; 0 when everything came from
    the journal and the cache."""
    out: Path | None = None
    """The folder of journal, results.json and report; None when nothing was written."""
    report: Path | None = None
    """The page to open in a browser."""

    def to_pandas(self) -> DataFrame:
        """One row a figure. Raises MissingExtra (`notebook`)."""
        return to_pandas(self.figures)

    def plot(
        self, metric: str | None = None, set: str | None = None, ax: Axes | None = None, *, change: bool = False
    ) -> Axes:
        """One metric by arm with its intervals, for a paper; matplotlib's axes, to be changed at will.

        metric: its name in the report or in results.json; None: the first that the overview draws. set: one of the
        sets; None: all. change: paired changes instead of shares, where there are both. Raises UnknownName, and
        MissingExtra (`plots`).
        """
        return paper.draw(self._chosen(metric, set, change), ax)

    def _chosen(self, metric: str | None, set: str | None, change: bool) -> list[Figure]:
        if metric is None:
            drawn = self.overview.figures(drawn=True) if self.overview else []
            found = drawn or list(self.figures)
            metric = found[0].metric if found else ""
        else:
            found = list(self.figures)
        wanted = ALIASES.get(metric, metric)
        known = dict.fromkeys(ALIASES.get(figure.metric, figure.metric) for figure in found)
        if wanted not in known:
            raise unknown("metric in this result", metric, known)
        found = [figure for figure in found if ALIASES.get(figure.metric, figure.metric) == wanted]
        found = [figure for figure in found if figure.judge == found[0].judge]  # not the other judges' beside it
        if set is not None:
            if set not in (sets := dict.fromkeys(figure.set for figure in found)):
                raise unknown(f"set with {wanted} in this result", set, sets)
            found = [figure for figure in found if figure.set == set]
        return [figure for figure in found if bool(figure.versus) == change] or found

    def _repr_html_(self) -> str:
        """For notebooks: the overview and the sentences."""
        return html.render_part(self.title, self.summary, self.overview)

    def __str__(self) -> str:
        lines = [self.title, *self.summary[:1], *([f"Report: {self.report}"] if self.report else [])]
        return "\n".join(one_line(line) for line in lines)

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: {'; '.join(str(self).splitlines())}>"
