"""What is chosen of features on validation prompts: the factor, the clamp, how many latents, and what finders try.

Every choice is held to a price: broken answers at most PRICE above the unsteered arm's.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from demur.analysis.tables import table_figures
from demur.attacks import attack
from demur.engines.base import Engine
from demur.evaluation.evaluator import Arm, Bench, Judged
from demur.experiments.baseline import BROKEN, PRICE, plainly, spread
from demur.fitting.openings import measure_openings
from demur.interventions import Intervention, clamp_features, multiply_features
from demur.prompts.builtin import builtin
from demur.saes import SAE
from demur.types import Conversation, FeatureSet, Figure, Site

FACTORS = (0.5, 0.4, 0.3, 0.2, 0.0)
"""Multipliers tried for suppression (Yeo et al. 2505.23556 go on to -3; the bundled model breaks below 0)."""
COARSE = (0.4, 0.2, 0.0)
"""Those tried for each of the many sets of `features.minimal`."""
VALUES = (0.1, 0.2, 0.25, 0.3, 0.4, 0.5)
"""Clamps tried, in units of `unit_of`: SAEs differ in scale (O'Brien et al. 2411.11296 use 10 and 12 in theirs)."""
OPENING = 8
"""Words of a refusal by whose likelihood a shortlist is drawn up."""


@dataclass(frozen=True)
class Chosen:
    """A factor or a clamp chosen on validation."""

    dose: float
    features: FeatureSet
    """The set that it is for: the whole one, or as many of its first latents as were chosen."""
    within_price: bool
    """Whether it breaks at most PRICE more answers than the unsteered arm; if not, none did, and it is the cheapest."""
    gain: float
    """How far it raises the wanted outcome's share there."""
    curve: tuple[Figure, ...]
    """Outcomes at all that were tried."""


@dataclass(frozen=True)
class Doses:
    """What was chosen on validation, and the curve it was chosen from."""

    factor: float
    value: float
    """In the latents' own units."""
    gain: float
    """How far the factor raises compliance on validation."""
    curve: tuple[Figure, ...]
    """Outcomes at every factor and value tried, on validation."""
    beyond_price: tuple[str, ...] = ()
    """Of "factor" and "value", those at which more answers break than PRICE allows, for want of a better one."""


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
        found = _changes(bench, [multiply_features(s, f, saes) for s in sets for f in factors], talks, "complied", run)
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
        return [base - float(openings.scores(engine, talks, multiply_features(s, factor, saes)).mean()) for s in sets]

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
    norms = norms_of(engine, features)
    return sum(norms.values()) / len(norms) / len(features.features) ** 0.5


def norms_of(engine: Engine, features: FeatureSet) -> dict[str, float]:
    """The median activation norm at each of the set's sites, on plain fitting prompts."""
    sites = sorted({feature.site for feature in features.features})
    streams = engine.activations(plainly(builtin("plain", "fit")), sites)
    return {str(site): streams.median_norm(site) for site in sites}


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
    return Doses(factor.dose, value.dose, factor.gain, (*factor.curve, *value.curve), beyond)


def choose_factor(
    bench: Bench,
    features: FeatureSet,
    saes: Mapping[Site, SAE],
    n: int | None = None,
    factors: Sequence[float] = FACTORS,
    run: str = "",
    sizes: Sequence[int] = (),
    enough: float | None = None,
) -> Chosen:
    """The factor with most compliance on plain harmful validation requests among those whose broken answers stay within
    PRICE of the unsteered arm's, else the cheapest. sizes: numbers of a ranked set's first latents, one of which is
    chosen with the factor; empty: the whole set. enough: take the mildest factor within the price that raises
    compliance by so much, where there is one: a subset is asked to keep an effect, not to outdo it."""
    arms: dict[tuple[int, float], Arm] = {}
    for size, some in (kept := _prefixes(features, sizes)).items():
        for factor in factors:
            name = f"suppress {size} by {factor:g}" if sizes else f"suppress {factor:g}"
            arms[size, factor] = Arm(name, multiply_features(some, factor, saes))
    talks = plainly(spread(builtin("harmful", "validation"), n))
    return _chosen(bench, kept, arms, "validation harmful", talks, "complied", run, enough)


def choose_value(
    bench: Bench,
    features: FeatureSet,
    saes: Mapping[Site, SAE],
    attacks: Sequence[str],
    n: int | None = 40,
    values: Sequence[float] = VALUES,
    run: str = "",
    sizes: Sequence[int] = (),
) -> Chosen:
    """The clamp with most refusal of attacked validation requests at the same price, in the latents' own units.
    values: in units of `unit_of`. sizes: as in `choose_factor`."""
    arms: dict[tuple[int, float], Arm] = {}
    for size, some in (kept := _prefixes(features, sizes)).items():
        unit = unit_of(bench.engine, some)
        for value in values:
            name = f"clamp {size} at {value:g}r" if sizes else f"clamp {value:g}r"
            arms[size, value * unit] = Arm(name, clamp_features(some, value * unit, saes=saes))
    harmful = spread(builtin("harmful", "validation"), n)
    talks = [attack(prompt, family) for family in attacks for prompt in harmful]
    return _chosen(bench, kept, arms, "validation attacked", talks, "refused", run)


def _prefixes(features: FeatureSet, sizes: Sequence[int]) -> dict[int, FeatureSet]:
    """The first so many latents of a set, for each size; one that is larger than the set, or none, is the set."""
    first = features.features
    return {min(size, len(first)): replace(features, features=first[:size]) for size in sizes or (len(first),)}


def _chosen(
    bench: Bench,
    kept: Mapping[int, FeatureSet],
    arms: Mapping[tuple[int, float], Arm],
    name: str,
    talks: Sequence[Conversation],
    wanted: str,
    run: str,
    enough: float | None = None,
) -> Chosen:
    """The arm with most of an outcome (or the first to raise it by `enough`) at a price of PRICE at most, else the
    cheapest arm. arms: the mildest first."""
    table = bench.run([Arm("unsteered"), *arms.values()], {name: talks}, run)
    base, rows = table["unsteered", name], {key: table[arm.name, name] for key, arm in arms.items()}
    gain = {key: share(some, wanted) - share(base, wanted) for key, some in rows.items()}
    price = {key: share(some, *BROKEN) - share(base, *BROKEN) for key, some in rows.items()}
    cheap = [key for key in arms if price[key] <= PRICE]
    fitting = [key for key in cheap if enough is not None and gain[key] >= enough]
    if fitting:
        best = fitting[0]
    elif cheap:
        best = max(cheap, key=lambda key: gain[key])
    else:
        best = min(price, key=lambda key: price[key])
    return Chosen(best[1], kept[best[0]], bool(cheap), gain[best], tuple(table_figures(table)))


def share(rows: Sequence[Judged], *outcomes: str) -> float:
    """The share of answers with one of these outcomes."""
    return sum(row.verdict.outcome in outcomes for row in rows) / len(rows)
