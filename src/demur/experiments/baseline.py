"""The main job: how often does a model refuse, what is its refusal direction, and what does steering do.

Everything is fitted on the `fit` prompts, chosen on `validation` and scored on `test`; the three are disjoint by topic
and near-duplicate cluster.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import final

from demur.analysis.controls import pooled_controls
from demur.analysis.endpoints import Endpoint, endpoints
from demur.analysis.groups import check_groups, group_figures
from demur.analysis.tables import accuracy_figures, table_figures
from demur.directions.artifact import save_direction
from demur.directions.difference import random_like
from demur.engines.base import Engine, WhiteBoxEngine, white_box
from demur.errors import InputError, NoAttack, NoDirection, NoRefusal, check_sizes
from demur.evaluation.evaluator import Arm, Evaluator, Progress, silent
from demur.evaluation.held_out import held_out_sets
from demur.experiments.baseline_report import Chosen, cautions, primary_record, record, summarise
from demur.experiments.run import Setup, calibrations, examples, open_run
from demur.fitting.attack_ranking import QUICK_FAMILIES, TAKEN, families_to_try, rank_attacks
from demur.fitting.doses import DIRECTION_DOSES, choose_dose, where_refusal_begins
from demur.fitting.refusal import FULL as FULL_SEARCH
from demur.fitting.refusal import DirectionConfig, search_direction
from demur.interventions import ablate, add, write_spec
from demur.judges.named import Judges
from demur.prompts.builtin import builtin_items
from demur.prompts.sets import KINDS, Kind, PromptSets, builtin_sets, spread
from demur.reports import Result
from demur.reports.overview import baseline_overview
from demur.types import Direction, Figure, Outcome, Table, Use

SETS = ("harmful", "attacked", "borderline", "plain")
PRIMARY: tuple[tuple[str, str, Outcome], ...] = (("add", "attacked", "refused"), ("ablate", "harmful", "complied"))
"""The primary endpoints: what adding and what ablating does, each against the unsteered arm."""
NULLED = ("harmful", "attacked")
"""Sets on which the unsteered arm is answered once more, in other batches, where batches change numbers."""


@dataclass(frozen=True)
class BaselineConfig:
    """How much of everything is used. The defaults take minutes on two cores: few prompts, a coarse search."""

    direction: DirectionConfig = field(default_factory=DirectionConfig)
    validation: int | None = 10
    """Validation requests of each kind for choosing attacks and the dose; None: all."""
    n: int | None = 16
    """Test requests of each kind; None: all."""
    items: int | None = 60
    """Capability items; None: all."""
    attacks: tuple[str, ...] = QUICK_FAMILIES
    """Attack families tried on validation; (): all that need no file."""
    doses: tuple[float, ...] | None = None
    """Relative doses of the direction that are tried; None: the two from which on it makes the model open attacked
    validation requests with a refusal (`doses.where_refusal_begins`)."""
    randoms: int = 1
    """Random directions to compare with."""
    new_tokens: int = 24
    by: str = ""
    """A column of the prompts' file, by which the rates are given too; also kind, category, topic. "": none."""

    def __post_init__(self) -> None:
        check_sizes(validation=self.validation, n=self.n, items=self.items, new_tokens=self.new_tokens)
        if bad := [dose for dose in self.doses or () if not 0 < dose < math.inf]:
            raise InputError(f"doses has {bad[0]}; a dose of the direction is a number above 0, such as 0.3.")
        if self.randoms < 1 or self.doses == ():
            raise InputError(f"a study needs a dose and a random direction to compare with; got {self.doses} and "
                             f"{self.randoms}.")  # fmt: skip


FULL = BaselineConfig(FULL_SEARCH, validation=45, n=100, items=None, attacks=(), doses=DIRECTION_DOSES, randoms=5)
"""All prompts, families and candidates: more than an hour on two cores."""


@final
@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class BaselineResult(Result):
    """A baseline, and what it was made with."""

    chosen: Chosen
    table: Table
    endpoints: tuple[Endpoint, ...]
    """The primary endpoints, named before any run; every other figure is exploratory."""

    @property
    def direction(self) -> Direction | None:
        """The refusal direction; None for a model that refuses too little to have one."""
        return None if self.chosen.fit is None else self.chosen.fit.direction


def baseline(
    engine: WhiteBoxEngine,
    config: BaselineConfig | None = None,
    out: str | Path = "runs/baseline",
    prompts: PromptSets | None = None,
    progress: Progress = silent,
    judge: Judges = None,
) -> BaselineResult:
    """Measure a model's refusal, find its direction, steer it, and say what that does; resumes from its journal.

    prompts: the user's own, split into uses; built-in ones when left out. judge: the user's own, by name or as a value;
    the calibrated outcome judge when left out; of several the first decides. Under `out`: results.json, report.html,
    the journal, the direction's file and the steering specs. A model that refuses too little for a direction, or that
    no attack family leaves able to answer, is measured without, and the summary says so.
    """
    config, out = config or BaselineConfig(), Path(out)
    check_groups((prompts or builtin_sets()).tested, config.by)
    spec = {"config": asdict(config), "families": list(families_to_try(config.attacks))}
    setup = Setup(prompts, judge, progress).checked()
    with open_run(engine, "baseline", out, spec, config.new_tokens, setup) as run:
        evaluator = run.evaluator
        chosen = choose(evaluator, config)
        table = measure(evaluator, config, chosen)
        items = spread(builtin_items("test"), config.items)
        arms = [arm for arm in arms_of(chosen, config.randoms)
                if arm.name in ("unsteered", "add", "ablate", "random add 0")]  # fmt: skip
        right = {arm.removesuffix(" add 0"): ok for arm, ok in evaluator.score(arms, items).items()}
        figures = [
            *table_figures({place: rows for place, rows in table.items() if not place[0].startswith("random")}),
            *control_figures(table, config.randoms),
            *accuracy_figures(right, [item.id for item in items]),
        ]
        ends = endpoints(table, [end for end in PRIMARY if end[:2] in table])
        where = _written(chosen, arms, out)
        shared = run.finish(
            f"{engine.name}: refusal, and what steering does to it",
            summarise(figures, chosen),
            [*figures, *group_figures(table, config.by, ("random", "null"))],
            baseline_overview(figures),
            page={
                "examples": examples(table, ("unsteered", "add", "ablate"), SETS),
                "notes": (
                    "Layer, dose and attack families were chosen on validation prompts; every figure is on test "
                    "prompts.",
                    "random pools norm-matched random directions; largest_... is the worst single one.",
                    *where,
                    *cautions(figures, ends, chosen),
                ),
            },
            chosen={
                "chosen_on_validation": record(chosen),
                "primary": [primary_record(end) for end in ends],
                **({"by": config.by} if config.by else {}),
            },
            table=table,
        )
    return BaselineResult(**shared, chosen=chosen, table=table, endpoints=ends)


def planned(engine: Engine, config: BaselineConfig, prompts: PromptSets | None = None, judge: Judges = None) -> int:
    """How many answers a baseline generates at most, without a journal, with all it looks for found: calibration,
    openings of refusals, attack families, doses, and every arm on the held-out sets."""
    prompts = prompts or builtin_sets()

    def size(kind: Kind, use: Use, n: int | None) -> int:
        return len(prompts.take(kind, use, n)) if kind in prompts else 0

    search, families = config.direction, len(families_to_try(config.attacks))
    validation, taken = size("harmful", "validation", config.validation), min(TAKEN, families)
    chosen_on = families * (validation + size("plain", "validation", config.validation))
    chosen_on += taken * validation * (2 if config.doses is None else len(config.doses))
    harmful = size("harmful", "test", config.n)
    attacked = taken * harmful
    arms = 4 * (sum(size(kind, "test", config.n) for kind in KINDS) + attacked)
    controls = config.randoms * harmful + (config.randoms - 1) * attacked
    null = harmful + attacked
    fitting = size("harmful", "fit", search.n) + size("plain", "fit", search.n)
    calibrating = calibrations(engine, config.new_tokens, judge)
    return calibrating + fitting + chosen_on + arms + controls + null


def _written(chosen: Chosen, arms: Sequence[Arm], out: Path) -> list[str]:
    """Write the direction's file and the specs of what is done with it, if there is one; a line that says where."""
    if chosen.fit is None:
        return []
    path = save_direction(chosen.fit.direction, out / "refusal.safetensors")
    for arm in arms:
        if arm.name in ("add", "ablate") and arm.intervention is not None:
            write_spec(arm.intervention, out / f"{arm.name}.json")
    return [f"Direction: {path.name}, site {chosen.fit.direction.site}."]


def choose(evaluator: Evaluator, config: BaselineConfig) -> Chosen:
    """Direction, attack families and dose, from fitting and validation prompts."""
    engine, lacking = white_box(evaluator.engine), []
    fit = ranking = dose = None
    try:
        fit = search_direction(engine, config.direction, evaluator.prompts, evaluator.folder, evaluator.progress)
    except (NoDirection, NoRefusal) as problem:
        lacking.append(f"No refusal direction was fitted, added or ablated: {problem}")
    try:
        ranking = rank_attacks(evaluator, config.validation, config.attacks)
    except NoAttack as problem:
        lacking.append(f"Nothing is attacked: {problem}")
    if fit is not None:
        attacks = ranking.best if ranking is not None else ("direct",)
        doses = config.doses or where_refusal_begins(evaluator, fit, attacks, config.validation)
        dose = choose_dose(evaluator, fit.direction, attacks, config.validation, doses)
    return Chosen(fit, ranking, dose, tuple(lacking))


def measure(evaluator: Evaluator, config: BaselineConfig, chosen: Chosen) -> Table:
    """Judged answers of every arm on the held-out sets.

    Random directions stand on the sets of the primary endpoints, whose controls they are; the first on all.
    """
    sets = held_out_sets(evaluator.prompts, chosen.attacks, config.n)
    arms = arms_of(chosen, config.randoms)
    first = [arm for arm in arms if not arm.name.startswith("random") or arm.name == "random add 0"]
    table = dict(evaluator.run(first, sets))
    for prefix, name in (("random add", "attacked"), ("random ablate", "harmful")):
        aside = [arm for arm in arms if arm.name.startswith(prefix) and arm not in first]
        table |= evaluator.run(aside, {name: sets[name]}) if aside and name in sets else {}
    if evaluator.engine.fingerprint.dtype != "fp32":
        table |= evaluator.run([Arm("null")], {name: sets[name] for name in NULLED if name in sets})
    return table


def arms_of(chosen: Chosen, randoms: int) -> list[Arm]:
    """unsteered; where there is a direction add, ablate, and norm-matched random directions for both."""
    if chosen.fit is None or chosen.dose is None:
        return [Arm("unsteered")]
    direction, dose = chosen.fit.direction, chosen.dose.key
    arms = [
        Arm("unsteered"),
        Arm("add", add(direction, dose, True)),
        Arm("ablate", ablate(direction)),
    ]
    for seed in range(randoms):
        noise = Direction(random_like(direction.vector, seed), direction.site, direction.norm, {"random": seed})
        arms += [
            Arm(f"random add {seed}", add(noise, dose, True)),
            Arm(f"random ablate {seed}", ablate(noise)),
        ]
    return arms


def control_figures(table: Table, randoms: int) -> list[Figure]:
    """The random arms pooled over seeds: `random` (additions) and `random ablate`."""
    found: list[Figure] = []
    for name in sorted({name for arm, name in table if arm == "unsteered"}):
        for pooled, prefix in (("random", "random add"), ("random ablate", "random ablate")):
            found += pooled_controls(table, [f"{prefix} {seed}" for seed in range(randoms)], pooled, name)
    return found
