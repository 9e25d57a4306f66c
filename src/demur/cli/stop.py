"""Ctrl-C, SIGTERM and a closed terminal: one line that says what is kept. Imports nothing that takes time."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

NOTHING_KEPT = "nothing of it is kept; run it again."
Kept = str | Callable[[], str]
"""What is said of a command that is stopped; asked for at that moment where it is a function."""


@dataclass
class State:
    """What the handler knows."""

    kept: Kept = NOTHING_KEPT
    """Of the command at work."""
    status: int = 0
    """The exit status of the first signal; 0 before there is one."""


STATE = State()


class Stopped(BaseException):
    """A signal to stop. No Exception, so that nothing on the way takes it for an error of its own."""

    def __init__(self, status: int):
        self.status, self.kept = status, kept()


def kept() -> str:
    """What is kept of the command at work, and how it goes on."""
    return STATE.kept if isinstance(STATE.kept, str) else STATE.kept()


@contextmanager
def stoppable() -> Iterator[None]:
    """Signals raise Stopped, with the exit status that shells know: 130 (Ctrl-C), 143 (SIGTERM), 129 (SIGHUP).

    A second one ends the process at once: what is on disk is whole at every moment. A SIGHUP that is ignored, as
    nohup has it, stays ignored.
    """

    def stop(number: int, _frame: object) -> None:
        if STATE.status:
            with suppress(OSError):
                os.write(2, f"\nstopped: {_plain(kept())}\n".encode(errors="backslashreplace"))
            os._exit(128 + number)
        STATE.status = 128 + number
        raise Stopped(STATE.status)

    numbers = [signal.SIGINT, signal.SIGTERM]
    hangup = getattr(signal, "SIGHUP", None)
    if hangup is not None and signal.getsignal(hangup) is not signal.SIG_IGN:
        numbers.append(hangup)
    STATE.kept, STATE.status = NOTHING_KEPT, 0
    before = {number: signal.signal(number, stop) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _plain(text: str) -> str:
    from demur.reports.layout import one_line

    return one_line(text)
