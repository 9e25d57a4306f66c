"""`chain`: several interventions one after the other at each site."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from demur.interventions.base import Context, Resid
from demur.interventions.intervention import Intervention
from demur.types import Site


@dataclass(frozen=True, eq=False)
class Chain(Intervention, op="chain"):
    """Applies its parts in order; an empty chain does nothing."""

    parts: tuple[Intervention, ...]

    @cached_property
    def reach(self) -> str:
        """The earliest of the parts that do anything."""
        return super().reach if self.sites else "generated"

    def edit(self, resid: Resid, site: Site, context: Context) -> Resid:
        """Each part that has the site, in order."""
        for part in self.parts:
            if site in part.sites:
                resid = part.edit(resid, site, context)
        return resid


def chain(*parts: Intervention) -> Chain:
    """The parts one after the other."""
    return Chain(tuple(parts))
