"""Directions as files: safetensors with everything that made them in the header."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from demur.errors import BadFile, BadVector
from demur.runs.writing import atomic
from demur.types import POINTS, Direction, Site

CONVENTION = "layer counts blocks from 0; pre is the input of that block"


def tensor_hash(vector: Tensor) -> str:
    """sha256 of the float32 bytes."""
    return hashlib.sha256(vector.detach().cpu().to(torch.float32).contiguous().numpy().tobytes()).hexdigest()


def _seal(header: Mapping[str, str], vector: Tensor) -> str:
    """sha256 over the header's other fields and the vector: a changed layer is as bad as a changed entry."""
    fields = {name: value for name, value in header.items() if name != "sha256"}
    return hashlib.sha256(f"{json.dumps(fields, sort_keys=True)}\n{tensor_hash(vector)}".encode()).hexdigest()


def save_direction(direction: Direction, path: str | Path) -> Path:
    """Write `path` (safetensors), whole or not at all. The vector must have norm 1. Returns the path.

    Raises BadVector, OutOfRoom when the disk is full, BadFile when the folder cannot be written.
    """
    path = Path(path)
    check_unit(direction.vector, str(path))
    header = {
        "kind": "demur.direction",
        "layer": str(direction.site.layer),
        "point": direction.site.point,
        "layer_convention": CONVENTION,
        "activation_norm": repr(direction.norm),
        "origin": json.dumps(direction.origin, sort_keys=True),
    }
    header["sha256"] = _seal(header, direction.vector)
    with atomic(path) as temporary:
        temporary.write_bytes(save({"vector": direction.vector.float().contiguous()}, header))
    return path


def load_direction(path: str | Path, weights: str | None = None) -> Direction:
    """Read a direction. Raises BadFile when it is missing, damaged, or (given `weights`) of another model.

    weights: the engine fingerprint's weight hash that the direction must have been fitted on.
    """
    try:
        with safe_open(path, framework="pt") as file:
            header: dict[str, Any] = file.metadata() or {}
            if header.get("kind") == "demur.fit":
                raise BadFile(
                    f"{path} is a fit that a run keeps for its own reruns, and finds again by the same --out; "
                    f"`demur direction fit` writes a direction."
                )
            vector = file.get_tensor("vector")
    except FileNotFoundError:
        raise BadFile(f"no direction at {path}; `demur direction fit` writes one.") from None
    except (SafetensorError, OSError) as error:
        raise BadFile(f"{path} is not a readable direction file: {error}; fit it again.") from error
    if header.get("kind") != "demur.direction" or header.get("point") not in POINTS:
        raise BadFile(
            f"{path} is no demur direction (kind {header.get('kind')!r}, point {header.get('point')!r}); "
            f"`demur direction fit` writes one."
        )
    if _seal(header, vector) != header.get("sha256"):
        raise BadFile(f"{path} does not match its sha256: the file is damaged; fit it again.")
    check_unit(vector, str(path))
    try:
        origin = json.loads(header["origin"])
        site, norm = Site(int(header["layer"]), header["point"]), float(header["activation_norm"])
    except (KeyError, ValueError) as error:
        raise BadFile(f"{path} has a header that cannot be read ({error}); fit it again.") from error
    if weights is not None and origin.get("weights") not in (None, weights):
        raise BadFile(
            f"{path} was fitted on a model with weights {origin['weights'][:12]}..., not {weights[:12]}...; "
            f"fit it on this model."
        )
    return Direction(vector, site, norm, origin)


def check_unit(vector: Tensor, what: str) -> None:
    """BadVector unless the vector is one-dimensional, finite and of norm 1."""
    if vector.ndim != 1:
        raise BadVector(f"{what}: a direction is one vector; this has shape {tuple(vector.shape)}. Give a row of it.")
    if bad := int((~torch.isfinite(vector)).sum()):
        raise BadVector(f"{what}: {bad} of {vector.numel()} entries are NaN or infinite; fit the direction again.")
    if abs(float(vector.norm()) - 1) > 1e-3:
        raise BadVector(f"{what}: a direction has norm 1, this has {float(vector.norm()):.4g}; normalise it.")
