"""Finding refusal latents from ONE prompt (O'Brien et al. 2411.11296): no data set, no explanations.

Latents that are active on at least two tokens of the model's refusal of one archetypal request are the candidates;
each is clamped alone, and the ones that raise refusal most are kept. To judge answers under hundreds of clamps takes
an hour on a small machine, so a cheaper effect may draw up a shortlist first: how likely the clamp makes that refusal.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch

from demur.engines.base import WhiteBoxEngine
from demur.errors import InputError
from demur.features.record import check_prompts, check_saes, origin_of
from demur.interventions import Intervention, at, clamp
from demur.saes import SAE, encode
from demur.types import Conversation, Feature, FeatureSet, Site

Effect = Callable[[Sequence[Intervention]], Sequence[float]]
"""Interventions -> how much each raises refusal on validation prompts, all in one batched run."""
LEAST = 2
"""Tokens of the refusal that a candidate is active on."""
MOST = 400
"""Candidates that are tried."""


@dataclass(frozen=True)
class Screen:
    """A cheaper effect that is asked first."""

    effect: Effect
    shortlist: int = 16
    """Candidates that it leaves to the dearer one, or twice as many as are kept, if that is more."""


def candidates(
    engine: WhiteBoxEngine, conversation: Conversation, refusal: str, saes: Mapping[Site, SAE], least: int = LEAST
) -> list[Feature]:
    """Latents active on at least `least` tokens of the refusal; score: on how many of them. All sites, most first."""
    check_saes(saes)
    check_prompts([conversation], "harmful")
    row = engine.row(conversation, refusal)
    if len(row.tokens) - row.prompt_length < least:
        raise InputError(f"the answer to {conversation.prompt.id!r} has fewer than {least} tokens; give a longer one.")
    streams = next(iter(engine.read([row], sorted(saes)))).tensors
    found: list[Feature] = []
    for site, sae in saes.items():
        active = (encode(sae, streams[site][0, row.prompt_length :]) > 0).sum(0)
        found += [Feature(site, int(j), float(active[j])) for j in (active >= least).nonzero()[:, 0]]
    return sorted(found, key=lambda feature: -feature.score)


def one_prompt(
    engine: WhiteBoxEngine,
    conversation: Conversation,
    refusal: str,
    saes: Mapping[Site, SAE],
    values: Mapping[Site, float],
    effect: Effect,
    k: int = 1,
    screen: Screen | None = None,
) -> FeatureSet:
    """The k candidates whose clamp at `values` of their site raises refusal most.

    refusal: the model's own refusal of the conversation's request. effect: scores clamps on validation prompts, which
    must not be test prompts; latents that it gives 0 or less are left out. Of more candidates than MOST, those active
    on most tokens are tried. screen: what draws up a shortlist for `effect`.

    Raises InputError when nothing is a candidate, or no candidate raises refusal.
    """
    tried = candidates(engine, conversation, refusal, saes)
    if not tried:
        raise InputError(f"no latent is active on {LEAST} tokens of the refusal of {conversation.prompt.id!r}; give a "
                         "longer refusal or an SAE of a later site.")  # fmt: skip
    total, tried = len(tried), tried[:MOST]
    screened = len(tried)
    if screen is not None:
        tried = _first(tried, saes, values, screen.effect, max(2 * k, screen.shortlist))
    kept = tuple(f for f in _first(tried, saes, values, effect, k) if f.score > 0)
    if not kept:
        raise InputError(f"none of the {len(tried)} latents tried raises refusal when it is clamped; give other "
                         "values, another prompt or SAEs of other sites.")  # fmt: skip
    record = {"refusal": refusal, "values": {str(site): value for site, value in values.items()}, "least": LEAST,
              "candidates": total, "screened": screened, "tried": len(tried)}  # fmt: skip
    origin = origin_of("one prompt (O'Brien et al. 2411.11296)", engine, [conversation], saes, **record)
    return FeatureSet(kept, {f.site: saes[f.site].sha256 for f in kept}, origin)


def _first(
    features: Sequence[Feature], saes: Mapping[Site, SAE], values: Mapping[Site, float], effect: Effect, k: int
) -> list[Feature]:
    """The k features of the largest effect, largest first, with it as their score."""
    scores = torch.tensor(effect([at("after-first", clamp(saes[f.site], [f.index], values[f.site])) for f in features]))
    order = torch.argsort(scores, descending=True, stable=True)[:k].tolist()
    return [Feature(features[i].site, features[i].index, float(scores[i])) for i in order]
