"""Tensors without a format of their own: where each belongs is said by its key, its row, or the caller."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from demur.directions.lm_eval import is_steer_file, read_steer
from demur.directions.vectors import from_rows
from demur.errors import BadFile, InputError
from demur.types import Point, Site, SteeringVector


def placed(record: Any, layer: int | None = None, point: Point = "post", path: Path | None = None) -> SteeringVector:
    """The vector of a tensor or array [d_model] or [1, d_model] at `layer`; of rows [n_layers, d_model]; of {layer or
    site: vector}, sites as Site or "12.pre"; or of the content of lm-eval's steer file.

    point: where in its layer a vector stands that does not say. path: the file that it is from. Raises InputError for
    one vector without a layer, BadFile for anything else, and as `vectors.from_rows`.
    """
    what, origin = str(path or "this vector"), {"file": path.name} if path else {}
    if is_steer_file(record):
        return read_steer(record, what, origin)
    if isinstance(record, Mapping):
        rows = [(_site(key, point, what), _tensor(value, what)) for key, value in record.items()]
    else:
        tensor = _tensor(record, what)
        lone = tensor.ndim < 2 or len(tensor) == 1
        if lone and layer is None:
            said = f"demur vector convert {path} placed.safetensors --layer N --point pre" if path else 'site="12.pre"'
            raise InputError(f"{what} holds one vector and not where it belongs; say so: {said}")
        rows = [(Site(layer, point), tensor)] if lone and layer is not None else [
            (Site(number, point), row) for number, row in enumerate(tensor)]  # fmt: skip
    return from_rows(rows, {**origin, "format": "torch"}, what)


def chosen(vector: SteeringVector, layer: int | None, point: Point | None, what: str) -> SteeringVector:
    """Of several sites those at a layer and a point (None: any). Raises InputError when none is left."""
    left = {s: v for s, v in vector.vectors.items() if layer in (None, s.layer) and point in (None, s.point)}
    if not left:
        said = {"layer": layer, "point": point}
        lacking = " and ".join(f"{name} {value}" for name, value in said.items() if value is not None)
        raise InputError(f"{what} has no {lacking}; it has {', '.join(map(str, vector.vectors))}.")
    return SteeringVector(left, {s: n for s, n in vector.norms.items() if s in left}, vector.origin)


def _tensor(value: Any, what: str) -> Tensor:
    if isinstance(value, Tensor):
        return value
    if not isinstance(value, np.ndarray) or value.dtype.kind not in "fiu":
        raise BadFile(
            f"{what} holds a {type(value).__name__}; give a vector, rows of a layer each, or {{layer: vector}}."
        )
    return torch.from_numpy(value.astype(np.float32))


def _site(key: Any, point: Point, what: str) -> Site:
    try:
        return Site(int(key), point) if re.fullmatch("-?[0-9]{1,6}", str(key)) else Site.parse(str(key))
    except ValueError as error:
        raise BadFile(f"{what}: {error}, or the layer's number.") from error
