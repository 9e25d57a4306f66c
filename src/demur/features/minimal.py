"""The smallest part of a feature set that does what the whole does, by greedy elimination."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import pairwise

from demur.errors import InputError
from demur.features.record import MODEL
from demur.types import Feature, FeatureSet

Effect = Callable[[list[FeatureSet]], Sequence[float]]
"""The effect of each feature set, larger is more, say compliance when it is suppressed. All of a round come in one
call, so that the caller can batch them."""

KEPT = 0.9
"""Share of the whole set's effect that a subset keeps."""


def minimal(features: FeatureSet, effect: Effect, share: float = KEPT, screen: Effect | None = None) -> FeatureSet:
    """The smallest set on a path of ever smaller ones that keeps `share` of the whole's effect.

    The path drops, round by round, the latent whose loss costs least (of equal ones the last), as `screen` has it, a
    cheaper effect, or `effect` itself: k (k + 1) / 2 sets in k calls at most, for it ends with the first set that keeps
    less. With a screen, `effect` measures only the k sets of the path, in one call, and sets behind one that keeps less
    count too: effects are noisy. The path is in origin["path"]: what was dropped and the effect of what was left; one
    with kept: False keeps less. Measure both effects on validation prompts, not on those the features are tested on.
    Raises InputError for an empty set, a share outside (0, 1], or a whole without effect.
    """
    if not 0 < share <= 1:
        raise InputError(f"share is {share}; give the part of the whole set's effect to keep, above 0 and up to 1.")
    if not features.features:
        raise InputError("the feature set is empty; find features first.")
    sets = [features]
    effects = []
    if screen is None:
        effects = _measured(effect, sets)
        _acts(effects[0])
    while len(sets[-1].features) > 1 and (screen is not None or effects[-1] >= share * effects[0]):
        subsets = [_without(sets[-1], i) for i in range(len(sets[-1].features))]
        values = _measured(screen or effect, subsets)
        i = max(range(len(values)), key=lambda i: (values[i], i))
        sets.append(subsets[i])
        effects += [values[i]] if screen is None else []
    if screen is not None:
        effects = _measured(effect, sets)
        _acts(effects[0])
    kept = [value >= share * effects[0] for value in effects]
    last = max(i for i, keeps in enumerate(kept) if keeps)
    left, value = sets[last], effects[last]
    path = [{"dropped": _dropped(before, after), "effect": effects[i + 1], "kept": kept[i + 1]}
            for i, (before, after) in enumerate(pairwise(sets))]  # fmt: skip
    origin = {
        **{name: features.origin[name] for name in (*MODEL, "version") if name in features.origin},
        "method": "greedy elimination" if screen is None else "greedy elimination, screened",
        "share": share,
        "whole": effects[0],
        "effect": value,
        "path": path,
        "from": dict(features.origin),
        "saes": features.origin.get("saes", {}),
    }
    return FeatureSet(left.features, left.saes, origin)


def _acts(whole: float) -> None:
    if whole <= 0:
        raise InputError(f"the whole set's effect is {whole:g}, so no part of it can be kept; give a set that acts.")


def _dropped(before: FeatureSet, after: FeatureSet) -> str:
    (gone,) = set(before.features) - set(after.features)
    return f"{gone.site}:{gone.index}"


def _measured(effect: Effect, sets: list[FeatureSet]) -> list[float]:
    values = [float(value) for value in effect(sets)]
    if len(values) != len(sets):
        raise InputError(f"the effect gave {len(values)} numbers for {len(sets)} feature sets; it gives one for each.")
    if not all(math.isfinite(value) for value in values):
        raise InputError(f"an effect is {next(v for v in values if not math.isfinite(v))}; effects are finite numbers.")
    return values


def _without(features: FeatureSet, index: int) -> FeatureSet:
    left: tuple[Feature, ...] = features.features[:index] + features.features[index + 1 :]
    here = {feature.site for feature in left}
    return FeatureSet(left, {site: sha for site, sha in features.saes.items() if site in here}, features.origin)
