"""Does attribution rank latents as exact patching does? On a sample of (latent, prompt) pairs of all sizes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from demur.errors import InputError
from demur.features.attribution import Attributions
from demur.features.exact import Exact, Pair
from demur.stats import Estimate, spearman
from demur.types import Site


@dataclass(frozen=True, eq=False)
class Agreement:
    """Attribution against exact patching on the same pairs."""

    spearman: Estimate
    """Rank correlation over pairs, with an interval that resamples prompts."""
    predicted: Float[Tensor, " pairs"]
    """Attributions summed over positions, logits."""
    exact: Float[Tensor, " pairs"]
    """Effects of exact patching, logits."""
    prompts: int
    scored: int
    """Pairs that attribution scored and that are not 0."""
    attribution_seconds: float
    """Wall time of attributing all pairs."""
    exact_seconds: float
    """Wall time of patching the sampled pairs."""

    @property
    def ratio(self) -> float:
        """How many times longer exact patching of all scored pairs would take, by the sample's pace; descriptive."""
        return self.exact_seconds / len(self.exact) * self.scored / self.attribution_seconds


def sample_pairs(attributions: Attributions, n: int = 200, bins: int = 10, seed: int = 0) -> list[Pair]:
    """About n pairs, as many from each of `bins` quantile bins of |attribution|, drawn without replacement.

    Attributions are those summed over positions. Pairs of exactly 0 (latents that fire in neither run) are left out:
    exact patching gives 0 there too, and they would only flatter the agreement. Raises InputError when there are
    fewer than n others, or fewer than one for each bin.
    """
    if not 1 <= bins <= n:
        raise InputError(f"{n} pairs cannot be drawn from {bins} bins; give at least one bin, and one pair for each.")
    sizes, sites = _flat(attributions)
    alive = np.flatnonzero(sizes)
    if len(alive) < n:
        raise InputError(f"{len(alive)} of {len(sizes)} attributions are not 0, and {n} were asked for; take fewer.")
    order = alive[np.argsort(np.abs(sizes[alive]), kind="stable")]
    random = np.random.default_rng(seed)
    shares = [n * (b + 1) // bins - n * b // bins for b in range(bins)]
    parts = np.array_split(order, bins)
    picked = [
        random.choice(part, min(share, len(part)), replace=False) for part, share in zip(parts, shares, strict=True)
    ]
    return sorted(_pair(attributions, sites, int(flat)) for flat in np.concatenate(picked))


def agreement(attributions: Attributions, patched: Exact, n_boot: int = 2000, seed: int = 0) -> Agreement:
    """Spearman's correlation of attributions with the exact effects of the same pairs.

    Raises InputError for fewer than 3 pairs, or when all of one side are equal.
    """
    predicted = torch.stack([_total(attributions, pair) for pair in patched.pairs])
    prompts = [pair.prompt for pair in patched.pairs]
    found = spearman(predicted.numpy(), patched.effects.numpy(), prompts, n_boot, seed)
    sizes, _ = _flat(attributions)
    scored = int(np.count_nonzero(sizes))
    return Agreement(
        found, predicted, patched.effects, len(set(prompts)), scored, attributions.seconds, patched.seconds
    )


def _total(attributions: Attributions, pair: Pair) -> Tensor:
    at = (attributions.latents[pair.site] == pair.latent).nonzero()[:, 0]
    if len(at) != 1:
        raise InputError(f"latent {pair.latent} at {pair.site} was no candidate; take pairs from sample_pairs.")
    return attributions.values[pair.site][pair.prompt, at[0]] * attributions.counts[pair.prompt]


def _flat(attributions: Attributions) -> tuple[np.ndarray, list[Site]]:
    """All totals, site after site, each [prompts, some] row after row."""
    sites = sorted(attributions.values)
    return np.concatenate([attributions.totals(site).flatten().numpy() for site in sites]), sites


def _pair(attributions: Attributions, sites: list[Site], flat: int) -> Pair:
    for site in sites:
        values = attributions.values[site]
        if flat < values.numel():
            prompt, at = divmod(flat, values.shape[1])
            return Pair(prompt, site, int(attributions.latents[site][at]))
        flat -= values.numel()
    raise IndexError(flat)
