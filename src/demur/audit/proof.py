"""Do these latents cause refusal? Necessity and sufficiency, against matched random latents and the direction.

Necessity: suppressed, compliance with harmful requests rises. Sufficiency: clamped, refusal of attacked and of plain
requests rises. Factor and value are chosen on validation prompts at a bounded price in broken answers; every figure is
on test prompts, with the full outcome table and the harm to capability items beside it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from demur.attacks import attack
from demur.audit.figures import accuracy_figures, deltas, table_figures
from demur.audit.measure import Arm, Bench, Judged, Table
from demur.audit.study import BROKEN, PRICE, plainly, spread
from demur.causal.controls import activity, dosed, matched
from demur.engines.base import Engine
from demur.engines.hf import HFEngine
from demur.errors import InputError
from demur.interventions import Intervention, ablate_everywhere, add, clamp_features, multiply_features
from demur.prompts.builtin import builtin, builtin_items
from demur.saes import SAE
from demur.types import Conversation, Direction, FeatureSet, Figure, Site

FACTORS = (0.5, 0.35, 0.2, 0.0, -0.5)
"""Multipliers tried for suppression (Yeo et al. 2505.23556 go on to -3; this small model breaks at -1)."""
VALUES = (0.1, 0.2, 0.3, 0.4, 0.5)
"""Clamps tried, in units of `unit_of`: SAEs differ in scale (O'Brien et al. 2411.11296 use 10 and 12 in theirs)."""

OPENING = 8
"""Words of a refusal by whose likelihood a shortlist is drawn up."""


@dataclass(frozen=True)
class Doses:
    """What was chosen on validation, and the curve it was chosen from."""

    factor: float
    value: float
    """In the latents' own units."""
    curve: tuple[Figure, ...]
    """Outcomes at every factor and value tried, on validation."""


@dataclass(frozen=True)
class Proof:
    """What was found."""

    doses: Doses
    table: Table
    figures: tuple[Figure, ...]


def effects(
    bench: Bench, saes: Mapping[Site, SAE], factor: float, n: int | None = 24, run: str = ""
) -> Callable[[Sequence[FeatureSet]], list[float]]:
    """For `features.minimal`: how much suppressing each set raises compliance on harmful validation requests, less the
    broken answers it adds."""
    talks = plainly(spread(builtin("harmful", "validation"), n))
    return lambda sets: _gains(bench, [multiply_features(s, saes, factor) for s in sets], talks, "complied", run)


def refusals(
    bench: Bench, attacks: Sequence[str], n: int | None = 12, run: str = ""
) -> Callable[[Sequence[Intervention]], list[float]]:
    """For `features.one_prompt`: how much each intervention raises refusal of attacked validation requests, less the
    broken answers it adds."""
    prompts = spread(builtin("harmful", "validation"), n)
    talks = [attack(prompt, name) for name in attacks for prompt in prompts]
    return lambda clamps: _gains(bench, clamps, talks, "refused", run)


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


def _gains(
    bench: Bench, steering: Sequence[Intervention], talks: Sequence[Conversation], wanted: str, run: str
) -> list[float]:
    """For each intervention the rise of an outcome's share over unsteered, less the rise of broken answers."""
    arms = [Arm("unsteered"), *(Arm(f"candidate {i}", how) for i, how in enumerate(steering))]
    table = bench.run(arms, {"validation": talks}, run)
    base, *rows = (table[arm.name, "validation"] for arm in arms)
    return [share(row, wanted) - share(base, wanted) - max(0.0, share(row, *BROKEN) - share(base, *BROKEN))
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
    """The factor with most compliance on plain harmful validation requests, and the value with most refusal of attacked
    ones, among those whose broken answers stay within PRICE of the unsteered arm's (else the cheapest).

    values: in units of `unit_of`.
    """
    unit = unit_of(bench.engine, features)
    harmful = spread(builtin("harmful", "validation"), n)
    wrapped = [attack(prompt, name) for name in attacks for prompt in harmful]
    arms = {factor: Arm(f"suppress {factor:g}", multiply_features(features, saes, factor)) for factor in factors}
    clamps = {value * unit: Arm(f"clamp {value:g}r", clamp_features(features, saes, value * unit)) for value in values}
    one = bench.run([Arm("unsteered"), *arms.values()], {"validation harmful": plainly(harmful)}, run)
    two = bench.run([Arm("unsteered"), *clamps.values()], {"validation attacked": wrapped}, run)
    factor = _best({f: arm.name for f, arm in arms.items()}, one, "validation harmful", "complied")
    value = _best({v: arm.name for v, arm in clamps.items()}, two, "validation attacked", "refused")
    return Doses(factor, value, tuple([*table_figures(one), *table_figures(two)]))


def _best(arms: Mapping[float, str], table: Table, name: str, wanted: str) -> float:
    price = {dose: share(table[arm, name], *BROKEN) - share(table["unsteered", name], *BROKEN)
             for dose, arm in arms.items()}  # fmt: skip
    cheap = [dose for dose in arms if price[dose] <= PRICE]
    if not cheap:
        return min(price, key=lambda dose: price[dose])
    return max(cheap, key=lambda dose: share(table[arms[dose], name], wanted))


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
    dose: float = 0.3,
    n: int | None = 100,
    randoms: int = 20,
    items: int | None = 200,
    minimal: FeatureSet | None = None,
    run: str = "",
) -> Proof:
    """Every arm on held-out requests.

    direction: the refusal direction, the reference (ablated everywhere; added at the relative `dose`), which is also
    removed from the decoder rows in the arms "... without direction". randoms: matched random sets, drawn by their
    activity on fitting prompts. minimal: a subset to score beside the whole.
    """
    engine = bench.engine
    if not isinstance(engine, HFEngine):
        raise InputError("features are proved on a Hugging Face engine; the mock has no SAEs.")
    if randoms < 1:
        raise InputError(f"a proof needs random sets to compare with; got {randoms}.")
    fitting = plainly(builtin("harmful", "fit"))
    seen = activity(engine, fitting, saes)
    harmful = spread(builtin("harmful", "test"), n)
    sets = {"harmful": plainly(harmful)}
    pushed = {
        "attacked": [attack(prompt, name) for name in attacks for prompt in harmful],
        "plain": plainly(spread(builtin("plain", "test"), n)),
        "borderline": plainly(spread(builtin("borderline", "test"), n)),
    }
    suppress: dict[str, Intervention] = {
        "suppress": multiply_features(features, saes, doses.factor),
        "suppress without direction": multiply_features(features, saes, doses.factor, without=direction.vector),
        "ablate": ablate_everywhere(direction, engine.n_layers),
    }
    push: dict[str, Intervention] = {
        "clamp": clamp_features(features, saes, doses.value),
        "clamp without direction": clamp_features(features, saes, doses.value, without=direction.vector),
        "add": add(direction, dose, True),
    }
    if minimal is not None:
        suppress["suppress minimal"] = multiply_features(minimal, saes, doses.factor)
        push["clamp minimal"] = clamp_features(minimal, saes, doses.value)
    controls = matched(features, seen, randoms)
    down = {f"random suppress {i}": dosed(c, features, saes, seen, factor=doses.factor) for i, c in enumerate(controls)}
    up = {f"random clamp {i}": dosed(c, features, saes, seen, value=doses.value) for i, c in enumerate(controls)}
    first = bench.run(_arms({**suppress, **down}), sets, run)
    # Unsteered answers to harmful requests are made in both runs; the suppressed ones are compared with their own.
    table = {**bench.run(_arms(push), {**sets, **pushed}, run), **first}
    # Random clamps stand on a share of the rows; the unsteered and the clamped answers to these are there already.
    few = {"attacked, a share": pushed["attacked"][:: len(attacks)]}
    table |= bench.run(_arms(up)[1:], few, run)
    for arm in ("unsteered", "clamp"):
        table[arm, "attacked, a share"] = table[arm, "attacked"][:: len(attacks)]
    scored = builtin_items("test")[:items]
    right = bench.score(_arms({**suppress, **push}), scored)
    figures = [
        *table_figures({place: rows for place, rows in table.items() if not place[0].startswith("random")}),
        *against_random(table, "suppress", "random suppress ", "harmful", "compliance_rate"),
        *against_random(table, "clamp", "random clamp ", "attacked, a share", "refusal_rate"),
        *accuracy_figures(right, [item.id for item in scored]),
    ]
    return Proof(doses, table, tuple(figures))


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
