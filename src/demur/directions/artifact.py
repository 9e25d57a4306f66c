"""Directions and steering vectors as sealed files: a tensor a site, with everything that made them.

A vector of one site loads as a direction, and a direction as a vector, so either goes where the other is asked for.
"""

from __future__ import annotations

import hashlib
import math
from pathlib import Path

import torch
from torch import Tensor

from demur.directions.sealed import Sealed, read_sealed, write_sealed
from demur.directions.vectors import as_vector, steering_vector
from demur.errors import BadFile, BadVector
from demur.types import Direction, Site, SteeringVector
from demur.version import VERSION

KINDS = ("demur.direction", "demur.vector")
CONVENTION = "layer counts blocks from 0; pre is the input of that block"


def tensor_hash(vector: Tensor) -> str:
    """sha256 of the float32 bytes."""
    return hashlib.sha256(vector.detach().cpu().to(torch.float32).contiguous().numpy().tobytes()).hexdigest()


def save_direction(direction: Direction, path: str | Path) -> Path:
    """Write `path`, whole or not at all; returns it. The vector must have norm 1.

    Raises BadVector, BadSpec for an origin that is no JSON, OutOfRoom when the disk is full, BadFile when the folder
    cannot be written.
    """
    check_unit(direction.vector, str(path))
    return write_sealed(path, packed(direction))


def save_vector(vector: SteeringVector, path: str | Path) -> Path:
    """Write `path`, whole or not at all; returns it. Raises as `save_direction`."""
    steering_vector(vector.vectors, vector.origin, vector.norms, str(path))
    return write_sealed(path, packed(vector))


def load_artifact(path: str | Path, weights: str | None = None, what: str = "direction") -> Direction | SteeringVector:
    """A direction or a steering vector, whichever the file holds. what: what is wanted, for errors.

    weights: the engine fingerprint's weight hash that it must have been fitted on. Raises BadFile when it is missing,
    damaged, of another kind, or (given `weights`) of another model; BadVector when a direction is no unit vector.
    """
    return unpacked(read_sealed(path, what, KINDS, weights), str(path))


def load_sealed_vector(path: str | Path, weights: str | None = None) -> SteeringVector:
    """A vector's file, or a direction's as the unit vector at its site. Raises as `load_artifact`."""
    found = load_artifact(path, weights, "vector")
    return as_vector(found) if isinstance(found, Direction) else found


def packed(value: Direction | SteeringVector) -> Sealed:
    """What a file of it holds: origin["version"] is added, and a norm that is NaN left out."""
    kind, vector = KINDS[isinstance(value, SteeringVector)], value
    if isinstance(vector, Direction):
        vector = SteeringVector({vector.site: vector.vector}, {vector.site: vector.norm}, vector.origin)
    facts = {
        "layer_convention": CONVENTION,
        "norms": {str(site): norm for site, norm in vector.norms.items() if not math.isnan(norm)},
        "origin": {"version": VERSION, **vector.origin},
    }
    return Sealed(kind, facts, {str(site): tensor for site, tensor in vector.vectors.items()})


def unpacked(content: Sealed, what: str) -> Direction | SteeringVector:
    """What was packed. Raises BadFile, naming `what`, for facts of something else, and BadVector."""
    try:
        vectors = {Site.parse(name): tensor for name, tensor in content.tensors.items()}
        norms = {Site.parse(name): float(norm) for name, norm in content.facts["norms"].items()}
        origin = dict(content.facts["origin"])
        if content.kind == "demur.direction":
            ((site, vector),) = vectors.items()
            check_unit(vector, what)
            return Direction(vector, site, norms.get(site, math.nan), origin)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise BadFile(f"{what} has a header that cannot be read ({error}); fit it again.") from error
    return steering_vector(vectors, origin, norms, what)


def check_unit(vector: Tensor, what: str) -> None:
    """BadVector unless the vector is one-dimensional, finite and of norm 1."""
    if vector.ndim != 1:
        raise BadVector(f"{what}: a direction is one vector; this has shape {tuple(vector.shape)}. Give a row of it.")
    if bad := int((~torch.isfinite(vector)).sum()):
        raise BadVector(f"{what}: {bad} of {vector.numel()} entries are NaN or infinite; fit the direction again.")
    if abs(float(vector.norm()) - 1) > 1e-3:
        raise BadVector(f"{what}: a direction has norm 1, this has {float(vector.norm()):.4g}; normalise it.")
