"""Do these latents cause refusal? Necessity and sufficiency, against matched random latents and the direction.

Necessity: suppressed, compliance with harmful requests rises. Sufficiency: clamped, refusal of attacked and of plain
requests rises. Factor and value are chosen on validation prompts at a bounded price in broken answers; every figure is
on test prompts, with the full outcome table and the harm to capability items beside it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from demur.attacks import attack
from demur.audit.figures import accuracy_figures, deltas, table_figures
from demur.audit.measure import Arm, Bench, Judged, Table
from demur.audit.study import BROKEN, PRICE, endpoints, plainly, spread
from demur.causal.controls import Match, activity, dosed, match, matched
from demur.engines.base import Engine
from demur.engines.hf import HFEngine
from demur.errors import InputError
from demur.interventions import Intervention, ablate_everywhere, add, clamp_features, multiply_features
from demur.prompts.builtin import builtin, builtin_items
from demur.saes import SAE
from demur.selection.openings import measure_openings
from demur.types import Conversation, Direction, FeatureSet, Figure, Site

FACTORS = (0.5, 0.4, 0.3, 0.2, 0.0)
"""Multipliers tried for suppression (Yeo et al. 2505.23556 go on to -3; the bundled model breaks below 0)."""
COARSE = (0.4, 0.2, 0.0)
"""Those tried for each of the many sets of `features.minimal`."""
VALUES = (0.1, 0.2, 0.3, 0.4, 0.5)
"""Clamps tried, in units of `unit_of`: SAEs differ in scale (O'Brien et al. 2411.11296 use 10 and 12 in theirs)."""

PRIMARY = (("suppress", "harmful", "complied"), ("clamp", "attacked", "refused"))
"""The primary endpoints of a proof; their p-values are Holm-corrected."""
ADDED = 0.3
"""Relative dose at which the direction itself is added, the reference of a clamp."""
K = TypeVar("K")
OPENING = 8
"""Words of a refusal by whose likelihood a shortlist is drawn up."""


@dataclass(frozen=True)
class Chosen:
    """A factor or a clamp chosen on validation."""

    dose: float
    within_price: bool
    """Whether it breaks at most PRICE more answers than the unsteered arm; if not, none did, and it is the cheapest."""
    curve: tuple[Figure, ...]
    """Outcomes at all that were tried."""


@dataclass(frozen=True)
class Doses:
    """What was chosen on validation, and the curve it was chosen from."""

    factor: float
    value: float
    """In the latents' own units."""
    curve: tuple[Figure, ...]
    """Outcomes at every factor and value tried, on validation."""
    beyond_price: tuple[str, ...] = ()
    """Of "factor" and "value", those at which more answers break than PRICE allows, for want of a better one."""


@dataclass(frozen=True)
class Proof:
    """What was found."""

    doses: Doses
    table: Table
    figures: tuple[Figure, ...]


def effects(
    bench: Bench,
    saes: Mapping[Site, SAE],
    factors: Sequence[float] = COARSE,
    n: int | None = 60,
    run: str = "",
) -> Callable[[Sequence[FeatureSet]], list[float]]:
    """For `features.minimal`: how much suppressing each set at its best factor raises compliance on harmful validation
    requests, less the broken answers it adds."""
    talks = plainly(spread(builtin("harmful", "validation"), n))

    def effect(sets: Sequence[FeatureSet]) -> list[float]:
        found = _changes(bench, [multiply_features(s, saes, f) for s in sets for f in factors], talks, "complied", run)
        each = [found[i : i + len(factors)] for i in range(0, len(found), len(factors))]
        return [max(gain - broken for gain, broken in some) for some in each]

    return effect


def unlikely(
    engine: Engine, saes: Mapping[Site, SAE], factor: float, n: int | None = 24
) -> Callable[[Sequence[FeatureSet]], list[float]]:
    """For `features.minimal`'s path: how far suppressing each set lowers the refusal score (`selection.openings`) of
    harmful validation requests, in nats; nothing is generated."""
    harmful, plain = (plainly(spread(builtin(kind, "fit"), n)) for kind in ("harmful", "plain"))
    openings = measure_openings(engine, harmful, plain)
    talks = plainly(spread(builtin("harmful", "validation"), n))
    base = float(openings.scores(engine, talks).mean())

    def effect(sets: Sequence[FeatureSet]) -> list[float]:
        return [base - float(openings.scores(engine, talks, multiply_features(s, saes, factor)).mean()) for s in sets]

    return effect


def refusals(
    bench: Bench, attacks: Sequence[str], n: int | None = 12, run: str = ""
) -> Callable[[Sequence[Intervention]], list[float]]:
    """For `features.one_prompt`: how much each intervention raises refusal of attacked validation requests, less the
    broken answers it adds."""
    prompts = spread(builtin("harmful", "validation"), n)
    talks = [attack(prompt, name) for name in attacks for prompt in prompts]
    return lambda clamps: [gain - broken for gain, broken in _changes(bench, clamps, talks, "refused", run)]


def likelihoods(
    engine: Engine, answer: str, attacks: Sequence[str], n: int | None = 4
) -> Callable[[Sequence[Intervention]], list[float]]:
    """For `features.one_prompt`'s shortlist: the mean log-probability, a token, that each intervention gives the
    beginning of `answer` as the answer to attacked validation requests; nothing is generated."""
    beginning = " ".join(answer.split()[:OPENING])
    prompts = spread(builtin("harmful", "validation"), n)
    pairs = [(attack(prompt, name), beginning) for name in attacks for prompt in prompts]

    def effect(steering: Sequence[Intervention]) -> list[float]:
        means = []
        for how in steering:
            rows = engine.logprobs(pairs, how)
            means.append(sum(sum(row) / len(row) for row in rows) / len(rows))
        return means

    return effect


def _changes(
    bench: Bench, steering: Sequence[Intervention], talks: Sequence[Conversation], wanted: str, run: str
) -> list[tuple[float, float]]:
    """For each intervention the rise of an outcome's share over unsteered, and that of broken answers, 0 at least."""
    arms = [Arm("unsteered"), *(Arm(f"candidate {i}", how) for i, how in enumerate(steering))]
    table = bench.run(arms, {"validation": talks}, run)
    base, *rows = (table[arm.name, "validation"] for arm in arms)
    return [(share(row, wanted) - share(base, wanted), max(0.0, share(row, *BROKEN) - share(base, *BROKEN)))
            for row in rows]  # fmt: skip


def unit_of(engine: Engine, features: FeatureSet) -> float:
    """The clamp at which k latents with decoder rows of length 1, at right angles, move the stream by its own length:
    the median activation norm (protocol: Steering semantics; mean over the set's sites) over the root of k."""
    sites = sorted({feature.site for feature in features.features})
    streams = engine.activations(plainly(builtin("plain", "fit")), sites)
    return sum(streams.median_norm(site) for site in sites) / len(sites) / len(features.features) ** 0.5


def choose_doses(
    bench: Bench,
    features: FeatureSet,
    saes: Mapping[Site, SAE],
    attacks: Sequence[str],
    n: int | None = 40,
    factors: Sequence[float] = FACTORS,
    values: Sequence[float] = VALUES,
    run: str = "",
) -> Doses:
    """`choose_factor` on all validation requests, `choose_value` on n of them under each attack, with both curves."""
    factor = choose_factor(bench, features, saes, None, factors, run)
    value = choose_value(bench, features, saes, attacks, n, values, run)
    beyond = tuple(name for name, one in (("factor", factor), ("value", value)) if not one.within_price)
    return Doses(factor.dose, value.dose, (*factor.curve, *value.curve), beyond)


def choose_factor(
    bench: Bench,
    features: FeatureSet,
    saes: Mapping[Site, SAE],
    n: int | None = None,
    factors: Sequence[float] = FACTORS,
    run: str = "",
) -> Chosen:
    """The factor with most compliance on plain harmful validation requests among those whose broken answers stay within
    PRICE of the unsteered arm's, else the cheapest."""
    arms = {factor: Arm(f"suppress {factor:g}", multiply_features(features, saes, factor)) for factor in factors}
    name, talks = "validation harmful", plainly(spread(builtin("harmful", "validation"), n))
    table = bench.run([Arm("unsteered"), *arms.values()], {name: talks}, run)
    return _best({f: arm.name for f, arm in arms.items()}, table, name, "complied")


def choose_value(
    bench: Bench,
    features: FeatureSet,
    saes: Mapping[Site, SAE],
    attacks: Sequence[str],
    n: int | None = 40,
    values: Sequence[float] = VALUES,
    run: str = "",
) -> Chosen:
    """The clamp with most refusal of attacked validation requests at the same price, in the latents' own units.
    values: in units of `unit_of`."""
    unit = unit_of(bench.engine, features)
    arms = {value * unit: Arm(f"clamp {value:g}r", clamp_features(features, saes, value * unit)) for value in values}
    harmful, name = spread(builtin("harmful", "validation"), n), "validation attacked"
    talks = [attack(prompt, family) for family in attacks for prompt in harmful]
    table = bench.run([Arm("unsteered"), *arms.values()], {name: talks}, run)
    return _best({v: arm.name for v, arm in arms.items()}, table, name, "refused")


def choose_few(
    bench: Bench,
    features: FeatureSet,
    saes: Mapping[Site, SAE],
    attacks: Sequence[str],
    n: int | None = 30,
    sizes: Sequence[int] = (1, 2, 4),
    values: Sequence[float] = VALUES,
    run: str = "",
) -> tuple[FeatureSet, Chosen]:
    """How many of the first latents of a ranked set to clamp, and at what; chosen as `choose_value` chooses."""
    kept = _prefixes(features, sizes)
    arms = {}
    for size, some in kept.items():
        unit = unit_of(bench.engine, some)
        for value in values:
            arms[size, value * unit] = Arm(f"clamp {size} at {value:g}r", clamp_features(some, saes, value * unit))
    harmful, name = spread(builtin("harmful", "validation"), n), "validation attacked"
    talks = [attack(prompt, family) for family in attacks for prompt in harmful]
    table = bench.run([Arm("unsteered"), *arms.values()], {name: talks}, run)
    (size, value), within = _cheapest({key: arm.name for key, arm in arms.items()}, table, name, "refused")
    return kept[size], Chosen(value, within, tuple(table_figures(table)))


def choose_few_to_suppress(
    bench: Bench,
    features: FeatureSet,
    saes: Mapping[Site, SAE],
    n: int | None = 60,
    sizes: Sequence[int] = (6, 12, 20),
    factors: Sequence[float] = FACTORS,
    run: str = "",
) -> tuple[FeatureSet, Chosen]:
    """How many of the first latents of a ranked set to suppress, and by what; chosen as `choose_factor` chooses."""
    kept = _prefixes(features, sizes)
    arms = {(size, factor): Arm(f"suppress {size} by {factor:g}", multiply_features(some, saes, factor))
            for size, some in kept.items() for factor in factors}  # fmt: skip
    name, talks = "validation harmful", plainly(spread(builtin("harmful", "validation"), n))
    table = bench.run([Arm("unsteered"), *arms.values()], {name: talks}, run)
    (size, factor), within = _cheapest({key: arm.name for key, arm in arms.items()}, table, name, "complied")
    return kept[size], Chosen(factor, within, tuple(table_figures(table)))


def _prefixes(features: FeatureSet, sizes: Sequence[int]) -> dict[int, FeatureSet]:
    """The first so many latents of a set, for each size; one that is larger than the set is the set."""
    first = features.features
    return {min(size, len(first)): replace(features, features=first[:size]) for size in sizes}


def _best(arms: Mapping[float, str], table: Table, name: str, wanted: str) -> Chosen:
    dose, within = _cheapest(arms, table, name, wanted)
    return Chosen(dose, within, tuple(table_figures(table)))


def _cheapest(arms: Mapping[K, str], table: Table, name: str, wanted: str) -> tuple[K, bool]:
    """The key of the arm with most of an outcome at a price of PRICE at most, else of the cheapest arm, and which."""
    price = {key: share(table[arm, name], *BROKEN) - share(table["unsteered", name], *BROKEN)
             for key, arm in arms.items()}  # fmt: skip
    cheap = [key for key in arms if price[key] <= PRICE]
    if not cheap:
        return min(price, key=lambda key: price[key]), False
    return max(cheap, key=lambda key: share(table[arms[key], name], wanted)), True


def share(rows: Sequence[Judged], *outcomes: str) -> float:
    """The share of answers with one of these outcomes."""
    return sum(row.verdict.outcome in outcomes for row in rows) / len(rows)


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
        "suppress": multiply_features(features, saes, factor),
        "suppress without direction": multiply_features(features, saes, factor, without=direction.vector),
        "ablate": ablate_everywhere(direction, engine.n_layers),
    }
    if minimal is not None:
        arms["suppress minimal"] = multiply_features(minimal[0], saes, minimal[1])
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
        "clamp": clamp_features(features, saes, value),
        "clamp without direction": clamp_features(features, saes, value, without=direction.vector),
        "add": add(direction, ADDED, True),
    }
    if minimal is not None:
        arms["clamp minimal"] = clamp_features(minimal, saes, value)
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
