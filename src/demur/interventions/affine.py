"""`add` and `scale`, which are affine in the stream; `ablate`, the third of them, has a file of its own.

add:   x + dose * v                     (activation addition; CAA, Rimsky et al. 2312.06681)
scale: x + (factor - 1) * (x . r) r     (the component along r multiplied by factor)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from demur.directions.vectors import no_vector
from demur.errors import BadSpec
from demur.interventions.base import Context, Resid, Scalar, Vector, checked, number, unit
from demur.interventions.feature_sets import along
from demur.interventions.intervention import Intervention
from demur.types import Direction, FeatureSet, Site, SteeringVector


@dataclass(frozen=True, eq=False)
class Add(Intervention, op="add", counts_back=False):
    """Adds a vector at each site, the dose multiplied in."""

    deltas: Mapping[Site, Vector]

    def edit(self, resid: Resid, site: Site, context: Context) -> Resid:
        """x + delta."""
        return resid + self.deltas[site]


@dataclass(frozen=True, eq=False)
class Project(Intervention, op="project", counts_back=False):
    """Multiplies the component along a unit direction: x + gain * (x . r) r at each site."""

    axis: Vector
    gain: Scalar
    """-1 removes the component."""
    sites_: frozenset[Site]

    def edit(self, resid: Resid, site: Site, context: Context) -> Resid:
        """x + gain (x . r) r."""
        return resid + (resid * self.axis).sum(-1, keepdim=True) * self.gain * self.axis


def add(vector: Direction | SteeringVector | FeatureSet, dose: float, relative: bool = False) -> Add:
    """Add `dose` times the vector at its site or sites.

    A feature set is added as one unit vector a site: along the sum of its latents' unit decoder rows there, from the
    SAEs in its origin. With `relative`, a dose of 1 adds a vector as long as the median activation at the site
    (protocol: Steering semantics): dose * norm * v / |v|. A dose of 0 gives an intervention without sites. Raises
    InputError for what is none of them, BadVector for NaN or zero vectors, BadSpec for a relative dose without a norm,
    BadFile for SAEs that are not where the set says.
    """
    dose = number(dose, "dose")
    if isinstance(vector, Direction):
        vector = SteeringVector({vector.site: vector.vector}, {vector.site: vector.norm})
    elif isinstance(vector, FeatureSet):
        vector = along(vector)
    elif not isinstance(vector, SteeringVector):
        raise no_vector(vector)
    deltas: dict[Site, Tensor] = {}
    for site, value in vector.vectors.items():
        value = checked(value, f"vector at {site}")
        if relative:
            if site not in vector.norms:
                raise BadSpec(
                    f"a relative dose needs the activation norm at {site}, which this vector lacks; give a dose "
                    "without r (relative=False), or a vector that demur fitted, which says the norms."
                )
            value = unit(value) * number(vector.norms[site], f"the activation norm at {site}")
        deltas[site] = dose * value
        if dose and not (torch.isfinite(deltas[site]).all() and deltas[site].any()):
            raise BadSpec(f"{dose} times the vector at {site} leaves float32's range; choose another dose.")
    return Add(deltas if dose else {})


def scale(direction: Direction | SteeringVector, factor: float, sites: Sequence[Site] | None = None) -> Project:
    """Multiply the component along the direction by `factor` at `sites` (default: the direction's own).

    A steering vector of one site counts as its unit direction. Raises BadSpec for one of several sites.
    """
    axis, site = axis_of(direction)
    where = frozenset([site] if sites is None else sites)
    gain = number(factor, "factor") - 1.0
    return Project(axis, torch.tensor(gain), where if gain else frozenset())


NO_DIRECTION = (
    "a feature set is latents, not one direction to ablate or scale; use suppress:FEATURES.json (multiply_features in "
    "Python), or clamp."
)


def axis_of(direction: Direction | SteeringVector) -> tuple[Tensor, Site]:
    """The unit vector [d_model] and its site. BadVector for a bad one, InputError for what has no one direction."""
    if isinstance(direction, FeatureSet):
        raise BadSpec(NO_DIRECTION)
    if isinstance(direction, SteeringVector):
        if len(direction.vectors) != 1:
            raise BadSpec(
                f"this vector has {len(direction.vectors)} sites ({', '.join(map(str, sorted(direction.vectors)))}), "
                "and one direction is ablated or scaled; add it, or give a vector of one site, or a direction."
            )
        ((site, value),) = direction.vectors.items()
    elif isinstance(direction, Direction):
        site, value = direction.site, direction.vector
    else:
        raise no_vector(direction)
    return unit(checked(value, f"direction at {site}")), site
