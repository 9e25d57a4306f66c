"""Random latents as controls, matched in mean activation and in injected norm (protocol: Statistics).

A latent that never fires is no control, and a control that moves the stream less than the set it stands beside
flatters the set. So each control latent fires as much as the one it replaces, on the same prompts and at the same site,
and each control set is dosed so that it moves the stream as far.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from demur.engines.hf import HFEngine
from demur.errors import InputError
from demur.interventions import Intervention, at, chain, clamp, multiply
from demur.saes import SAE, decoder_rows, encode, encode_some
from demur.types import Conversation, Feature, FeatureSet, Site

NEAR = 0.25
"""Mean activations this close, relatively, count as equal."""
FEWEST = 5
"""When fewer latents are near, the nearest so many are drawn from."""
CHUNK = 2048


@dataclass(frozen=True)
class Activity:
    """What some prompts make of some SAEs."""

    streams: Mapping[Site, Float[Tensor, "tokens d_model"]]
    """All tokens but the first of each prompt."""
    means: Mapping[Site, Float[Tensor, " d_sae"]]
    """Mean activation of every latent over these tokens."""


def activity(engine: HFEngine, conversations: Sequence[Conversation], saes: Mapping[Site, SAE]) -> Activity:
    """Streams and mean activations on the prompts, at the SAEs' sites."""
    found = engine.activations(conversations, sorted(saes))
    keep = found.mask.clone()
    keep[:, :1] = False
    streams = {site: found.tensors[site][keep] for site in saes}
    means = {site: torch.stack([encode(saes[site], part).sum(0) for part in x.split(CHUNK)]).sum(0) / len(x)
             for site, x in streams.items()}  # fmt: skip
    return Activity(streams, means)


def matched(features: FeatureSet, seen: Activity, n: int = 20, seed: int = 0) -> list[FeatureSet]:
    """n random sets; the i-th latent of each fires about as much as the i-th of `features`, at its site.

    None of them holds a latent of `features`, nor one latent twice. Raises InputError when a site has too few latents
    that fire.
    """
    generator = torch.Generator().manual_seed(seed)
    taken = {(f.site, f.index) for f in features.features}
    sets = []
    for number in range(n):
        used = set(taken)
        drawn: list[Feature] = []
        for feature in features.features:
            means = seen.means[feature.site]
            pool = _pool(means, feature, used)
            if not pool:
                raise InputError(f"too few latents fire at {feature.site} to draw controls from; use more prompts.")
            index = pool[int(torch.randint(len(pool), (1,), generator=generator))]
            used.add((feature.site, index))
            drawn.append(Feature(feature.site, index, float(means[index])))
        sets.append(FeatureSet(tuple(drawn), features.saes, {"method": "random, matched", "seed": seed, "set": number}))
    return sets


def _pool(means: Tensor, feature: Feature, used: set[tuple[Site, int]]) -> list[int]:
    """Latents that fire and are near in mean activation; the nearest FEWEST when too few are within NEAR."""
    wanted = float(means[feature.index])
    distance = (means - wanted).abs() / max(wanted, 1e-9)
    distance[means <= 0] = torch.inf
    for site, index in used:
        if site == feature.site:
            distance[index] = torch.inf
    near = (distance <= NEAR).nonzero()[:, 0].tolist()
    if len(near) >= FEWEST:
        return near
    order = torch.argsort(distance)[:FEWEST].tolist()
    return [i for i in order if bool(torch.isfinite(distance[i]))]


def injected(
    features: FeatureSet, saes: Mapping[Site, SAE], seen: Activity, factor: float | None, value: float | None
) -> dict[Site, float]:
    """Mean Euclidean norm of what suppressing (factor) or clamping (value) adds to the stream, a site."""
    return {site: _norm(*_parts(features, saes, seen, site), factor, value) for site in _sites(features)}


def dosed(
    control: FeatureSet,
    features: FeatureSet,
    saes: Mapping[Site, SAE],
    seen: Activity,
    factor: float | None = None,
    value: float | None = None,
) -> Intervention:
    """The control's suppression or clamp that moves the stream as far as `features` under `factor` or `value` does.

    Suppression: 1 + s (factor - 1) times each latent; clamp: at s times `value`; s is found for each site.
    """
    if (factor is None) == (value is None):
        raise InputError("give a factor to suppress with, or a value to clamp at: one of them.")
    wanted = injected(features, saes, seen, factor, value)
    parts: list[Intervention] = []
    for site in _sites(control):
        latents, rows = _parts(control, saes, seen, site)
        indices = [f.index for f in control.features if f.site == site]
        if factor is not None:
            mine = _norm(latents, rows, factor, None)
            scale = wanted[site] / mine if mine > 0 else 1.0
            parts.append(multiply(saes[site], indices, 1 + scale * (factor - 1)))
        else:
            assert value is not None
            parts.append(clamp(saes[site], indices, value * _scale(latents, rows, value, wanted[site])))
    return at("after-first", chain(*parts))


def _sites(features: FeatureSet) -> list[Site]:
    return sorted({feature.site for feature in features.features})


def _parts(features: FeatureSet, saes: Mapping[Site, SAE], seen: Activity, site: Site) -> tuple[Tensor, Tensor]:
    """Activations [tokens, m] and decoder rows [m, d_model] of a site's latents."""
    indices = [f.index for f in features.features if f.site == site]
    return encode_some(saes[site], seen.streams[site], indices), decoder_rows(saes[site], indices)


def _norm(latents: Tensor, rows: Tensor, factor: float | None, value: float | None) -> float:
    change = latents * (factor - 1) if factor is not None else value - latents  # pyright: ignore[reportOptionalOperand]
    return float((change @ rows).norm(dim=-1).mean())


def _scale(latents: Tensor, rows: Tensor, value: float, wanted: float) -> float:
    """s at which clamping at s * value injects `wanted`, by bisection; the norm grows with s once past the latents."""
    low, high = 0.0, 1.0
    while _norm(latents, rows, None, high * value) < wanted and high < 64:
        low, high = high, 2 * high
    for _ in range(30):
        middle = (low + high) / 2
        low, high = (middle, high) if _norm(latents, rows, None, middle * value) < wanted else (low, middle)
    return high
