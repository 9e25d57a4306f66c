"""How a steering vector lies to the refusal direction, and to an orthonormal basis, at each of its sites."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from demur.errors import InputError
from demur.types import Direction, Site, SteeringVector


def cosines(vector: SteeringVector, direction: Direction) -> dict[str, float]:
    """The signed cosine at each of the vector's sites."""
    return {str(site): _cosine(value, direction.vector, site) for site, value in vector.vectors.items()}


def basis_cosines(vector: SteeringVector, basis: Sequence[SteeringVector]) -> dict[str, list[float]]:
    """At each of the vector's sites its signed cosines with orthonormal directions of that site. Raises InputError for
    a site where there are none, or another width."""
    for site in vector.vectors:
        if any(site not in one.vectors for one in basis):
            raise InputError(f"no direction stands at {site}, where the vector does; give one for each of its sites.")
    return {str(site): [_cosine(value, one.vectors[site], site) for one in basis]
            for site, value in vector.vectors.items()}  # fmt: skip


def _cosine(value: Tensor, direction: Tensor, site: Site) -> float:
    if value.shape != direction.shape:
        widths = f"{len(value)} and {len(direction)}"
        raise InputError(f"the vector at {site} and the direction have widths {widths}; give both of one model.")
    return float(value @ direction / (value.norm() * direction.norm()))
