"""What an intervention is: a pure function on the residual stream, with a spec that can be written down."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int
from torch import Tensor

from demur.errors import BadVector
from demur.types import Site

Resid = Float[Tensor, "batch seq d_model"]


@dataclass(frozen=True)
class Context:
    """Where in each sequence the stream's columns stand."""

    positions: Int[Tensor, "batch seq"]
    """Absolute token positions of the sequence, from 0; never indices into this forward pass."""
    prompt_lengths: Int[Tensor, "batch 1"]
    """Tokens of the templated prompt. A prefilled answer is not part of it: it counts as generated."""
    generated_only: bool = False
    """True when every position is known to be a generated one (a decoding step) that no patch reaches.

    Edits are then compiled once for many steps: `positions` are those of the first of them.
    """

    def rows(self, index: Tensor) -> Context:
        """The context of some rows of the batch."""
        return Context(self.positions[index], self.prompt_lengths[index], self.generated_only)


@runtime_checkable
class Intervention(Protocol):
    """A pure function on the residual stream at one or several sites.

    Frozen and comparable by spec. `edit` returns a new tensor and leaves its input untouched.
    Parameters are tensors [d_model] for one row or [batch, 1, d_model] when stacked.
    """

    @property
    def sites(self) -> frozenset[Site]:
        """The sites it acts at; empty for one that does nothing."""
        ...

    def edit(self, resid: Resid, site: Site, context: Context) -> Resid:
        """The stream after the intervention."""
        ...

    @property
    def reach(self) -> str:
        """The earliest positions it may act on: "all", "last" (the last prompt token) or "generated"."""
        ...

    def shape(self) -> tuple[Any, ...]:
        """Interventions of equal shape differ in tensors only, and can be stacked."""
        ...

    def stack(self, others: Sequence[Any]) -> Intervention:
        """One intervention for a batch: row i gets others[i]. All have this one's shape."""
        ...

    def to(self, like: Tensor) -> Intervention:
        """The same with its tensors in the dtype and on the device of `like`."""
        ...

    def spec(self) -> dict[str, Any]:
        """JSON-ready; `demur.interventions.from_spec` gives the intervention back."""
        ...


def checked(vector: Tensor, what: str) -> Tensor:
    """A float32 copy of a 1-d vector; BadVector when it has NaN, infinity or nothing but zeros.

    One entry is refused too: it would fit every width.
    """
    if vector.ndim != 1 or vector.numel() < 2:
        raise BadVector(
            f"{what}: a vector has one dimension and the model's width, this has shape {tuple(vector.shape)}."
        )
    vector = vector.detach().to(torch.float32).clone()
    bad = int((~torch.isfinite(vector)).sum())
    if bad:
        raise BadVector(f"{what}: {bad} of {vector.numel()} entries are NaN or infinite; fit the vector again.")
    if not bool(vector.any()):
        raise BadVector(f"{what}: every entry is zero, so there is no direction; fit the vector again.")
    return vector


def unit(vector: Float[Tensor, " d_model"]) -> Float[Tensor, " d_model"]:
    """The vector over its norm, also where the squares of its entries leave float32's range."""
    vector = vector / vector.abs().max()
    return vector / vector.norm()
