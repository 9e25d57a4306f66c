"""`demur judge`: the outcomes of answers that are there already."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from demur.cli import options
from demur.cli.progress import journaled, opened, progress
from demur.cli.results import print_result, say
from demur.errors import InputError

COLUMNS = "Which column is what"


@options.loads
def judge(
    file: Annotated[
        Path, typer.Argument(help="A file of requests and answers: .csv, .json, .jsonl or .parquet.", metavar="FILE")
    ],
    out: Annotated[
        Path,
        typer.Option(
            callback=options.new_folder,
            help="A folder for the judged file, results.json, report.html and the journal.",
        ),
    ] = Path("runs/judge"),
    scorer: Annotated[
        str,
        typer.Option(
            metavar="MODEL",
            help="Tell broken and off-topic answers by this model's likelihood too, calibrated on its own answers. "
            "Default: the text alone.",
        ),
    ] = "",
    judges: options.Judges = [],  # noqa: B006
    prompt_column: Annotated[
        str | None, typer.Option(rich_help_panel=COLUMNS, help="Of the requests. Default: prompt, request, goal, ...")
    ] = None,
    answer_column: Annotated[
        str | None, typer.Option(rich_help_panel=COLUMNS, help="Of the answers. Default: answer, response, output, ...")
    ] = None,
    label_column: Annotated[
        str | None,
        typer.Option(rich_help_panel=COLUMNS, help="Of a reader's labels, to say how often the judge agrees."),
    ] = None,
    by: options.By = "",
    loading: options.Loading = options.AS_IS,
    verbose: options.Verbose = False,
) -> None:
    """Judge a file of answers, of any model: the outcome beside every row, rates, and agreement with labels."""
    if not scorer and loading != options.AS_IS:
        raise InputError("how a model is loaded is of the scorer; name one with --scorer MODEL, or leave it out.")
    from demur.analysis.groups import check_groups
    from demur.experiments.judge_file import JudgeConfig, check_place, check_scored, judge_file
    from demur.prompts.answers import read_answers

    config = JudgeConfig(prompt_column, answer_column, label_column, by)
    # What cannot be is found before a model is loaded.
    if scorer:
        check_scored(judges or None)
    given = read_answers(file, prompt_column, answer_column, label_column)
    check_groups([row.prompt for row in given.rows], by)
    check_place(given, out)
    with progress(journaled(out)) as update:
        engine = opened(scorer, loading, update) if scorer else None
        done = judge_file(file, config, out, engine, judges or None, update)
    print_result(done, verbose, generates=bool(scorer))
    say(f"Judged answers: {done.judged}")
