"""`add`, `ablate` and `scale`: the three interventions that are affine in the stream.

add:    x + dose * v                     (activation addition; CAA, Rimsky et al. 2312.06681)
ablate: x - dose * (x . r) r             (directional ablation; Arditi et al. 2406.11717)
scale:  x + (factor - 1) * (x . r) r     (the component along r multiplied by factor)
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from demur.errors import BadSpec
from demur.interventions.base import Context, Resid, checked, unit
from demur.interventions.tensors import pack, unpack
from demur.types import POINTS, Direction, Site, SteeringVector


@dataclass(frozen=True, eq=False)
class Add:
    """Adds a vector at each site."""

    deltas: Mapping[Site, Tensor]
    reach = "all"

    @property
    def sites(self) -> frozenset[Site]:
        """Where it adds."""
        return frozenset(self.deltas)

    def edit(self, resid: Resid, site: Site, context: Context) -> Resid:
        """x + delta."""
        return resid + self.deltas[site]

    def shape(self) -> tuple[Any, ...]:
        """The sites."""
        return ("add", *sorted(self.deltas))

    def stack(self, others: Sequence[Any]) -> Add:
        """Row i adds others[i]'s vector."""
        return type(self)({site: _rows([other.deltas[site] for other in others]) for site in self.deltas})

    def to(self, like: Tensor) -> Add:
        """In the stream's dtype."""
        return type(self)({site: delta.to(like) for site, delta in self.deltas.items()})

    def spec(self) -> dict[str, Any]:
        """Deltas by site, the dose multiplied in."""
        return {"op": "add", "deltas": {str(site): pack(self.deltas[site]) for site in sorted(self.deltas)}}


@dataclass(frozen=True, eq=False)
class Project:
    """Multiplies the component along a unit direction: x + gain * (x . r) r at each site."""

    axis: Tensor
    gain: Tensor
    """Scalar tensor [] or stacked [batch, 1, 1]; -1 removes the component."""
    at_sites: frozenset[Site]
    reach = "all"

    @property
    def sites(self) -> frozenset[Site]:
        """Where it projects."""
        return self.at_sites

    def edit(self, resid: Resid, site: Site, context: Context) -> Resid:
        """x + gain (x . r) r."""
        return resid + (resid * self.axis).sum(-1, keepdim=True) * self.gain * self.axis

    def shape(self) -> tuple[Any, ...]:
        """The sites."""
        return ("project", *sorted(self.at_sites))

    def stack(self, others: Sequence[Any]) -> Project:
        """Row i has others[i]'s axis and gain."""
        gains = torch.stack([other.gain for other in others])[:, None, None]
        return type(self)(_rows([other.axis for other in others]), gains, self.at_sites)

    def to(self, like: Tensor) -> Project:
        """In the stream's dtype."""
        return type(self)(self.axis.to(like), self.gain.to(like), self.at_sites)

    def spec(self) -> dict[str, Any]:
        """Axis, gain and sites."""
        sites = [str(site) for site in sorted(self.at_sites)]
        return {"op": "project", "axis": pack(self.axis), "gain": float(self.gain), "sites": sites}


_LARGEST = torch.finfo(torch.float32).max


def _rows(vectors: list[Tensor]) -> Tensor:
    return torch.stack(vectors)[:, None, :]


def add(vector: Direction | SteeringVector, dose: float, relative: bool = False) -> Add:
    """Add `dose` times the vector at its site or sites.

    With `relative`, a dose of 1 adds a vector as long as the median activation at the site (protocol:
    Steering semantics): dose * norm * v / |v|. A dose of 0 gives an intervention without sites.
    Raises BadVector for NaN or zero vectors, BadSpec for a relative dose without a norm.
    """
    dose = number(dose, "dose")
    if isinstance(vector, Direction):
        vectors, norms = {vector.site: vector.vector}, {vector.site: vector.norm}
    else:
        vectors, norms = dict(vector.vectors), dict(vector.norms)
    deltas: dict[Site, Tensor] = {}
    for site, value in vectors.items():
        value = checked(value, f"vector at {site}")
        if relative:
            if site not in norms:
                raise BadSpec(f"a relative dose needs the activation norm at {site}, which this vector lacks.")
            value = unit(value) * number(norms[site], f"the activation norm at {site}")
        deltas[site] = dose * value
        if dose and not (torch.isfinite(deltas[site]).all() and deltas[site].any()):
            raise BadSpec(f"{dose} times the vector at {site} leaves float32's range; choose another dose.")
    return Add(deltas if dose else {})


def ablate(direction: Direction, sites: Sequence[Site] | None = None, dose: float = 1.0) -> Project:
    """Remove the component along the direction at `sites` (default: the direction's own).

    `dose` 1 removes all of it, 0 nothing (an intervention without sites), 2 mirrors it.
    """
    return scale(direction, 1.0 - number(dose, "dose"), sites)


def scale(direction: Direction, factor: float, sites: Sequence[Site] | None = None) -> Project:
    """Multiply the component along the direction by `factor` at `sites` (default: the direction's own)."""
    axis = checked(direction.vector, f"direction at {direction.site}")
    where = frozenset([direction.site] if sites is None else sites)
    gain = number(factor, "factor") - 1.0
    return Project(unit(axis), torch.tensor(gain), where if gain else frozenset())


def everywhere(n_layers: int, points: Sequence[str] = ("pre", "attn_out", "mlp_out")) -> list[Site]:
    """The sites of a full ablation (Arditi et al.): block inputs, attention and MLP outputs of all layers."""
    return [Site(layer, point) for layer in range(n_layers) for point in points]  # pyright: ignore[reportArgumentType]


def parse_site(text: Any) -> Site:
    """`18.pre` -> Site(18, "pre"); BadSpec otherwise."""
    layer, _, point = str(text).partition(".")
    if not re.fullmatch("[0-9]{1,6}", layer) or point not in POINTS:
        raise BadSpec(f"{text!r} is not a site; write LAYER.POINT, as 18.pre (pre, mid, post, attn_out, mlp_out).")
    return Site(int(layer), point)


def number(value: Any, what: str) -> float:
    """A float; BadSpec, naming `what`, for anything that is no finite number in float32's range."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not abs(value) <= _LARGEST:
        raise BadSpec(f"{what} {str(value)[:40]} is not a finite number in float32's range.")
    return float(value)


def read_add(record: dict[str, Any]) -> Add:
    """`Add` from its spec."""
    deltas = record.get("deltas")
    if not isinstance(deltas, dict):
        raise BadSpec("an add spec needs deltas: {site: tensor}.")
    return Add({parse_site(key): checked(unpack(value), f"vector at {key}") for key, value in deltas.items()})


def read_project(record: dict[str, Any]) -> Project:
    """`Project` from its spec."""
    for name in ("axis", "gain", "sites"):
        if name not in record:
            raise BadSpec(f"a project spec needs {name}.")
    axis = checked(unpack(record["axis"]), "axis")
    if not isinstance(record["sites"], list):
        raise BadSpec("a project spec needs sites: [LAYER.POINT, ...].")
    sites = frozenset(parse_site(text) for text in record["sites"])
    return Project(axis, torch.tensor(number(record["gain"], "gain")), sites)
