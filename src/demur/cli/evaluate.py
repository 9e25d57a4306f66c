"""`demur evaluate`: any prompts, under attacks, unsteered and steered."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from demur.cli import options
from demur.cli.choices import Use, one_of, parts
from demur.cli.progress import journaled, opened, progress
from demur.cli.results import print_result


@options.loads
def evaluate(
    model: options.Model,
    prompts: Annotated[str, typer.Option(help="A set's name, or FILE or FILE:COLUMN (.csv, .json, .jsonl, .parquet).")],
    out: Annotated[
        Path,
        typer.Option(callback=options.new_folder, help="A folder for results.json, report.html and the journal."),
    ],
    attacks: options.Attacks = "",
    steer: options.Steer = "",
    use: Annotated[
        Use | None, typer.Option(help="Only the prompts for this use; of built-in sets: test.", **one_of(Use, "use"))
    ] = None,
    judge: options.Judges = [],  # noqa: B006
    by: options.By = "",
    limit: Annotated[int | None, typer.Option(min=1, help="Only N prompts, spread over the set.")] = None,
    new_tokens: options.NewTokens = 48,
    loading: options.Loading = options.AS_IS,
    verbose: options.Verbose = False,
) -> None:
    """Outcome rates of a prompt set, direct and attacked, unsteered and steered. Resumes when run again."""
    asked = {
        "model": model,
        "prompts": prompts,
        "attacks": parts(attacks),
        "steer": steer,
        "use": use and use.value,
        "limit": limit,
        "max_new_tokens": new_tokens,
        **loading.record(),
        **({"by": by} if by else {}),
        **({"judge": judge} if judge else {}),
    }
    run_asked(asked, out, verbose)


def run_asked(asked: Mapping[str, Any], out: Path, verbose: bool = False) -> None:
    """Run, or go on with, the evaluation that was asked for so."""
    from demur.analysis.groups import check_groups
    from demur.evaluation.verdicts import planned_calls
    from demur.experiments import evaluate as job
    from demur.interventions import parse_steer
    from demur.prompts.load import load

    by = asked.get("by", "")
    config = job.EvaluateConfig(
        tuple(asked["attacks"]), asked["use"], asked["limit"], asked["max_new_tokens"], by, asked
    )
    # What cannot be read is found before a model is loaded.
    prompts = load(asked["prompts"], config.use, config.limit)
    check_groups(prompts, by)
    if asked["steer"]:
        parse_steer(asked["steer"])
    judges = asked.get("judge") or None
    with progress(journaled(out)) as update:
        engine = opened(asked["model"], options.Loading.of(asked), update)
    planned = job.planned(engine, len(prompts), config, bool(asked["steer"]), judges)
    with progress(journaled(out), planned, planned_calls(judges, planned, config.new_tokens)) as update:
        steer = parse_steer(asked["steer"], engine.fingerprint.weights) if asked["steer"] else None
        result = job.evaluate(engine, asked["prompts"], steer, config, out, update, judges)
    print_result(result, verbose)
