"""The command line: thin, one file a command; bad input is one line and exit status 2."""

from __future__ import annotations

import errno
import io
import logging
import os
import sys
import traceback
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Annotated, Any

import typer
from rich.console import Console
from typer.core import TyperGroup

from demur.cli import baseline, direction, doctor, evaluate, features, generate, judge, models, runs, sae, vector
from demur.cli.progress import LINE
from demur.cli.show import seen
from demur.cli.stop import STATE, Stopped, kept, stoppable
from demur.errors import DemurError, InputError
from demur.reports.layout import visible
from demur.runs.writing import is_full
from demur.version import VERSION

ORDER = ("quickstart", "baseline", "evaluate", "judge", "direction", "features", "sae", "generate", "vector", "runs",
         "models", "doctor")  # fmt: skip
MEASURE, FIND, STEER, AUDIT, MANAGE = "Measure", "Find", "Steer", "Audit", "Manage"


class InOrder(TyperGroup):
    """The commands in this order; typer lists groups last."""

    def list_commands(self, ctx: Any) -> list[str]:
        """Their names."""
        return sorted(self.commands, key=ORDER.index)


app = typer.Typer(
    cls=InOrder,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


def _version(wanted: bool) -> None:
    if wanted:
        print(f"demur {VERSION}")
        raise typer.Exit


@app.callback()
def whole(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Say it and stop.")
    ] = False,
) -> None:
    """Measure, find, steer and audit refusal in chat models."""


app.command("quickstart", rich_help_panel=MEASURE)(baseline.quickstart)
app.command("baseline", rich_help_panel=MEASURE)(baseline.baseline)
app.command("evaluate", rich_help_panel=MEASURE)(evaluate.evaluate)
app.command("judge", rich_help_panel=MEASURE)(judge.judge)
app.add_typer(direction.app, name="direction", rich_help_panel=FIND)
app.add_typer(features.app, name="features", rich_help_panel=FIND)
app.add_typer(sae.app, name="sae", rich_help_panel=FIND)
app.command("generate", rich_help_panel=STEER)(generate.generate)
app.add_typer(vector.app, name="vector", rich_help_panel=AUDIT)
app.add_typer(runs.app, name="runs", rich_help_panel=MANAGE)
app.add_typer(models.app, name="models", rich_help_panel=MANAGE)
app.command("doctor", rich_help_panel=MANAGE)(doctor.doctor)

Usage: Any = typer.BadParameter.__base__
"""What the parser raises for arguments that it does not understand; typer gives it no name of its own."""


SHOW = "DEMUR_TRACEBACK"
"""An environment variable: with it the traceback of a fault of demur's own is shown."""


def main(argv: list[str] | None = None) -> int:
    """Run the command line. Returns the exit status; nothing is raised, and no line but demur's is printed."""
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    with stoppable(), _warnings():
        try:
            status = app(args=argv, standalone_mode=False) or 0
            sys.stdout.flush()
            return status
        except Stopped as stop:
            return _say(stop.kept, stop.status, "stopped")
        except BaseException as error:
            if STATE.status:  # a library took the signal for an error of its own
                return _say(kept(), STATE.status, "stopped")
            return _failed(error)


def _failed(error: Any) -> int:
    """Say what was raised (a BaseException), in one line; the exit status."""
    if isinstance(error, SystemExit):
        raise error
    if isinstance(error, DemurError):
        return _say(str(error), error.exit_status)
    if isinstance(error, Usage):
        if type(error).__name__ == "NoArgsIsHelpError":
            error.show()
            return error.exit_code
        said = error.format_message()
        said = said[:1].lower() + said[1:] + ("" if said.endswith((".", "?")) else ".")
        command = error.ctx.command_path if error.ctx is not None else "demur"
        return _say(f"{said} See {command} --help.", error.exit_code)
    if isinstance(error, BrokenPipeError):  # the reader of our output, such as head, has enough
        return _mute() or 1
    if is_full(error):
        return _mute() or _say("no room left to write; what is whole is kept: free space, run again.", 1)
    if isinstance(error, MemoryError):
        return _say("memory ran out; what is finished is kept: take a smaller model, or fewer prompts.", 1)
    if isinstance(error, OSError):
        status = InputError.exit_status if error.errno == errno.ENAMETOOLONG else 1
        return _say(f"{error.filename or 'a file'}: {error.strerror or error}; check the path.", status)
    if os.environ.get(SHOW):
        for line in "".join(traceback.format_exception(error)).splitlines():
            print(visible(line), file=sys.stderr)
    said = f"{type(error).__name__}: {str(error) or 'no message'}"
    return _say(f"{said}. This is a fault of demur, not of yours; what is finished is kept. Run it with {SHOW}=1 to "
                "see where, and report it.", 1)  # fmt: skip


def _say(text: str, status: int, kind: str = "error") -> int:
    """One line on stderr, where there still is one."""
    with suppress(OSError):
        sys.stderr.write(LINE.ended())
        Console(stderr=True, soft_wrap=True).print(f"[red]{kind}[/red]: ", end="")
        print(seen(text).plain, file=sys.stderr)
    return status


def _mute() -> int:
    """Drop what is still to be written to stdout: Python would try it once more at its end, and say so."""
    with suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0


class _Handler(logging.Handler):
    """demur's own log, in lines as all others."""

    def emit(self, record: logging.LogRecord) -> None:
        _say(record.getMessage(), 0, "warning")


@contextmanager
def _warnings() -> Iterator[None]:
    """Warnings are a line of its own each, without control characters and without the place in demur's code."""
    before, handler = warnings.formatwarning, _Handler(logging.WARNING)
    # Not `showwarning`: who records warnings would see none.
    warnings.formatwarning = lambda message, *_args, **_options: f"{LINE.ended()}warning: {seen(str(message)).plain}\n"
    logging.getLogger("demur").addHandler(handler)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # where the terminal is not UTF-8
    try:
        yield
    finally:
        warnings.formatwarning = before
        logging.getLogger("demur").removeHandler(handler)
