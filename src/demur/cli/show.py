"""What the commands print: progress with an estimate of the time left, and tables."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from demur.types import Figure

console = Console()
STEER = (
    "add:FILE[:DOSE[r]] with a direction, a vector (.safetensors, .gguf, .svec, .pt) or a feature set (r: in units of "
    "the stream's norm); ablate:FILE[:DOSE], scale:FILE:FACTOR with a direction or a vector of one site; "
    "clamp:FEATURES:VALUE[r], suppress:FEATURES[:FACTOR] with a feature set; or a .json spec."
)
"""What --steer takes."""
REST = ("partial_rate", "off_topic_rate", "incoherent_rate", "undecided_rate")


@contextmanager
def progress() -> Iterator[Callable[[str, int, int], None]]:
    """A callback (phase, done, total) that draws one bar a phase, with the time left, on stderr.

    Nothing is drawn where stderr is no terminal: an error is then the only line there.
    """
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    screen = Console(stderr=True)
    with Progress(*columns, console=screen, transient=True, disable=not screen.is_terminal) as bars:
        tasks: dict[str, object] = {}

        def update(phase: str, done: int, total: int) -> None:
            if phase not in tasks:
                tasks[phase] = bars.add_task(phase, total=total)
            bars.update(tasks[phase], completed=done, total=total)  # pyright: ignore[reportArgumentType]

        yield update


def outcome_table(figures: Sequence[Figure], title: str) -> Table:
    """Arms x sets with the share of each outcome in percent, refusal and compliance with intervals.

    Outcomes that no answer had are left out and named below the table, so that it fits a terminal.
    """
    table = Table(title=title, title_justify="left", caption_justify="left")
    places: dict[tuple[str, str], dict[str, Figure]] = {}
    for figure in figures:
        if not figure.versus:
            places.setdefault((figure.set, figure.arm), {})[figure.metric] = figure
    judged = {place: row for place, row in places.items() if "refusal_rate" in row}
    shown = [metric for metric in REST if any(row[metric].value for row in judged.values())]
    for name in ("set", "arm", "n", "refused", "complied", *(_outcome(metric) for metric in shown)):
        table.add_column(name, justify="left" if name in ("set", "arm") else "right")
    if absent := [_outcome(metric) for metric in REST if metric not in shown]:
        table.caption = f"No answer was {', '.join(absent[:-1])}{' or ' if absent[:-1] else ''}{absent[-1]}."
    for (name, arm), row in judged.items():
        both = [_interval(row[metric]) for metric in ("refusal_rate", "compliance_rate")]
        rest = [f"{100 * row[metric].value:.0f}%" for metric in shown]
        table.add_row(name, arm, str(row["refusal_rate"].n), *both, *rest)
    return table


def _outcome(metric: str) -> str:
    """off_topic_rate -> off-topic"""
    return metric.removesuffix("_rate").replace("_", "-")


def _interval(figure: Figure) -> str:
    return f"{100 * figure.value:.0f}% [{100 * figure.low:.0f}-{100 * figure.high:.0f}]"
