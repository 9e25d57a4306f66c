"""What a command says while it works, and what it keeps when it is stopped."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from demur.cli.results import about
from demur.cli.stop import NOTHING_KEPT, STATE, Kept
from demur.reports.layout import one_line

if TYPE_CHECKING:
    from demur.cli.options import Loading
    from demur.engines.hf import HFEngine

Update = Callable[[str, int, int], None]
"""Called with a phase's name, what is done and what there is in all."""
GENERATING = ("calibrating the judge", "generating")
"""Phases whose units are answers."""
MEASURED = 3.0
"""Seconds that a batch takes at least before anything is reckoned from it: one from the journal takes none."""
BEAT = 20.0
"""Seconds after which a line that goes on says how far it is."""


def journaled(out: Path) -> Kept:
    """What a run with a journal in `out` keeps when it is stopped."""
    journal = out / "journal.sqlite"
    said = f"what is finished is kept in {journal}; run the same command again and it goes on."
    return lambda: said if journal.exists() else NOTHING_KEPT


@dataclass
class Line:
    """The last line on stderr."""

    open: bool = False
    """A phase's, which goes on."""

    def ended(self) -> str:
        """What has to be written before a line of its own."""
        before, self.open = "\n" if self.open else "", False
        return before


LINE = Line()


@contextmanager
def progress(kept: Kept = NOTHING_KEPT, answers: int = 0, plans: Sequence[str] = ()) -> Iterator[Update]:
    """A callback that shows how far each phase is, on stderr: a bar with the time left, or a line where stderr is no
    terminal. kept: what is said when the command is stopped from here on. answers: how many there will be; then about
    how long that takes is said as soon as a batch of them was timed. plans: what else is said before it starts."""
    STATE.kept = kept
    screen = Console(stderr=True)
    with _bars(screen) if screen.is_terminal else _lines(sys.stderr) as shown:
        if answers:
            shown.note(f"up to {answers} answers, each generated and judged; what was made before is not made again")
        for plan in plans:
            shown.note(one_line(plan))
        update = _timed(shown, answers) if answers else shown.update
        yield lambda phase, done, total: update(one_line(phase), done, total)


@dataclass(frozen=True)
class _Shown:
    """What a display does."""

    update: Update
    note: Callable[[str], None]
    """Write a line of its own."""


def _timed(shown: _Shown, answers: int) -> Update:
    """The display's update, which says once how long the answers take at least: judging and scoring them takes as long
    as generating them does, and longer where the vocabulary is large."""
    began: dict[str, float] = {}
    said = False

    def update(phase: str, done: int, total: int) -> None:
        nonlocal said
        shown.update(phase, done, total)
        now = time.monotonic()
        start = began.setdefault(phase, now)
        if not said and done and phase in GENERATING and now - start > MEASURED:
            said = True
            takes = about(2 * answers / done * (now - start))
            shown.note(f"{done} answers took {now - start:.0f} s, so all of it takes {takes} or more")

    return update


def opened(model: str, loading: Loading, update: Update) -> HFEngine:
    """The engine of a model."""
    from demur.engines.hf import HFEngine

    update(f"loading {model}", 0, 1)
    engine = HFEngine(model, loading.dtype, **loading.keywords())
    update(f"loading {model}", 1, 1)
    return engine


@contextmanager
def _bars(screen: Console) -> Iterator[_Shown]:
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=screen, transient=True) as bars:
        tasks = {}

        def update(phase: str, done: int, total: int) -> None:
            if phase not in tasks:
                tasks[phase] = bars.add_task(phase, total=total)
            bars.update(tasks[phase], completed=done, total=total)

        yield _Shown(update, lambda text: bars.console.print(text, markup=False))


@contextmanager
def _lines(to: TextIO) -> Iterator[_Shown]:
    """A line a phase: its name at once, now and then how far it is, and at the end all of it with the seconds. Where
    something else is written meanwhile, the phase goes on in a line below it."""
    phase, began, said = "", 0.0, 0.0

    def write(text: str) -> None:
        to.write(text)
        to.flush()

    def update(name: str, done: int, total: int) -> None:
        nonlocal phase, began, said
        now = time.monotonic()
        if name != phase:
            write(LINE.ended())
            phase, began, said = name, now, now
        if not LINE.open:
            write(f"{name} ...")
            LINE.open = True
        if done >= total:
            write(f" {done}/{total} ({now - began:.0f} s)\n")
            phase, LINE.open = "", False
        elif now - said > BEAT:
            write(f" {done}")
            said = now

    try:
        yield _Shown(update, lambda text: write(f"{LINE.ended()}{text}\n"))
    finally:
        write(LINE.ended())
