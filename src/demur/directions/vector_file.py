"""Steering vectors as files: safetensors, one tensor a site, with everything that made them in the header."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from demur.directions.artifact import CONVENTION, tensor_hash
from demur.directions.vectors import steering_vector
from demur.errors import BadFile
from demur.runs.writing import atomic
from demur.types import POINTS, Site, SteeringVector

KIND = "demur.vector"


def save_vector(vector: SteeringVector, path: str | Path) -> Path:
    """Write `path`, whole or not at all; returns it. BadVector, OutOfRoom, BadFile as `save_direction`."""
    path = Path(path)
    checked = steering_vector(vector.vectors, vector.origin, vector.norms, str(path))
    tensors = {str(site): value for site, value in checked.vectors.items()}
    header = {
        "kind": KIND,
        "layer_convention": CONVENTION,
        "activation_norms": json.dumps({str(site): norm for site, norm in vector.norms.items()}, sort_keys=True),
        "origin": json.dumps(vector.origin, sort_keys=True),
    }
    header["sha256"] = _seal(header, tensors)
    with atomic(path) as temporary:
        temporary.write_bytes(save(tensors, header))
    return path


def load_vector(path: str | Path, weights: str | None = None) -> SteeringVector:
    """Read a vector. BadFile when it is missing, damaged, or (given `weights`) of another model.

    weights: the engine fingerprint's weight hash that the vector must have been fitted on.
    """
    try:
        with safe_open(path, framework="pt") as file:
            header: dict[str, Any] = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except FileNotFoundError:
        raise BadFile(f"no vector at {path}; `demur vector fit` writes one.") from None
    except (SafetensorError, OSError) as error:
        raise BadFile(f"{path} is not a readable safetensors file: {error}; fit the vector again.") from error
    if header.get("kind") != KIND:
        raise BadFile(
            f"{path} is no demur vector (kind {header.get('kind')!r}); `demur vector fit` writes one, and "
            "`demur vector convert` makes one of a plain .pt."
        )
    if _seal(header, tensors) != header.get("sha256"):
        raise BadFile(f"{path} does not match its sha256: the file is damaged; fit the vector again.")
    try:
        origin = json.loads(header["origin"])
        norms = {_site(name): float(norm) for name, norm in json.loads(header["activation_norms"]).items()}
        vectors = {_site(name): value for name, value in tensors.items()}
    except (KeyError, ValueError) as error:
        raise BadFile(f"{path} has a header that cannot be read ({error}); fit the vector again.") from error
    if weights is not None and origin.get("weights") not in (None, weights):
        raise BadFile(
            f"{path} was fitted on a model with weights {origin['weights'][:12]}..., not {weights[:12]}...; fit it on "
            "this model."
        )
    return steering_vector(vectors, origin, norms, str(path))


def _seal(header: Mapping[str, str], tensors: Mapping[str, Tensor]) -> str:
    """sha256 over the header's other fields and every tensor."""
    fields = {name: value for name, value in header.items() if name != "sha256"}
    parts = [json.dumps(fields, sort_keys=True), *(f"{name} {tensor_hash(tensors[name])}" for name in sorted(tensors))]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def _site(name: str) -> Site:
    layer, _, point = name.partition(".")
    if point not in POINTS:
        raise ValueError(f"{name!r} is no site")
    return Site(int(layer), point)
