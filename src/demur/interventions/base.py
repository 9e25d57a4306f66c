"""What interventions share: the stream's context, and the checks that every number and vector passes at the edge."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Annotated, Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from demur.errors import BadSpec, BadVector
from demur.types import POINTS, Site

Resid = Float[Tensor, "batch seq d_model"]

Vector = Annotated[Tensor, "vector"]
"""A field's type: float32 [d_model], finite and not all zero; [batch, 1, d_model] when stacked."""
Scalar = Annotated[Tensor, "scalar"]
"""A field's type: float32 [], finite; [batch, 1, 1] when stacked."""

_LARGEST = torch.finfo(torch.float32).max


@dataclass(frozen=True)
class Context:
    """Where in each sequence the stream's columns stand."""

    positions: Int[Tensor, "batch seq"]
    """Absolute token positions of the sequence, from 0; never indices into this forward pass."""
    prompt_lengths: Int[Tensor, "batch 1"]
    """Tokens of the templated prompt. A prefilled answer is not part of it: it counts as generated."""
    generated_only: bool = False
    """True when every position is known to be a generated one (a decoding step), past every intervention's `until`.

    Edits are then compiled once for many steps: `positions` are those of the first of them.
    """

    def rows(self, index: Tensor) -> Context:
        """The context of some rows of the batch."""
        return Context(self.positions[index], self.prompt_lengths[index], self.generated_only)


def checked(vector: Tensor, what: str) -> Tensor:
    """A float32 copy of a 1-d vector; BadVector when it has NaN, infinity or nothing but zeros.

    One entry is refused too: it would fit every width.
    """
    if vector.ndim != 1 or vector.numel() < 2:
        raise BadVector(
            f"{what}: a vector has one dimension and the model's width, this has shape {tuple(vector.shape)}."
        )
    vector = finite(vector, what)
    if not bool(vector.any()):
        raise BadVector(f"{what}: every entry is zero, so there is no direction; fit the vector again.")
    return vector


def finite(tensor: Tensor, what: str) -> Tensor:
    """A float32 copy; BadVector when it has NaN or infinity."""
    tensor = tensor.detach().to(torch.float32).clone()
    if bad := int((~torch.isfinite(tensor)).sum()):
        raise BadVector(f"{what}: {bad} of {tensor.numel()} entries are NaN or infinite; fit the vector again.")
    return tensor


def unit(vector: Float[Tensor, " d_model"]) -> Float[Tensor, " d_model"]:
    """The vector over its norm, also where the squares of its entries leave float32's range."""
    vector = vector / vector.abs().max()
    return vector / vector.norm()


def number(value: Any, what: str) -> float:
    """A float; BadSpec, naming `what`, for anything that is no finite number in float32's range."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not abs(value) <= _LARGEST:
        raise BadSpec(f"{what} {str(value)[:40]} is not a finite number in float32's range.")
    return float(value)


def parse_site(text: Any) -> Site:
    """`18.pre` -> Site(18, "pre"); BadSpec otherwise."""
    layer, _, point = str(text).partition(".")
    if not re.fullmatch("[0-9]{1,6}", layer) or point not in POINTS:
        raise BadSpec(f"{text!r} is not a site; write LAYER.POINT, as 18.pre (pre, mid, post, attn_out, mlp_out).")
    return Site(int(layer), point)
