"""`ablate`: take a direction out of the stream, x - dose * (x . r) r (Arditi et al. 2406.11717)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch

from demur.errors import BadSpec
from demur.interventions.affine import Project, axis_of, scale
from demur.interventions.at import at
from demur.interventions.base import Context, Resid, Vector, number
from demur.interventions.intervention import Intervention
from demur.types import Direction, Point, Site, SteeringVector


@dataclass(frozen=True, eq=False)
class Ablate(Intervention, op="ablate"):
    """The full ablation, before it meets a model; `bind` says at which sites it acts."""

    axis: Vector
    dose: float

    @cached_property
    def sites(self) -> frozenset[Site]:
        """None at dose 0; BadSpec otherwise, for they are the model's."""
        if self.dose:
            raise self._unbound()
        return frozenset()

    def edit(self, resid: Resid, site: Site, context: Context) -> Resid:
        """Raises BadSpec: only what `bind` gives can be run."""
        raise self._unbound()

    def bind(self, n_layers: int) -> Intervention:
        """The projection at `everywhere(n_layers)`, after the first token.

        A projection of the first token takes a slice of its massive activation, whatever the direction
        (docs/decisions/0006).
        """
        gain = (1.0 - self.dose) - 1.0
        return at(
            "after-first", Project(self.axis, torch.tensor(gain), frozenset(everywhere(n_layers) if gain else ()))
        )

    def _unbound(self) -> BadSpec:
        return BadSpec(
            "ablate(direction) acts at all layers of the model that it meets, and has met none; run it by an engine, "
            "bind(n_layers), or name sites: ablate(direction, [direction.site])."
        )


def ablate(
    direction: Direction | SteeringVector, sites: Sequence[Site] | None = None, dose: float = 1.0
) -> Ablate | Project:
    """Remove the component along the direction, from all tokens but the first, at `everywhere` in the model.

    With `sites`: there only, and from every token. `dose` 1 removes all of it, 0 nothing (an intervention without
    sites), 2 mirrors it. A steering vector of one site counts as its unit direction. Raises BadVector for NaN or zero
    vectors, BadSpec for a vector of several sites.
    """
    if sites is not None:
        return scale(direction, 1.0 - number(dose, "dose"), sites)
    return Ablate(axis_of(direction)[0], number(dose, "dose"))


def everywhere(n_layers: int, points: Sequence[Point] = ("pre", "attn_out", "mlp_out")) -> list[Site]:
    """The sites of a full ablation (Arditi et al.): block inputs, attention and MLP outputs of all layers."""
    return [Site(layer, point) for layer in range(n_layers) for point in points]
