"""Do these latents cause refusal? Necessity and sufficiency, against matched random latents and the direction.

Necessity: suppressed, compliance with harmful requests rises. Sufficiency: clamped, refusal of attacked and of plain
requests rises. Factor and value are chosen on validation prompts at a bounded price in broken answers; every figure is
on test prompts, with the full outcome table and the harm to capability items beside it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from demur.analysis.tables import accuracy_figures, deltas, table_figures
from demur.attacks import attack
from demur.engines.hf import HFEngine
from demur.errors import InputError
from demur.evaluation.evaluator import Arm, Bench, Table
from demur.experiments.baseline import endpoints, plainly, spread
from demur.features.controls import Match, activity, dosed, match, matched
from demur.fitting.doses import Doses
from demur.interventions import Intervention, ablate, add, clamp_features, multiply_features
from demur.prompts.builtin import builtin, builtin_items
from demur.saes import SAE
from demur.types import Conversation, Direction, FeatureSet, Figure, Site

PRIMARY = (("suppress", "harmful", "complied"), ("clamp", "attacked", "refused"))
"""The primary endpoints of a proof; their p-values are Holm-corrected."""
ADDED = 0.3
"""Relative dose at which the direction itself is added, the reference of a clamp."""


@dataclass(frozen=True)
class Proof:
    """What was found."""

    doses: Doses
    table: Table
    figures: tuple[Figure, ...]


def prove(
    bench: Bench,
    features: FeatureSet,
    saes: Mapping[Site, SAE],
    direction: Direction,
    doses: Doses,
    attacks: Sequence[str],
    *,
    n: int | None = 100,
    randoms: int = 20,
    items: int | None = None,
    minimal: tuple[FeatureSet, float] | None = None,
    run: str = "",
) -> Proof:
    """`necessity` and `sufficiency`, on held-out requests.

    direction: the refusal direction, the reference, which is also removed from the decoder rows in the arms
    "... without direction". randoms: matched random sets, drawn by their activity on fitting prompts. minimal: a
    subset to score beside the whole, and the factor to suppress it by.
    """
    one, down = necessity(bench, features, saes, direction, doses.factor, n, randoms, items, minimal, run)
    two, up = sufficiency(bench, features, saes, direction, doses.value, attacks, n, randoms, items,
                          None if minimal is None else minimal[0], run)  # fmt: skip
    table = {**one, **two}
    tested = [Figure(e.arm, "unsteered", e.set, "holm_p", e.holm, len(table[e.arm, e.set]), "paired answers", e.holm,
                     e.holm) for e in endpoints(table, PRIMARY)]  # fmt: skip
    return Proof(doses, table, tuple(dict.fromkeys([*down, *up, *tested])))


def necessity(
    bench: Bench,
    features: FeatureSet,
    saes: Mapping[Site, SAE],
    direction: Direction,
    factor: float,
    n: int | None = 100,
    randoms: int = 20,
    items: int | None = None,
    minimal: tuple[FeatureSet, float] | None = None,
    run: str = "",
) -> tuple[Table, list[Figure]]:
    """Suppressed on plain harmful requests, beside random sets, the direction ablated, and capability items."""
    engine = _proving(bench, randoms)
    seen = activity(engine, plainly(builtin("harmful", "fit")), saes)
    arms: dict[str, Intervention] = {
        "suppress": multiply_features(features, factor, saes),
        "suppress without direction": multiply_features(features, factor, saes, without=direction.vector),
        "ablate": ablate(direction),
    }
    if minimal is not None:
        arms["suppress minimal"] = multiply_features(minimal[0], minimal[1], saes)
    drawn = matched(features, seen, randoms)
    controls = {f"random suppress {i}": dosed(control, features, saes, seen, factor=factor)
                for i, control in enumerate(drawn)}  # fmt: skip
    sets = {"harmful": plainly(spread(builtin("harmful", "test"), n))}
    table = {**bench.run(_arms({**arms, **controls}), sets, run), **_null(bench, sets, run)}
    near = [match(control, features, saes, seen, factor=factor) for control in drawn]
    figures = [
        *_nearness("random suppress", near),
        *_shown(table),
        *against_random(table, "suppress", "random suppress ", "harmful", "compliance_rate"),
    ]
    return table, figures + _capability(bench, arms, items)


def sufficiency(
    bench: Bench,
    features: FeatureSet,
    saes: Mapping[Site, SAE],
    direction: Direction,
    value: float,
    attacks: Sequence[str],
    n: int | None = 100,
    randoms: int = 20,
    items: int | None = None,
    minimal: FeatureSet | None = None,
    run: str = "",
) -> tuple[Table, list[Figure]]:
    """Clamped on attacked, plain and borderline requests, beside random sets (on a share of the attacked ones), the
    direction added at a relative dose of ADDED, and capability items."""
    engine = _proving(bench, randoms)
    seen = activity(engine, plainly(builtin("harmful", "fit")), saes)
    arms: dict[str, Intervention] = {
        "clamp": clamp_features(features, value, saes=saes),
        "clamp without direction": clamp_features(features, value, saes=saes, without=direction.vector),
        "add": add(direction, ADDED, True),
    }
    if minimal is not None:
        arms["clamp minimal"] = clamp_features(minimal, value, saes=saes)
    drawn = matched(features, seen, randoms)
    controls = {f"random clamp {i}": dosed(control, features, saes, seen, value=value)
                for i, control in enumerate(drawn)}  # fmt: skip
    harmful = spread(builtin("harmful", "test"), n)
    attacked = [attack(prompt, name) for name in attacks for prompt in harmful]
    sets = {
        "attacked": attacked,
        "plain": plainly(spread(builtin("plain", "test"), n)),
        "borderline": plainly(spread(builtin("borderline", "test"), n)),
    }
    few = "attacked, a share"
    step = len(attacks)
    table = {**bench.run(_arms(arms), sets, run), **bench.run(_arms(controls)[1:], {few: attacked[::step]}, run),
             **_null(bench, {"attacked": attacked}, run)}  # fmt: skip
    # The unsteered and the clamped answers to the share are there already.
    for arm in ("unsteered", "clamp"):
        table[arm, few] = table[arm, "attacked"][::step]
    near = [match(control, features, saes, seen, value=value) for control in drawn]
    figures = [
        *_nearness("random clamp", near),
        *_shown(table),
        *against_random(table, "clamp", "random clamp ", few, "refusal_rate"),
    ]
    return table, figures + _capability(bench, arms, items)


def _proving(bench: Bench, randoms: int) -> HFEngine:
    if not isinstance(bench.engine, HFEngine):
        raise InputError("features are proved on a Hugging Face engine; the mock has no SAEs.")
    if randoms < 1:
        raise InputError(f"a proof needs random sets to compare with; got {randoms}.")
    return bench.engine


def _null(bench: Bench, sets: Mapping[str, Sequence[Conversation]], run: str) -> Table:
    """The unsteered arm once more, in other batches, where batches change numbers (protocol: Numerics and keys)."""
    return {} if bench.engine.fingerprint.dtype == "fp32" else bench.run([Arm("null")], sets, run)


def _nearness(arm: str, near: Sequence[Match]) -> list[Figure]:
    """How near the control sets come, as means; low and high are the least and the greatest of the sets."""
    values = {"activation_ratio": [m.activation for m in near], "norm_ratio": [m.norm for m in near]}
    return [Figure(arm, "", "controls", metric, sum(v) / len(v), len(v), "random sets", min(v), max(v))
            for metric, v in values.items()]  # fmt: skip


def _shown(table: Table) -> list[Figure]:
    """Figures of every arm but the single random sets."""
    return table_figures({place: rows for place, rows in table.items() if not place[0].startswith("random")})


def _capability(bench: Bench, arms: Mapping[str, Intervention], items: int | None) -> list[Figure]:
    every = builtin_items("test")
    scored = every if items is None else [every[i * len(every) // items] for i in range(items)]
    return accuracy_figures(bench.score(_arms(arms), scored), [item.id for item in scored])


def _arms(steering: Mapping[str, Intervention]) -> list[Arm]:
    return [Arm("unsteered"), *(Arm(name, how) for name, how in steering.items())]


def against_random(table: Table, arm: str, prefix: str, name: str, metric: str) -> list[Figure]:
    """The random sets pooled (arm `random ...`), the worst single one, the arm's change minus their mean, and the share
    of them whose change is as large as the arm's."""
    base = table["unsteered", name]
    seeds = [rows for (other, where), rows in table.items() if where == name and other.startswith(prefix)]
    pooled = [row for rows in seeds for row in rows]
    control = prefix.strip()
    mine = [*table[arm, name]] * len(seeds)
    found = [f for f in deltas(control, "unsteered", name, pooled, [*base] * len(seeds)) if f.metric == metric]
    found += [f for f in deltas(arm, control, name, mine, pooled) if f.metric == metric]
    single = [f for rows in seeds for f in deltas(control, "unsteered", name, rows, base) if f.metric == metric]
    worst = max(single, key=lambda f: f.value)
    found.append(replace(worst, metric=f"largest_{metric}", denominator=f"paired answers, one of {len(seeds)} sets"))
    own = next(f for f in deltas(arm, "unsteered", name, table[arm, name], base) if f.metric == metric)
    beaten = sum(f.value >= own.value for f in single)
    found.append(Figure(arm, control, name, f"sets_at_least_as_large_{metric}", beaten, len(seeds), "random sets",
                        beaten, beaten))  # fmt: skip
    return found
