"""`demur runs list|show|resume|export`: what a journal holds."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from demur.cli import options
from demur.cli.results import say
from demur.cli.show import console, seen

app = typer.Typer(help="Runs kept in a journal.", no_args_is_help=True)
JournalPath = Annotated[Path, typer.Option("--journal", help="The journal, or the folder that holds journal.sqlite.")]


def _open(path: Path):
    from demur.errors import BadFile
    from demur.runs import Journal

    file = path / "journal.sqlite" if os.path.isdir(path) else path
    if not os.path.exists(file):
        raise BadFile(f"no journal at {file}; give --journal the --out folder of an evaluation.")
    return Journal(file, readonly=True)


def _pick(journal, prefix: str):
    from demur.errors import unknown

    found = [run for run in journal.runs() if run.id.startswith(prefix)]
    if len(found) != 1:
        raise unknown("run", prefix, [run.id[:12] for run in journal.runs()], "Give enough of its id.")
    return found[0]


@app.command("list")
def list_(journal: JournalPath = Path("runs/quickstart")) -> None:
    """List the runs of a journal."""
    table = Table("id", "name", "created (UTC)", "status", "seconds", caption_justify="left")
    with _open(journal) as opened:
        runs = opened.runs()
        for run in runs:
            took = "" if run.status == "open" and not run.seconds else f"{run.seconds:.0f}"
            table.add_row(*map(seen, (run.id[:12], run.name, run.created, run.status, took)))
        if any(run.status == "open" for run in runs):
            answers, written = opened.reached()
            table.caption = f"open: under way, or killed. Answers in the journal: {answers}; last written {written}."
    console.print(table)


@app.command("show")
def show(run: str, journal: JournalPath = Path("runs/quickstart")) -> None:
    """Show a run's spec and how many answers of each arm and set it has."""
    import json

    with _open(journal) as opened:
        found = _pick(opened, run)
        rows = Counter((row.set, row.arm) for row in opened.rows(found.id) if row.generation is not None)
        console.print_json(json.dumps(found.spec).replace("\x7f", "\\u007f"), ensure_ascii=True)
        table = Table("set", "arm", "answers")
        for (name, arm), count in rows.items():
            table.add_row(seen(name), seen(arm), str(count))
        console.print(table)


@app.command("resume")
def resume(run: str, journal: JournalPath = Path("runs/quickstart")) -> None:
    """Go on with an evaluation that was interrupted; what is in the journal is not made again."""
    from demur.cli.evaluate import run_asked
    from demur.errors import InputError

    with _open(journal) as opened:
        found = _pick(opened, run)
        path = opened.path
    asked = found.spec.get("asked")
    if not asked:
        raise InputError(f"run {found.id[:12]} is a {found.name}; run that command again, it resumes by itself.")
    then = {name: found.spec[name] for name in ("engine", "inputs")}
    run_asked({**asked, "resumes": then}, Path(path).parent)


@app.command("export")
def export(
    run: str,
    out: Annotated[Path, typer.Argument(callback=options.new_file, help="A .csv, .json, .jsonl or .parquet file.")],
    journal: JournalPath = Path("runs/quickstart"),
) -> None:
    """Export a run's table, one row an answer and judge, with the columns of your own prompt files."""
    from demur.runs import check_format, export_run

    check_format(out)
    with _open(journal) as opened:
        export_run(opened, _pick(opened, run).id, out)
    say(f"Wrote {out}.")
