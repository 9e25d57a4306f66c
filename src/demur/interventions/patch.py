"""`patch`: vectors of their own at each of the first positions of a sequence (activation patching)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from demur.errors import BadVector
from demur.interventions.base import Context, Resid
from demur.interventions.intervention import Intervention
from demur.types import Site


@dataclass(frozen=True, eq=False)
class Patch(Intervention, op="patch", counts_back=False):
    """Adds deltas[site][p] at absolute position p, nothing from the last of them on."""

    deltas: Mapping[Site, Tensor]
    """Site -> float32 [tokens, d_model], or [batch, tokens, d_model] when stacked."""

    @cached_property
    def until(self) -> int:
        """Positions it acts on, over all sites: those below this number."""
        return max((delta.shape[-2] for delta in self.deltas.values()), default=0)

    def edit(self, resid: Resid, site: Site, context: Context) -> Resid:
        """x + delta of the position. Added in float32 or wider: patches are differences of streams, often small."""
        deltas = self.deltas[site]
        positions = context.positions
        index = positions.clamp(max=deltas.shape[-2] - 1)
        if deltas.ndim == 2:
            here = deltas[index]
        else:
            here = deltas.gather(1, index[..., None].expand(-1, -1, deltas.shape[-1]))
        here = here * (positions < deltas.shape[-2])[..., None]
        return (resid + here).to(resid.dtype)

    def shape(self) -> tuple[Any, ...]:
        """The sites: patches of different lengths can be stacked."""
        return ("patch", *sorted(self.deltas))

    def stack(self, others: Sequence[Any]) -> Patch:
        """Row i adds others[i]'s vectors."""
        return self._made(others, _padded)

    def to(self, like: Tensor) -> Patch:
        """On the device of `like`, in float32 or wider."""
        return self._made([self], lambda one: one[0].to(like.device, torch.promote_types(like.dtype, one[0].dtype)))

    @classmethod
    def read(cls, record: Mapping[str, Any]) -> Patch:
        """`Patch` from its spec."""
        return patch(super().read(record).deltas)


def _padded(deltas: list[Tensor]) -> Tensor:
    rows = deltas[0].new_zeros(len(deltas), max(len(delta) for delta in deltas), deltas[0].shape[-1])
    for row, delta in zip(rows, deltas, strict=True):
        row[: len(delta)] = delta
    return rows


def patch(deltas: Mapping[Site, Tensor]) -> Patch:
    """Add deltas[site][p] to the stream at position p, counted from the sequence's first token, for p < tokens.

    deltas: site -> [tokens, d_model].
    Patching in another run's activations is adding the difference. Sites may have different numbers of tokens; one
    whose deltas are all zero (or none) is left out. Raises BadVector for NaN, infinity, or another number of
    dimensions than two.
    """
    checked = {site: _checked(delta, site) for site, delta in deltas.items()}
    return Patch({site: delta for site, delta in checked.items() if bool(delta.any())})


def _checked(delta: Tensor, site: Site) -> Tensor:
    if delta.ndim != 2 or delta.shape[1] < 2:
        raise BadVector(f"the patch at {site} has shape {tuple(delta.shape)}; give [tokens, d_model], a row a token.")
    delta = delta.detach().to(torch.float32).clone()
    if bad := int((~torch.isfinite(delta)).sum()):
        raise BadVector(f"the patch at {site}: {bad} of {delta.numel()} entries are NaN or infinite; make it again.")
    return delta
