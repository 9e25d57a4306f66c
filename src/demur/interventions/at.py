"""`at`: let an intervention act on some token positions only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from demur.errors import BadSpec
from demur.interventions.base import Context, Resid
from demur.interventions.intervention import Intervention
from demur.types import Site

WHERE = ("all", "prompt", "generated", "from-last", "last", "after-first")


@dataclass(frozen=True, eq=False)
class At(Intervention, op="at"):
    """`inner`, at the positions that `where` names.

    all; prompt: the templated prompt; generated: everything after it, a prefilled answer included;
    from-last: the last prompt token and all that follows; last: the prompt's last `k` tokens; after-first: all but
    the first token, whose activations are massive in many models (Sun et al. 2402.17762).
    """

    where: str
    k: int
    inner: Intervention

    @cached_property
    def reach(self) -> str:
        """The earliest position it acts on."""
        if self.where == "generated" or self.inner.reach == "generated":
            return "generated"
        from_last = self.where == "from-last" or (self.where == "last" and self.k == 1)
        return "last" if from_last or self.inner.reach == "last" else "all"

    @cached_property
    def counts_back(self) -> bool:
        """So does the place of the last tokens."""
        return self.where == "last" or self.inner.counts_back

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

    @classmethod
    def read(cls, record: Mapping[str, Any]) -> At:
        """`At` from its spec, in which k may be left out."""
        made = super().read({"k": 1, **record})
        return at(made.where, made.inner, made.k)


def at(where: str, inner: Intervention, k: int = 1) -> At:
    """`inner` at some positions; `last` is the prompt's last `k` tokens, the other names are explained at `At`."""
    if where not in WHERE:
        raise BadSpec(f"no positions named {where!r}; known: {', '.join(WHERE)}.")
    if not isinstance(k, int) or isinstance(k, bool) or k < 1:
        raise BadSpec(f"k counts tokens and is at least 1, not {k!r}.")
    return At(where, k if where == "last" else 1, inner)
