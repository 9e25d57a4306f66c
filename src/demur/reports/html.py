"""One self-contained HTML page: no script, nothing fetched, everything escaped."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

from demur.reports import layout, metrics, plots
from demur.reports.findings import Findings
from demur.reports.overview import Overview
from demur.types import OUTCOMES

if TYPE_CHECKING:
    from jinja2 import Environment

POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'"
"""Content-Security-Policy of every page: no script of any origin can run."""
TEMPLATES = Path(__file__).parent / "templates"


def render(findings: Findings) -> str:
    """The page, to be written as UTF-8."""
    laid = layout.lay_out(findings.figures)
    return (
        _environment()
        .get_template("page.html.j2")
        .render(
            findings=findings,
            pictured=[plots.interval_plot(panel) for panel in layout.pictured(findings)],
            shares=laid.shares,
            bars=[layout.barred(table, findings.overview) for table in laid.shares],
            read=layout.leading(findings.examples),
            differences=[plots.interval_plot(panel) for panel in laid.differences],
            measures=[plots.interval_plot(panel) for panel in laid.measures],
            scatters=[plots.scatter_plot(scatter) for scatter in findings.scatters],
            judges=[plots.interval_plot(panel) for panel in laid.judges],
            agreements=laid.agreements,
            compared=laid.compared,
            spec=layout.spec_text(findings.spec),
        )
    )


def render_part(title: str, summary: Sequence[str], overview: Overview | None) -> str:
    """The same first table with its sentences as a piece of HTML, for a notebook."""
    part = _environment().get_template("part.html.j2")
    return part.render(title=title, summary=summary, overview=overview)


@cache
def _environment() -> Environment:
    # Here, so that the command line starts without it.
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_seen,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals.update(
        OUTCOMES=OUTCOMES,
        policy=POLICY,
        segments=plots.segments,
        percent=layout.percent,
        short=layout.short,
        span=layout.span,
        metric=metrics.metric,
        hint=metrics.hint,
        outcome_of=metrics.outcome_of,
        unit=layout.unit,
        duration=layout.duration,
        clip=layout.clip,
    )
    return environment


def _seen(value: Any) -> Any:
    """Every str on its way into the page, before it is escaped."""
    return layout.visible(value) if isinstance(value, str) and not isinstance(value, Markup) else value
