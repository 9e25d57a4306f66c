"""The smallest part of a feature set that does what the whole does, by greedy elimination."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from demur.errors import InputError
from demur.types import Feature, FeatureSet

Effect = Callable[[list[FeatureSet]], Sequence[float]]
"""The effect of each feature set, larger is more, say compliance when it is suppressed. All of a round come in one
call, so that the caller can batch them."""


def minimal(features: FeatureSet, effect: Effect, share: float = 0.9) -> FeatureSet:
    """Drop, round by round, the latent whose loss costs least, while at least `share` of the whole's effect is left.

    It takes at most k (k + 1) / 2 effects in k calls. Of equal ones the latent that stands last goes. Ends with one
    latent at the latest. The path is in origin["path"]: what was dropped, and the effect of what was left; the last
    entry may be the one that was too much (kept: False). Measure the effect on validation prompts, not on those the
    features are tested on. Raises InputError for an empty set, a share outside (0, 1], or a whole without effect.
    """
    if not 0 < share <= 1:
        raise InputError(f"share is {share}; give the part of the whole set's effect to keep, above 0 and up to 1.")
    if not features.features:
        raise InputError("the feature set is empty; find features first.")
    (whole,) = _measured(effect, [features])
    if whole <= 0:
        raise InputError(f"the whole set's effect is {whole:g}, so no part of it can be kept; give a set that acts.")
    left, value = features, whole
    path: list[dict[str, object]] = []
    while len(left.features) > 1:
        subsets = [_without(left, i) for i in range(len(left.features))]
        effects = _measured(effect, subsets)
        i = max(range(len(effects)), key=lambda i: (effects[i], i))
        kept = effects[i] >= share * whole
        dropped = left.features[i]
        path.append({"dropped": f"{dropped.site}:{dropped.index}", "effect": effects[i], "kept": kept})
        if not kept:
            break
        left, value = subsets[i], effects[i]
    origin = {
        "method": "greedy elimination",
        "share": share,
        "whole": whole,
        "effect": value,
        "path": path,
        "from": dict(features.origin),
        "saes": features.origin.get("saes", {}),
    }
    return FeatureSet(left.features, left.saes, origin)


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
