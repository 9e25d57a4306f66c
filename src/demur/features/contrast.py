"""Latents that are more active on harmful than on harmless prompts, one at a time.

The difference of mean latents is the baseline ActDiff of Yeo et al. (2505.23556); the best AUROC of a single latent
is AxBench's MaxAUC (Wu et al. 2501.17148).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from scipy.stats import rankdata
from torch import Tensor

from demur.engines.base import WhiteBoxEngine
from demur.errors import InputError
from demur.features.record import best, check_prompts, check_saes, hashes, on_sae, origin_of
from demur.saes import SAE, encode
from demur.types import Conversation, FeatureSet, Site

CHUNK = 32
"""Prompts whose streams are held at once; of each prompt one row of latents [d_sae] a site is kept."""
COLUMNS = 4096
"""Latents ranked at once."""


@dataclass(frozen=True, eq=False)
class Contrast:
    """How each latent of each site tells harmful from harmless prompts."""

    difference: Mapping[Site, Float[Tensor, " d_sae"]]
    """Mean latent on harmful less mean on harmless prompts, in the latent's own units."""
    auroc: Mapping[Site, Float[Tensor, " d_sae"]]
    """P(higher on a harmful prompt than on a harmless one), ties half; .5 for a latent that never fires."""
    saes: Mapping[Site, str]
    """Each SAE's sha256."""
    origin: Mapping[str, Any]

    def feature_set(self, k: int = 20, by: str = "difference") -> FeatureSet:
        """The k best latents over all sites: those with a positive difference, or with an AUROC above .5.

        There may be fewer than k. By difference, sites whose SAEs have larger units weigh more. Raises InputError
        for a k that is not there, for another `by`, or when no latent tells the prompts apart.
        """
        if by not in ("difference", "auroc"):
            raise InputError(f"latents are ranked by 'difference' or 'auroc', not {by!r}.")
        scores, above = (self.difference, 0.0) if by == "difference" else (self.auroc, 0.5)
        return best(scores, k, self.saes, {**self.origin, "by": by}, above=above)


def contrast(
    engine: WhiteBoxEngine,
    harmful: Sequence[Conversation],
    harmless: Sequence[Conversation],
    saes: Mapping[Site, SAE],
    positions: str = "last",
) -> Contrast:
    """Compare every latent on harmful and on harmless fitting prompts.

    positions: "last", the last prompt token; "content", the mean over the tokens of the user's own text.
    Raises InputError for no prompts, prompts reserved for another use, or one that is in both lists; BadSpec and
    BadVector for SAEs that do not fit.
    """
    check_saes(saes)
    check_prompts(harmful, "harmful")
    check_prompts(harmless, "harmless")
    if positions not in ("last", "content"):
        raise InputError(f"latents are read at 'last' or 'content' positions, not {positions!r}.")
    shared = {c.prompt.text for c in harmful} & {c.prompt.text for c in harmless}
    if shared:
        raise InputError(f"{len(shared)} prompts are both harmful and harmless, such as {min(shared)!r}; drop them.")
    high, low = (_latents(engine, some, saes, positions) for some in (harmful, harmless))
    origin = origin_of(
        "contrast of single latents (ActDiff, Yeo et al. 2505.23556; MaxAUC, Wu et al. 2501.17148)",
        engine,
        [*harmful, *harmless],
        saes,
        positions=positions,
        harmful=len(harmful),
        harmless=len(harmless),
    )
    difference = {site: high[site].mean(0) - low[site].mean(0) for site in high}
    return Contrast(difference, {site: aurocs(high[site], low[site]) for site in high}, hashes(saes), origin)


def aurocs(high: Float[Tensor, "n latents"], low: Float[Tensor, "m latents"]) -> Float[Tensor, " latents"]:
    """`demur.stats.auroc` of each column, the rows of `high` being the positives (latents are never negative)."""
    found = torch.full((high.shape[1],), 0.5)
    fires = ((high > 0).any(0) | (low > 0).any(0)).nonzero()[:, 0]
    n, m = len(high), len(low)
    for columns in fires.split(COLUMNS):
        ranks = rankdata(np.concatenate([high[:, columns].numpy(), low[:, columns].numpy()]), axis=0)
        found[columns] = torch.from_numpy((ranks[:n].sum(0) - n * (n + 1) / 2) / (n * m)).float()
    return found


def _latents(
    engine: WhiteBoxEngine, conversations: Sequence[Conversation], saes: Mapping[Site, SAE], positions: str
) -> dict[Site, Tensor]:
    """Site -> latents [n, d_sae] of each prompt, streamed: no more than one prompt's tokens are encoded at once."""
    found: dict[Site, list[Tensor]] = {site: [] for site in saes}
    for start in range(0, len(conversations), CHUNK):
        some = conversations[start : start + CHUNK]
        if positions == "last":
            streams = engine.activations(some, list(saes), tail=1)
            masks = [torch.ones(1, dtype=torch.bool)] * len(some)
        else:
            streams, masks = engine.activations(some, list(saes)), engine.content(some)
        for site, sae in saes.items():
            for x, mask in zip(streams.rows(site), masks, strict=True):
                found[site].append(encode(sae, on_sae(sae, x[mask])).mean(0).float().cpu())
    return {site: torch.stack(rows) for site, rows in found.items()}
