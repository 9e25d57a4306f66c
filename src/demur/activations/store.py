"""Residual-stream activations with their mask."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from demur.types import Site


@dataclass(frozen=True)
class Activations:
    """The stream at some sites for n sequences, padded on the right."""

    tensors: Mapping[Site, Float[Tensor, "n seq d_model"]]
    """The stream, float32; padding is zero."""
    mask: Bool[Tensor, "n seq"]
    """True where a token stands."""

    def last(self, site: Site, back: int = 1) -> Float[Tensor, "n d_model"]:
        """The stream at the `back`-th last token of each sequence: [n, d_model]."""
        lengths = self.mask.sum(1)
        if int(lengths.min()) < back:
            raise ValueError(f"a sequence has fewer than {back} tokens")
        return self.tensors[site][torch.arange(len(lengths)), lengths - back]

    def rows(self, site: Site) -> list[Float[Tensor, "_ d_model"]]:
        """The stream of each sequence without its padding, [tokens, d_model]."""
        return [x[here] for x, here in zip(self.tensors[site], self.mask, strict=True)]

    def median_norm(self, site: Site, skip: int = 1) -> float:
        """Median Euclidean norm over tokens, the first `skip` of each sequence left out (protocol)."""
        keep = self.mask.clone()
        keep[:, :skip] = False
        return float(self.tensors[site][keep].norm(dim=-1).median())


def joined(parts: list[Activations]) -> Activations:
    """Batches one after the other, padded to the longest."""
    width = max(part.mask.shape[1] for part in parts)

    def pad(x: Tensor) -> Tensor:
        return torch.cat([x, x.new_zeros(x.shape[0], width - x.shape[1], *x.shape[2:])], 1)

    sites = parts[0].tensors
    return Activations(
        {site: torch.cat([pad(part.tensors[site]) for part in parts]) for site in sites},
        torch.cat([pad(part.mask) for part in parts]),
    )
