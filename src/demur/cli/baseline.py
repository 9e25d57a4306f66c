"""`demur quickstart` and `demur baseline`: the main job, on the bundled model and on yours."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from demur.cli import options
from demur.cli.choices import numbers, parts
from demur.cli.progress import journaled, opened, progress
from demur.cli.results import print_result, say
from demur.cli.search import Search, grid_line
from demur.cli.show import console, seen

if TYPE_CHECKING:
    from demur.engines.hf import HFEngine
    from demur.experiments.baseline import BaselineConfig
    from demur.fitting.refusal import DirectionConfig
    from demur.prompts import PromptSets

Out = Annotated[
    Path,
    typer.Option(
        callback=options.new_folder, help="A folder for results.json, report.html, the journal and the direction."
    ),
]


@options.loads
def quickstart(
    model: Annotated[str, typer.Option(help=options.MODEL)] = "smollm2-refuser",
    out: Out = Path("runs/quickstart"),
    judge: options.Choosing = [],  # noqa: B006
    loading: options.Loading = options.AS_IS,
    verbose: options.Verbose = False,
) -> None:
    """Show a request refused, attacked and steered; then measure refusal, find its direction, steer it: minutes."""
    from demur.experiments.baseline import BaselineConfig

    kept = journaled(out)
    with progress(kept) as update:
        engine = opened(model, loading, update)
    _first_answers(engine, BaselineConfig().direction, out)
    _run(engine, BaselineConfig(), out, None, verbose, judge)


def _first_answers(engine: HFEngine, search: DirectionConfig, out: Path) -> None:
    """Print them as soon as they are there: with a direction that comes with demur, or else the one that is fitted."""
    from demur.directions.bundled import bundled_direction
    from demur.errors import NoDirection, NoRefusal
    from demur.experiments.first_answers import first_request, steered_answers
    from demur.fitting.refusal import search_direction

    found = first_request(engine)
    say(f"Request: {found.text}")
    for answer in found.answers:
        say(f"  {answer.how}: {answer.text}")
    direction = bundled_direction(engine.fingerprint.weights)
    if direction is None:
        try:
            with progress(journaled(out)) as update:
                direction = search_direction(engine, search, None, out, update).direction
        except (NoDirection, NoRefusal):  # the study says so, with the rate
            return
    for answer in steered_answers(engine, found, direction):
        say(f"  {answer.how}: {answer.text}")


@options.loads
def baseline(
    model: options.Model,
    out: Out = Path("runs/baseline"),
    n: Annotated[
        int | None, typer.Option(min=1, rich_help_panel=options.SIZES, help="Test requests of each kind. Default: 16.")
    ] = None,
    items: Annotated[
        int | None, typer.Option(min=1, rich_help_panel=options.SIZES, help="Capability items. Default: 60.")
    ] = None,
    validation: Annotated[
        int | None,
        typer.Option(
            min=4,
            rich_help_panel=options.SIZES,
            help="Validation requests of each kind for choosing attacks and the dose. Default: 10.",
        ),
    ] = None,
    attacks: Annotated[
        str,
        typer.Option(
            callback=options.attack_names,
            metavar="A,B",
            rich_help_panel=options.SIZES,
            help="Attack families to try, with commas. Default: continuation,fiction,prefill,few_shot.",
        ),
    ] = "",
    doses: Annotated[
        str,
        typer.Option(
            metavar="X,Y",
            rich_help_panel=options.SIZES,
            help="Doses of the direction to try, in units of the stream's norm. Default: two where refusal begins.",
        ),
    ] = "",
    randoms: Annotated[
        int | None,
        typer.Option(min=1, rich_help_panel=options.SIZES, help="Random directions to compare with. Default: 1."),
    ] = None,
    new_tokens: options.NewTokens = 24,
    full: Annotated[
        bool,
        typer.Option(
            "--full",
            rich_help_panel=options.SIZES,
            help="All prompts, families and candidates, 5 random directions: more than an hour on two cores.",
        ),
    ] = False,
    fit_n: Annotated[
        int | None,
        typer.Option(min=8, rich_help_panel=options.SEARCH, help="Prompts of each kind to fit on. Default: 36."),
    ] = None,
    choose: Annotated[
        int | None,
        typer.Option(min=4, rich_help_panel=options.SEARCH, help="Prompts of each kind to choose on. Default: 12."),
    ] = None,
    layer_step: options.LayerStep = None,
    candidates: options.Candidates = None,
    max_kl: options.MaxKl = None,
    min_induced: options.MinInduced = None,
    harmful: options.Harmful = None,
    harmless: options.Harmless = None,
    borderline: options.Borderline = None,
    judge: options.Choosing = [],  # noqa: B006
    by: options.By = "",
    loading: options.Loading = options.AS_IS,
    verbose: options.Verbose = False,
) -> None:
    """Measure your model's refusal, find its direction, steer it, and show what that does. Resumes when run again."""
    tried = numbers(doses, "--doses")
    prompts = options.own_prompts(harmful, harmless, borderline)
    options.check_by(by, prompts)
    from demur.experiments.baseline import FULL, BaselineConfig

    given: dict[str, Any] = {"n": n, "items": items, "validation": validation, "randoms": randoms,
                             "attacks": tuple(parts(attacks)) or None, "doses": tried or None}  # fmt: skip
    changed = {name: value for name, value in given.items() if value is not None}
    config = replace(FULL if full else BaselineConfig(), new_tokens=new_tokens, by=by, **changed)
    search = Search(fit_n, choose, layer_step, candidates, max_kl, min_induced)
    config = replace(config, direction=search.on(config.direction))
    with progress(journaled(out)) as update:
        engine = opened(model, loading, update)
    _run(engine, config, out, prompts, verbose, judge)


def _run(
    engine: HFEngine, config: BaselineConfig, out: Path, prompts: PromptSets | None, verbose: bool, judge: list[str]
) -> None:
    from demur.evaluation.verdicts import planned_calls
    from demur.experiments import baseline as job

    planned = job.planned(engine, config, prompts, judge or None)
    with progress(journaled(out), planned, planned_calls(judge or None, planned, config.new_tokens)) as update:
        result = job.baseline(engine, config, out, prompts, update, judge or None)
    print_result(result, verbose)
    if result.chosen.fit is not None:
        console.print(seen(grid_line(result.chosen.fit, config.direction.bounds)))
