"""What is chosen on validation prompts of what is steered with: the dose of a direction, the factor, the clamp and the
number of features, and what finders of features try.

Every choice is held to a budget of broken answers (`fitting.choice`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from demur.analysis.tables import share
from demur.attacks import attack, unattacked
from demur.directions.artifact import tensor_hash
from demur.engines.base import Engine, WhiteBoxEngine, white_box
from demur.evaluation.evaluator import Arm, Evaluator
from demur.fitting.cache import cached, cached_openings
from demur.fitting.candidates import Fit
from demur.fitting.choice import Choice, choose_arm
from demur.fitting.norms import activation_norms
from demur.interventions import Intervention, add, clamp_features, multiply_features
from demur.prompts.sets import PromptSets
from demur.saes import SAE
from demur.types import BROKEN, Conversation, Direction, FeatureSet, Figure, Outcome, Site

DIRECTION_DOSES = (0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5, 0.7)
"""Relative doses of the refusal direction that are tried."""
FACTORS = (0.5, 0.4, 0.3, 0.2, 0.0)
"""Multipliers tried for suppression (Yeo et al. 2505.23556 go on to -3; the bundled model breaks below 0)."""
COARSE = (0.4, 0.2, 0.0)
"""Those tried for each of the many sets of `features.minimal`."""
VALUES = (0.1, 0.2, 0.25, 0.3, 0.4, 0.5)
"""Clamps tried, in units of `unit_of`: SAEs differ in scale (O'Brien et al. 2411.11296 use 10 and 12 in theirs)."""
OPENING = 8
"""Words of a refusal by whose likelihood a shortlist is drawn up."""


@dataclass(frozen=True)
class FeatureDose:
    """A factor or a clamp, and the set that it is for: the whole one, or as many first latents as were chosen."""

    dose: float
    features: FeatureSet
    choice: Choice[tuple[int, float]]


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
    over_budget: tuple[str, ...] = ()
    """Of "factor" and "value", those at which more answers break than the budget allows, for want of a better one."""


def choose_dose(
    evaluator: Evaluator,
    direction: Direction,
    attacks: Sequence[str],
    n: int | None = 12,
    doses: Sequence[float] = DIRECTION_DOSES,
) -> Choice[float]:
    """The relative dose of a direction that makes most attacked validation requests refused."""
    arms = {dose: Arm(f"add {dose}", add(direction, dose, True)) for dose in doses}
    harmful = evaluator.prompts.take("harmful", "validation", n)
    talks = [attack(prompt, name) for name in attacks for prompt in harmful]
    return choose_arm(evaluator, arms, "validation attacked", talks, "refused")


def where_refusal_begins(
    evaluator: Evaluator, fit: Fit, attacks: Sequence[str], n: int | None = 12, many: int = 2
) -> tuple[float, ...]:
    """Of DIRECTION_DOSES, the first at which the mean refusal score of attacked validation requests is 0 or more (a
    refusal is as likely an opening as none), and those after it, `many` in all; where it never is, those with the
    highest score. Only prompts are read, nothing is generated; prefilled answers, which are past their opening, are
    left out where there are others."""
    engine = white_box(evaluator.engine)
    talks = [attack(p, name) for name in attacks for p in evaluator.prompts.take("harmful", "validation", n)]
    talks = [talk for talk in talks if not talk.prefill] or talks

    def make() -> list[float]:
        scores: list[float] = []
        for dose in DIRECTION_DOSES:
            scores.append(float(fit.openings.scores(engine, talks, add(fit.direction, dose, True)).mean()))
            done = scores[-1] >= 0
            evaluator.progress("trying doses", len(DIRECTION_DOSES) if done else len(scores), len(DIRECTION_DOSES))
            if done:
                break
        return scores

    about = [tensor_hash(fit.direction.vector), fit.direction.norm, asdict(fit.openings), [asdict(t) for t in talks]]
    scores = cached(evaluator.folder, "where refusal begins", about, engine.fingerprint, make)
    if scores[-1] >= 0:
        return DIRECTION_DOSES[min(len(scores) - 1, len(DIRECTION_DOSES) - many) :][:many]
    best = sorted(range(len(scores)), key=lambda i: -scores[i])[:many]
    return tuple(DIRECTION_DOSES[i] for i in sorted(best))


def effects(
    evaluator: Evaluator,
    saes: Mapping[Site, SAE],
    factors: Sequence[float] = COARSE,
    n: int | None = 60,
) -> Callable[[Sequence[FeatureSet]], list[float]]:
    """For `features.minimal`: how much suppressing each set at its best factor raises compliance on harmful validation
    requests, less the broken answers it adds."""
    talks = unattacked(evaluator.prompts.take("harmful", "validation", n))

    def effect(sets: Sequence[FeatureSet]) -> list[float]:
        found = _changes(
            evaluator, [multiply_features(s, f, saes=saes) for s in sets for f in factors], talks, "complied"
        )
        each = [found[i : i + len(factors)] for i in range(0, len(found), len(factors))]
        return [max(gain - broken for gain, broken in some) for some in each]

    return effect


def refusal_score_drop(
    engine: WhiteBoxEngine,
    prompts: PromptSets,
    saes: Mapping[Site, SAE],
    factor: float,
    n: int | None = 24,
    folder: Path | None = None,
) -> Callable[[Sequence[FeatureSet]], list[float]]:
    """For `features.minimal`'s path: how far suppressing each set lowers the refusal score (`fitting.openings`) of
    harmful validation requests, in nats; only openings are measured on answers, and cached in `folder`."""
    harmful, plain = (unattacked(prompts.take(kind, "fit", n)) for kind in ("harmful", "plain"))
    openings = cached_openings(folder, engine, harmful, plain)
    talks = unattacked(prompts.take("harmful", "validation", n))
    base = float(openings.scores(engine, talks).mean())

    def effect(sets: Sequence[FeatureSet]) -> list[float]:
        return [
            base - float(openings.scores(engine, talks, multiply_features(s, factor, saes=saes)).mean()) for s in sets
        ]

    return effect


def refusals(
    evaluator: Evaluator, attacks: Sequence[str], n: int | None = 12
) -> Callable[[Sequence[Intervention]], list[float]]:
    """For `features.one_prompt`: how much each intervention raises refusal of attacked validation requests, less the
    broken answers it adds."""
    harmful = evaluator.prompts.take("harmful", "validation", n)
    talks = [attack(prompt, name) for name in attacks for prompt in harmful]
    return lambda clamps: [gain - broken for gain, broken in _changes(evaluator, clamps, talks, "refused")]


def likelihoods(
    engine: Engine, prompts: PromptSets, answer: str, attacks: Sequence[str], n: int | None = 4
) -> Callable[[Sequence[Intervention]], list[float]]:
    """For `features.one_prompt`'s shortlist: the mean log-probability, a token, that each intervention gives the
    beginning of `answer` as the answer to attacked validation requests; nothing is generated."""
    beginning = " ".join(answer.split()[:OPENING])
    harmful = prompts.take("harmful", "validation", n)
    pairs = [(attack(prompt, name), beginning) for name in attacks for prompt in harmful]

    def effect(steering: Sequence[Intervention]) -> list[float]:
        means = []
        for how in steering:
            rows = engine.logprobs(pairs, how)
            means.append(sum(row.total / len(row.logprobs) for row in rows) / len(rows))
        return means

    return effect


def _changes(
    evaluator: Evaluator, steering: Sequence[Intervention], talks: Sequence[Conversation], wanted: Outcome
) -> list[tuple[float, float]]:
    """For each intervention the rise of an outcome's share over unsteered, and that of broken answers, 0 at least."""
    arms = [Arm("unsteered"), *(Arm(f"candidate {i}", how) for i, how in enumerate(steering))]
    table = evaluator.run(arms, {"validation": talks})
    base, *rows = (table[arm.name, "validation"] for arm in arms)
    return [(share(row, wanted) - share(base, wanted), max(0.0, share(row, *BROKEN) - share(base, *BROKEN)))
            for row in rows]  # fmt: skip


def unit_of(engine: WhiteBoxEngine, features: FeatureSet) -> float:
    """The clamp at which k latents with decoder rows of length 1, at right angles, move the stream by its own length:
    the median activation norm (protocol: Steering semantics; mean over the set's sites) over the root of k."""
    norms = norms_of(engine, features)
    return sum(norms.values()) / len(norms) / len(features.features) ** 0.5


def norms_of(engine: WhiteBoxEngine, features: FeatureSet) -> dict[str, float]:
    """The activation norm at each of the set's sites, as its origin keeps it."""
    sites = sorted({feature.site for feature in features.features})
    return {str(site): norm for site, norm in activation_norms(engine, sites).items()}


def choose_doses(
    evaluator: Evaluator,
    features: FeatureSet,
    saes: Mapping[Site, SAE],
    attacks: Sequence[str],
    n: int | None = 40,
    factors: Sequence[float] = FACTORS,
    values: Sequence[float] = VALUES,
) -> Doses:
    """`choose_factor` on all validation requests, `choose_value` on n of them under each attack, with both curves."""
    factor = choose_factor(evaluator, features, saes, None, factors)
    value = choose_value(evaluator, features, saes, attacks, n, values)
    both = {"factor": factor.choice, "value": value.choice}
    over = tuple(name for name, choice in both.items() if not choice.within_budget)
    curve = (*factor.choice.curve, *value.choice.curve)
    return Doses(factor.dose, value.dose, factor.choice.gain, curve, over)


def choose_factor(
    evaluator: Evaluator,
    features: FeatureSet,
    saes: Mapping[Site, SAE],
    n: int | None = None,
    factors: Sequence[float] = FACTORS,
    sizes: Sequence[int] = (),
    enough: float | None = None,
) -> FeatureDose:
    """The factor with most compliance on plain harmful validation requests among those whose broken answers stay within
    the budget, else the one that breaks fewest. sizes: numbers of a ranked set's first latents, one of which is
    chosen with the factor; empty: the whole set. enough: take the mildest factor within the budget that raises
    compliance by so much, where there is one: a subset is asked to keep an effect, not to outdo it."""
    arms: dict[tuple[int, float], Arm] = {}
    for size, some in (prefixes := _prefixes(features, sizes)).items():
        for factor in factors:
            name = f"suppress {size} by {factor:g}" if sizes else f"suppress {factor:g}"
            arms[size, factor] = Arm(name, multiply_features(some, factor, saes=saes))
    talks = unattacked(evaluator.prompts.take("harmful", "validation", n))
    choice = choose_arm(evaluator, arms, "validation harmful", talks, "complied", enough)
    return FeatureDose(choice.key[1], prefixes[choice.key[0]], choice)


def choose_value(
    evaluator: Evaluator,
    features: FeatureSet,
    saes: Mapping[Site, SAE],
    attacks: Sequence[str],
    n: int | None = 40,
    values: Sequence[float] = VALUES,
    sizes: Sequence[int] = (),
) -> FeatureDose:
    """The clamp with most refusal of attacked validation requests within the same budget, in the latents' own units.
    values: in units of `unit_of`. sizes: as in `choose_factor`."""
    arms: dict[tuple[int, float], Arm] = {}
    for size, some in (prefixes := _prefixes(features, sizes)).items():
        unit = unit_of(white_box(evaluator.engine), some)
        for value in values:
            name = f"clamp {size} at {value:g}r" if sizes else f"clamp {value:g}r"
            arms[size, value * unit] = Arm(name, clamp_features(some, value * unit, saes=saes))
    harmful = evaluator.prompts.take("harmful", "validation", n)
    talks = [attack(prompt, family) for family in attacks for prompt in harmful]
    choice = choose_arm(evaluator, arms, "validation attacked", talks, "refused")
    return FeatureDose(choice.key[1], prefixes[choice.key[0]], choice)


def _prefixes(features: FeatureSet, sizes: Sequence[int]) -> dict[int, FeatureSet]:
    """The first so many latents of a set, for each size; one that is larger than the set, or none, is the set."""
    first = features.features
    return {min(size, len(first)): replace(features, features=first[:size]) for size in sizes or (len(first),)}
