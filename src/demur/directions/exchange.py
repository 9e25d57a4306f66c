"""Steering vectors from whatever holds them, and in the formats of others, told by the file's ending."""

from __future__ import annotations

import os
from pathlib import Path

from demur.directions.artifact import load_sealed_vector, save_vector
from demur.directions.control_vector import read_control_vector, write_control_vector
from demur.directions.lm_eval import read_torch, write_steer
from demur.directions.placed import chosen, placed
from demur.directions.sealed import check_weights
from demur.directions.svec import read_svec, write_svec
from demur.directions.vectors import as_vector, steering_vector
from demur.errors import InputError, unknown
from demur.types import Direction, Point, Site, SteeringVector

ENDINGS = (".safetensors", ".gguf", ".svec", ".pt", ".pth")


def load_vector(
    source: object,
    *,
    site: Site | str | None = None,
    weights: str | None = None,
    layer: int | None = None,
    point: Point | None = None,
) -> SteeringVector:
    """A steering vector from a file of any known format (`read_vector`), or from what is in memory.

    source: a path; a SteeringVector; a Direction, as the unit vector at its site; a tensor or array [d_model] with its
    site; rows [n_layers, d_model]; or {site or layer: tensor}. site: Site or "12.pre", the same as `layer` and `point`:
    where a lone vector stands, or which one is taken of several. weights: the engine fingerprint's weight hash that it
    must have been fitted on, where it says one. Raises InputError (BadFile, BadVector, UnknownName are of its kind).
    """
    if site is not None:
        if layer is not None or point is not None:
            raise InputError(f"site {site} says layer and point already; leave them out.")
        if not isinstance(site, (Site, str)):
            raise InputError(f'site {site!r} is neither a Site nor text; give "{site}.post", or layer={site}.')
        try:
            site = site if isinstance(site, Site) else Site.parse(site)
        except ValueError as error:
            raise InputError(f"{error}.") from None
        layer, point = site.layer, site.point
    if isinstance(source, (str, os.PathLike)):
        return read_vector(source, weights, layer, point)
    if isinstance(source, Direction):
        source = as_vector(source)
    if not isinstance(source, SteeringVector):
        source = placed(source, layer, point or "post")
    check_weights(source.origin, weights, "this vector")
    return chosen(source, layer, point, "this vector")


def read_vector(
    path: str | os.PathLike[str], weights: str | None = None, layer: int | None = None, point: Point | None = None
) -> SteeringVector:
    """A steering vector from a file of any known format.

    .safetensors: demur's own, a vector or a direction (checked against `weights`). .gguf: llama.cpp's control vector.
    .svec: activation-steering (`point` for files of others that use the ending). .pt: lm-eval's steer file; or one
    vector [d_model], at `layer`; or {layer: vector} or rows [n_layers, d_model], all at `point` (default post) of
    their layer. Of a file with several sites, `layer` and `point` choose; InputError when none is left.
    """
    path = Path(path)
    ending = path.suffix.lower()
    if ending == ".safetensors":
        found = load_sealed_vector(path, weights)
    elif ending == ".gguf":
        found = read_control_vector(path)
    elif ending == ".svec":
        found = read_svec(path, point or "pre")
    elif ending in (".pt", ".pth"):
        found = placed(read_torch(path), layer, point or "post", path)
    else:
        raise unknown("kind of vector file", ending, ENDINGS)
    return chosen(found, layer, point, str(path))


def check_ending(path: str | Path) -> None:
    """UnknownName for a file whose ending names no format."""
    if (ending := Path(path).suffix.lower()) not in ENDINGS:
        raise unknown("kind of vector file", ending, ENDINGS)


def write_vector(vector: SteeringVector, path: str | Path, n_layers: int | None = None, blocks: str = "layers") -> Path:
    """Write a vector in the format that the ending names (.pt: lm-eval's steer file); returns the path."""
    path = Path(path)
    ending = path.suffix.lower()
    check_ending(path)
    steering_vector(vector.vectors, what="the vector")
    if ending == ".safetensors":
        return save_vector(vector, path)
    if ending == ".gguf":
        return write_control_vector(vector, path, n_layers)
    if ending == ".svec":
        return write_svec(vector, path)
    return write_steer(vector, path, blocks)
