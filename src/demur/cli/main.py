"""The command line: thin, one file a command; bad input is one line and exit status 2."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any

import typer
from rich.console import Console
from typer.core import TyperGroup

from demur.cli import baseline, direction, doctor, evaluate, features, generate, models, runs, sae, vector
from demur.cli.progress import Stopped
from demur.cli.show import seen
from demur.errors import DemurError
from demur.version import VERSION

ORDER = ("quickstart", "baseline", "evaluate", "direction", "features", "sae", "generate", "vector", "runs", "models",
         "doctor")  # fmt: skip
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


def main(argv: list[str] | None = None) -> int:
    """Run the command line; the console script's entry. Returns the exit status."""
    try:
        with _stoppable():
            return app(args=argv, standalone_mode=False) or 0
    except DemurError as error:
        return _say(str(error), error.exit_status)
    except Usage as error:
        if type(error).__name__ == "NoArgsIsHelpError":
            error.show()
            return error.exit_code
        said = error.format_message()
        said = said[:1].lower() + said[1:] + ("" if said.endswith((".", "?")) else ".")
        command = error.ctx.command_path if error.ctx is not None else "demur"
        return _say(f"{said} See {command} --help.", error.exit_code)
    except OSError as error:
        return _say(f"{error.filename or 'a file'}: {error.strerror or error}; check the path.", 1)
    except Stopped as stop:
        return _say(stop.kept, stop.status, "stopped")


def _say(text: str, status: int, kind: str = "error") -> int:
    """One line on stderr."""
    Console(stderr=True, soft_wrap=True).print(f"[red]{kind}[/red]: ", end="")
    print(seen(text).plain, file=sys.stderr)
    return status


@contextmanager
def _stoppable() -> Iterator[None]:
    """Ctrl-C and SIGTERM raise Stopped, with the exit status that shells know: 130 and 143."""

    def stop(number: int, _frame: object) -> None:
        raise Stopped(128 + number)

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
