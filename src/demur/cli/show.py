"""What the commands print: text from data, and tables."""

from __future__ import annotations

from collections.abc import Sequence

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from demur.reports import Overview, Ruling, layout
from demur.reports.metrics import metric
from demur.reports.overview import Cell, Tone
from demur.types import Figure

console = Console()
COLOURS: dict[Tone, str] = {"bad": "bold red", "careful": "bold yellow", "unclear": "bold", "good": "bold green"}
WIDTH = 100
"""Columns of a terminal in which an experiment's first table fits."""
REST = ("partial_rate", "off_topic_rate", "incoherent_rate", "undecided_rate")


def seen(text: str, style: str = "") -> Text:
    """Text from data, for the console: no markup in it is obeyed, control and bidi characters are shown by name."""
    return Text(layout.one_line(text), style)


def answer_table(overview: Overview) -> Table:
    """An experiment's first table. Intervals stand beside their figures where they fit, else below them."""
    table = _answers(overview, " ")
    wanted = Measurement.get(console, console.options.update(max_width=10 * WIDTH), table).maximum
    return table if wanted <= min(WIDTH, console.width) else _answers(overview, "\n")


def outcome_table(figures: Sequence[Figure], title: str) -> Table:
    """Arms x sets with the share of each outcome in percent, refusal and compliance with intervals.

    Outcomes that no answer had are left out and named below the table, so that it fits a terminal.
    """
    table = Table(title=seen(title), title_justify="left", caption_justify="left")
    places: dict[tuple[str, str], dict[str, Figure]] = {}
    for figure in figures:
        if not figure.versus:
            # The first is that of the judge who decides.
            places.setdefault((figure.set, figure.arm), {}).setdefault(figure.metric, figure)
    judged = {place: row for place, row in places.items() if "refusal_rate" in row}
    shown = [name for name in REST if any(row[name].value for row in judged.values())]
    for name in ("set", "arm", "n", "refused", "complied", *(metric(name).label for name in shown)):
        table.add_column(name, justify="left" if name in ("set", "arm") else "right")
    if absent := [metric(name).label for name in REST if name not in shown]:
        table.caption = f"No answer was {', '.join(absent[:-1])}{' or ' if absent[:-1] else ''}{absent[-1]}."
    for (name, arm), row in judged.items():
        both = [_interval(row[name]) for name in ("refusal_rate", "compliance_rate")]
        rest = [f"{100 * row[name].value:.0f}%" for name in shown]
        table.add_row(seen(name), seen(arm), str(row["refusal_rate"].n), *both, *rest)
    return table


def agreement_table(figures: Sequence[Figure]) -> Table | None:
    """How far each two judges agree, with intervals; None where one judged alone."""
    laid = layout.lay_out(figures)
    if not laid.agreements:
        return None
    table = Table(title="Do the judges agree?", title_justify="left")
    table.add_column("judges")
    table.add_column("n", justify="right")
    for figure in laid.compared:
        table.add_column(metric(figure.metric).label, justify="right")
    for pair in laid.agreements:
        cells = [_cell(pair.measure(one.metric) or "", " ") for one in laid.compared]
        table.add_row(seen(f"{pair.first}, {pair.second}"), str(pair.measures[0].n), *cells)
    return table


def _answers(overview: Overview, between: str) -> Table:
    caption = seen(overview.caption) if overview.caption else None
    table = Table(box=SIMPLE_HEAD, caption=caption, caption_justify="left", pad_edge=False,
                  collapse_padding=True)  # fmt: skip
    table.add_column(seen(overview.of), overflow="fold")
    for i, column in enumerate(overview.columns):
        head = seen(column.label) + Text(f"\n{layout.one_line(column.under)}", "dim")
        table.add_column(head, justify="left" if overview.says(i) else "right", overflow="fold")
    repeated = len({row.label for row in overview.rows}) < len(overview.rows)
    for row in overview.rows:
        cells = [_cell(cell, between) for cell in row.cells]
        label = f"{row.label}, {row.under}" if repeated and row.under else row.label
        table.add_row(seen(label), *cells, style="dim" if row.control else "")
    return table


def _cell(cell: Cell, between: str) -> Text:
    if isinstance(cell, Ruling):
        return seen(cell.text, COLOURS[cell.tone])
    if isinstance(cell, str):
        return seen(cell)
    span = layout.span(cell, ", ")
    return Text(layout.short(cell, cell.value)) + Text(f"{between}[{span}]" if span else "", "dim")


def _interval(figure: Figure) -> str:
    return f"{100 * figure.value:.0f}% [{100 * figure.low:.0f}-{100 * figure.high:.0f}]"
