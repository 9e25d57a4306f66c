"""Steering vectors in the formats of others, told by the file's ending."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from demur.directions.control_vector import read_control_vector, write_control_vector
from demur.directions.lm_eval import is_steer_file, read_steer, read_torch, write_steer
from demur.directions.svec import read_svec, write_svec
from demur.directions.vector_file import load_vector, save_vector
from demur.directions.vectors import steering_vector
from demur.errors import BadFile, InputError, unknown
from demur.types import Point, Site, SteeringVector

ENDINGS = (".gguf", ".pt", ".pth", ".safetensors", ".svec")


def read_vector(
    path: str | Path, weights: str | None = None, layer: int | None = None, point: Point | None = None
) -> SteeringVector:
    """A steering vector from a file of any known format.

    .safetensors: demur's own (checked against `weights`). .gguf: llama.cpp's control vector. .svec: activation-steering
    (`point` for files of others that use the ending). .pt: lm-eval's steer file; or one vector [d_model], at `layer`;
    or {layer: vector} or rows [n_layers, d_model], all at `point` (default post) of their layer.
    """
    path = Path(path)
    ending = path.suffix.lower()
    if ending == ".safetensors":
        return load_vector(path, weights)
    if ending == ".gguf":
        return read_control_vector(path)
    if ending == ".svec":
        return read_svec(path, point or "pre")
    if ending in (".pt", ".pth"):
        return _plain(read_torch(path), path, layer, point or "post")
    raise unknown("kind of vector file", ending, ENDINGS)


def write_vector(vector: SteeringVector, path: str | Path, n_layers: int | None = None, blocks: str = "layers") -> Path:
    """Write a vector in the format that the ending names (.pt: lm-eval's steer file); returns the path."""
    path = Path(path)
    ending = path.suffix.lower()
    if ending == ".safetensors":
        return save_vector(vector, path)
    if ending == ".gguf":
        return write_control_vector(vector, path, n_layers)
    if ending == ".svec":
        return write_svec(vector, path)
    if ending in (".pt", ".pth"):
        return write_steer(vector, path, blocks)
    raise unknown("kind of vector file", ending, ENDINGS)


def _plain(record: Any, path: Path, layer: int | None, point: Point) -> SteeringVector:
    if is_steer_file(record):
        return read_steer(record, path)
    if isinstance(record, torch.Tensor) and record.ndim == 1:
        if layer is None:
            placed = f"demur vector convert {path} placed.safetensors --layer N --point pre"
            raise InputError(f"{path} holds one vector and not where it belongs; say so: {placed}")
        rows = {layer: record}
    elif isinstance(record, torch.Tensor) and record.ndim == 2:
        rows = dict(enumerate(record))
    elif isinstance(record, dict) and all(isinstance(v, torch.Tensor) and str(k).isdigit() for k, v in record.items()):
        rows = {int(k): v for k, v in record.items()}
    else:
        raise BadFile(
            f"{path} holds a {type(record).__name__}; give a vector, rows of a layer each, or {{layer: vector}}."
        )
    if layer is not None:
        if layer not in rows:
            raise InputError(f"{path} has no layer {layer}; it has {min(rows)} to {max(rows)}.")
        rows = {layer: rows[layer]}
    vectors = {Site(number, point): row for number, row in rows.items()}
    return steering_vector(vectors, {"file": path.name, "format": "torch"}, what=str(path))
