"""`at`: let an intervention act on some token positions only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from demur.errors import BadSpec
from demur.interventions.affine import ablate, everywhere
from demur.interventions.base import Context, Intervention, Resid
from demur.types import Direction, Site

WHERE = ("all", "prompt", "generated", "from-last", "last", "after-first")


@dataclass(frozen=True, eq=False)
class At:
    """`inner`, at the positions that `where` names.

    all; prompt: the templated prompt; generated: everything after it, a prefilled answer included;
    from-last: the last prompt token and all that follows; last: the prompt's last `k` tokens; after-first: all but
    the first token, whose activations are massive in many models (Sun et al. 2402.17762).
    """

    inner: Intervention
    where: str
    k: int = 1

    @property
    def sites(self) -> frozenset[Site]:
        """The inner intervention's."""
        return self.inner.sites

    @property
    def reach(self) -> str:
        """The earliest position it acts on."""
        if self.where == "generated" or self.inner.reach == "generated":
            return "generated"
        from_last = self.where == "from-last" or (self.where == "last" and self.k == 1)
        return "last" if from_last or self.inner.reach == "last" else "all"

    def edit(self, resid: Resid, site: Site, context: Context) -> Resid:
        """The inner edit where it applies, the stream as it was elsewhere."""
        if context.generated_only:
            if self.where in ("prompt", "last"):
                return resid
            return self.inner.edit(resid, site, context)
        if self.where == "all":
            return self.inner.edit(resid, site, context)
        here = self._mask(context)[..., None]
        return torch.where(here, self.inner.edit(resid, site, context), resid)

    def _mask(self, context: Context) -> Tensor:
        start = context.prompt_lengths
        positions = context.positions
        if self.where == "after-first":
            return positions > 0
        if self.where == "prompt":
            return positions < start
        if self.where == "generated":
            return positions >= start
        if self.where == "from-last":
            return positions >= start - 1
        return (positions < start) & (positions >= start - self.k)

    def shape(self) -> tuple[Any, ...]:
        """Where, and the inner shape."""
        return ("at", self.where, self.k, self.inner.shape())

    def stack(self, others: Sequence[Any]) -> At:
        """Stacks the inner interventions."""
        return type(self)(self.inner.stack([other.inner for other in others]), self.where, self.k)

    def to(self, like: Tensor) -> At:
        """Converts the inner intervention."""
        return type(self)(self.inner.to(like), self.where, self.k)

    def spec(self) -> dict[str, Any]:
        """Where, and the inner spec."""
        return {"op": "at", "where": self.where, "k": self.k, "inner": self.inner.spec()}


def at(where: str, inner: Intervention, k: int = 1) -> At:
    """`inner` at some positions; `last` is the prompt's last `k` tokens, the other names are explained at `At`."""
    if where not in WHERE:
        raise BadSpec(f"no positions named {where!r}; known: {', '.join(WHERE)}.")
    if not isinstance(k, int) or isinstance(k, bool) or k < 1:
        raise BadSpec(f"k counts tokens and is at least 1, not {k!r}.")
    return At(inner, where, k if where == "last" else 1)


def ablate_everywhere(direction: Direction, n_layers: int, dose: float = 1.0) -> Intervention:
    """The full ablation (Arditi et al. 2406.11717) at block inputs, attention and MLP outputs of all layers.

    It leaves the first token alone: a projection there takes a slice of its massive activation, whatever the
    direction (docs/decisions/0006).
    """
    return at("after-first", ablate(direction, everywhere(n_layers), dose))
