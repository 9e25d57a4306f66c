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

from demur.engines.base import WhiteBoxEngine
from demur.errors import InputError
from demur.interventions import Intervention, at, chain, clamp, multiply
from demur.saes import SAE, decoder_rows, encode, encode_some
from demur.types import Conversation, Feature, FeatureSet, Site

NEAR = 0.25
"""Mean activations this close, relatively, count as equal."""
FEWEST = 5
"""When fewer latents are near, the nearest so many are drawn from."""
ATTEMPTS = 20
"""Draws a set, before too few different ones are taken to be there."""
CHUNK = 2048


@dataclass(frozen=True)
class Activity:
    """What some prompts make of some SAEs."""

    streams: Mapping[Site, Float[Tensor, "tokens d_model"]]
    """All tokens but the first of each prompt."""
    means: Mapping[Site, Float[Tensor, " d_sae"]]
    """Mean activation of every latent over these tokens."""


def activity(engine: WhiteBoxEngine, conversations: Sequence[Conversation], saes: Mapping[Site, SAE]) -> Activity:
    """Streams and mean activations on the prompts, at the SAEs' sites."""
    found = engine.activations(conversations, sorted(saes))
    keep = found.mask.clone()
    keep[:, :1] = False
    streams = {site: found.tensors[site][keep] for site in saes}
    means = {site: torch.stack([encode(saes[site], part).sum(0) for part in x.split(CHUNK)]).sum(0) / len(x)
             for site, x in streams.items()}  # fmt: skip
    return Activity(streams, means)


def matched(features: FeatureSet, seen: Activity, n: int = 20, seed: int = 0) -> list[FeatureSet]:
    """n different random sets; the i-th latent of each fires about as much as the i-th of `features`, at its site.

    None of them holds a latent of `features`, nor one latent twice. Raises InputError when too few latents of a site
    fire. How near they come is told by `match`.
    """
    generator = torch.Generator().manual_seed(seed)
    taken = {(f.site, f.index) for f in features.features}
    # A lone latent needs as many to draw from as there are sets; of two and more there are combinations enough.
    fewest = FEWEST if len(features.features) > 1 else max(FEWEST, n)
    sets: dict[frozenset[tuple[Site, int]], FeatureSet] = {}
    for _ in range(ATTEMPTS * n):
        used = set(taken)
        drawn: list[Feature] = []
        for feature in features.features:
            means = seen.means[feature.site]
            pool = _pool(means, feature, used, fewest)
            if not pool:
                raise InputError(f"too few latents fire at {feature.site} to draw controls from; use more prompts.")
            index = pool[int(torch.randint(len(pool), (1,), generator=generator))]
            used.add((feature.site, index))
            drawn.append(Feature(feature.site, index, float(means[index])))
        origin = {"method": "random, matched", "seed": seed, "set": len(sets)}
        sets.setdefault(frozenset(used - taken), FeatureSet(tuple(drawn), features.saes, origin))
        if len(sets) == n:
            return list(sets.values())
    raise InputError(f"only {len(sets)} different control sets could be drawn, and {n} were asked for; ask for fewer.")


def _pool(means: Tensor, feature: Feature, used: set[tuple[Site, int]], fewest: int) -> list[int]:
    """Latents that fire and are near in mean activation; the nearest `fewest` when fewer are within NEAR."""
    wanted = float(means[feature.index])
    distance = (means - wanted).abs() / max(wanted, 1e-9)
    distance[means <= 0] = torch.inf
    for site, index in used:
        if site == feature.site:
            distance[index] = torch.inf
    near = (distance <= NEAR).nonzero()[:, 0].tolist()
    if len(near) >= fewest:
        return near
    order = torch.argsort(distance)[:fewest].tolist()
    return [i for i in order if bool(torch.isfinite(distance[i]))]


@dataclass(frozen=True)
class Match:
    """How near a control set comes to the set it stands beside; 1 is equal."""

    activation: float
    """Mean activation of its latents, over theirs."""
    norm: float
    """What its dose injects, over what theirs does; the mean over sites."""


def match(
    control: FeatureSet,
    features: FeatureSet,
    saes: Mapping[Site, SAE],
    seen: Activity,
    factor: float | None = None,
    value: float | None = None,
) -> Match:
    """How near a control is in mean activation, and, dosed as by `dosed`, in injected norm."""
    fires = [sum(float(seen.means[f.site][f.index]) for f in some.features) for some in (control, features)]
    wanted = injected(features, saes, seen, factor, value)
    norms = []
    for site, dose in _doses(control, features, saes, seen, factor, value).items():
        number = (dose, None) if value is None else (None, dose)
        norms += [_norm(*_parts(control, saes, seen, site), *number) / wanted[site]] if wanted[site] > 0 else []
    return Match(fires[0] / fires[1] if fires[1] else float("nan"), sum(norms) / len(norms) if norms else float("nan"))


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
    parts: list[Intervention] = []
    for site, dose in _doses(control, features, saes, seen, factor, value).items():
        indices = [f.index for f in control.features if f.site == site]
        parts.append((clamp if factor is None else multiply)(saes[site], indices, dose))
    return at("after-first", chain(*parts))


def _doses(
    control: FeatureSet,
    features: FeatureSet,
    saes: Mapping[Site, SAE],
    seen: Activity,
    factor: float | None,
    value: float | None,
) -> dict[Site, float]:
    """The factor or the clamp of the control at each site."""
    if (factor is None) == (value is None):
        raise InputError("give a factor to suppress with, or a value to clamp at: one of them.")
    wanted = injected(features, saes, seen, factor, value)
    found = {}
    for site in _sites(control):
        latents, rows = _parts(control, saes, seen, site)
        if factor is not None:
            mine = _norm(latents, rows, factor, None)
            found[site] = 1 + (wanted[site] / mine if mine > 0 else 1.0) * (factor - 1)
        else:
            assert value is not None
            found[site] = value * _scale(latents, rows, value, wanted[site])
    return found


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
