"""The command line: thin, one file a command; bad input is one line and exit status 2."""

from __future__ import annotations

import sys
from typing import Any

import typer
from rich.console import Console

from demur.cli import direction, doctor, evaluate, features, generate, models, quickstart, runs, sae, vector
from demur.errors import DemurError

app = typer.Typer(
    help="Find, prove, steer, audit and serve refusal in chat models.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.command("quickstart")(quickstart.quickstart)
app.command("models")(models.models)
app.command("generate")(generate.generate)
app.command("evaluate")(evaluate.evaluate)
app.command("doctor")(doctor.doctor)
app.add_typer(direction.app, name="direction")
app.add_typer(sae.app, name="sae")
app.add_typer(features.app, name="features")
app.add_typer(vector.app, name="vector")
app.add_typer(runs.app, name="runs")


def main(argv: list[str] | None = None) -> Any:
    """Run the command line; the console script's entry."""
    try:
        return app(args=argv)
    except DemurError as error:
        message = " ".join(str(error).split())
        Console(stderr=True, soft_wrap=True).print("[red]error[/red]: ", end="")
        print(message, file=sys.stderr)
        sys.exit(error.exit_status)
