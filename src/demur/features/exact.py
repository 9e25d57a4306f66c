"""Exact patching of single latents, to check attributions: one forward pass for each (latent, prompt).

The stream gets (f_patched - f_clean)[p, j] times decoder row j at the positions of the attribution, and everything
downstream is computed anew; the effect is how far m moves from the clean run's. In bf16 logits of size 16 come in
steps of 1/8, which hides most single latents: check in fp32.

NOTE a single latent is moved from the clean run, while integrated gradients average the slope over the path on which
everything moves. Where the ablation changes much, the slope at the clean run (steps=1) is the closer estimate of
these effects, and the average that of a latent's part in the whole change.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from demur.engines.base import WhiteBoxEngine
from demur.errors import InputError
from demur.features.attribution import Attributions, activity, chosen, difference
from demur.features.record import direction_record
from demur.interventions import Intervention, ablate, patch
from demur.saes import SAE, decoder_rows
from demur.types import Direction, Site

BATCH = 64
"""Patched rows of one prompt in one call; each holds a stream of changes [tokens, d_model]."""


@dataclass(frozen=True, order=True)
class Pair:
    """One latent on one prompt."""

    prompt: int
    """The prompt's place in `Attributions.conversations`."""
    site: Site
    latent: int
    """The latent's index in its SAE."""


@dataclass(frozen=True, eq=False)
class Exact:
    """What moving single latents does."""

    pairs: tuple[Pair, ...]
    effects: Float[Tensor, " pairs"]
    """m with the latent moved less m of the clean run, logits; compare with `Attributions.totals`."""
    seconds: float
    """Wall time of all of it."""


def exact(
    engine: WhiteBoxEngine,
    attributions: Attributions,
    saes: Mapping[Site, SAE],
    direction: Direction,
    pairs: Sequence[Pair],
) -> Exact:
    """The effect on m of moving each latent from its clean to its patched value, all else recomputed.

    engine, saes, direction: those of the attributions. Each batch has the clean row among its rows. Raises
    InputError for others, and for a prompt, site or latent that the attributions do not have.
    """
    started = time.perf_counter()
    _check(attributions, saes, direction, pairs)
    steer = ablate(direction)
    places: dict[int, list[int]] = {}
    for place, pair in enumerate(pairs):
        places.setdefault(pair.prompt, []).append(place)
    effects = torch.zeros(len(pairs))
    for prompt, mine in sorted(places.items()):
        talk = attributions.conversations[prompt]
        sites = sorted({pairs[place].site for place in mine})
        clean, patched = engine.activations([talk], sites), engine.activations([talk], sites, None, steer)
        (here,) = chosen(engine, [talk], attributions.positions, clean)
        wanted = {site: sorted({pairs[p].latent for p in mine if pairs[p].site == site}) for site in sites}
        moved = {
            site: _moved(saes[site], clean.rows(site)[0], patched.rows(site)[0], here, wanted[site]) for site in sites
        }
        metric = difference(attributions.refusal[prompt][None], attributions.jailbroken[prompt][None])
        for start in range(0, len(mine), BATCH):
            batch = mine[start : start + BATCH]
            steers: list[Intervention | None] = [None]
            for place in batch:
                pair = pairs[place]
                at = wanted[pair.site].index(pair.latent)
                change, rows = moved[pair.site]
                steers.append(patch({pair.site: change[:, at, None] * rows[at]}))
            logits = engine.last_logits([talk] * len(steers), steers)
            m = metric(logits, torch.zeros(len(logits), dtype=torch.long))
            effects[batch] = (m[1:] - m[0]).cpu()
    return Exact(tuple(pairs), effects, time.perf_counter() - started)


def _moved(
    sae: SAE, x: Tensor, y: Tensor, here: Tensor, latents: Sequence[int]
) -> tuple[Float[Tensor, "tokens some"], Float[Tensor, "some d_model"]]:
    """How far the latents move at each token, 0 where they are left alone, and their decoder rows."""
    index = torch.tensor(latents)
    change = activity(sae, y, index) - activity(sae, x, index)
    return change * here[:, None], decoder_rows(sae, index).float().cpu()


def _check(attributions: Attributions, saes: Mapping[Site, SAE], direction: Direction, pairs: Sequence[Pair]) -> None:
    if not pairs:
        raise InputError("there are no pairs to patch; take them from sample_pairs.")
    if direction_record(direction) != attributions.origin["direction"]:
        raise InputError(f"the direction at {direction.site} is not the one of these attributions; give that one.")
    for pair in pairs:
        if not 0 <= pair.prompt < len(attributions.conversations):
            known = f"0 to {len(attributions.conversations) - 1}"
            raise InputError(f"no prompt {pair.prompt} among these attributions; known: {known}.")
        if pair.site not in saes or saes[pair.site].sha256 != attributions.saes.get(pair.site):
            raise InputError(f"the SAE at {pair.site} is not the one of these attributions; give that one.")
        if not 0 <= pair.latent < saes[pair.site].d_sae:
            raise InputError(f"no latent {pair.latent} at {pair.site}; known: 0 to {saes[pair.site].d_sae - 1}.")
