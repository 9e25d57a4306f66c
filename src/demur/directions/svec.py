""".svec: the JSON of IBM's activation-steering, and of AISteer360, whose rows are [K][d_model].

activation-steering wraps block L and adds to its input, so a layer L stands for the site L.pre.
"""

from __future__ import annotations

import json
from pathlib import Path

import torch

from demur.directions.vectors import as_input, from_rows
from demur.errors import BadFile, BadVector
from demur.runs.strict import read_json
from demur.runs.writing import write_text
from demur.types import Point, Site, SteeringVector


def read_svec(path: Path, point: Point = "pre") -> SteeringVector:
    """The vector of a .svec file. point: where in its block a layer's vector is added. BadFile when malformed."""
    try:
        record = read_json(path.read_text(encoding="utf-8"))
        rows = [(int(layer), torch.tensor(row, dtype=torch.float32)) for layer, row in record["directions"].items()]
    except FileNotFoundError:
        raise BadFile(f"no .svec file at {path}; check the path.") from None
    except (OSError, ValueError, KeyError, TypeError, AttributeError, OverflowError) as error:
        raise BadFile(f'{path} is no .svec file: {error!r}; it is JSON with "directions": {{layer: [...]}}.') from error
    origin = {"file": path.name, "format": "svec", "model": str(record.get("model_type", ""))}
    return from_rows(((Site(layer, point), row) for layer, row in rows), origin, str(path))


def write_svec(vector: SteeringVector, path: Path) -> Path:
    """Write a .svec file for activation-steering (blocks' inputs); returns the path. BadVector for other points."""
    directions = {}
    for site, value in sorted(vector.vectors.items()):
        block = as_input(site)
        if block is None:
            raise BadVector(f"a .svec vector is added to a block's input; it cannot act at {site}.")
        directions[str(block)] = value.tolist()
    if len(directions) < len(vector.vectors):
        raise BadVector("two sites of the vector are one place (a block's output is the next one's input); add them.")
    record = {
        "model_type": str(vector.origin.get("model_type", vector.origin.get("model", ""))),
        "directions": directions,
        "explained_variances": dict.fromkeys(directions, 1.0),
    }
    return write_text(path, json.dumps(record) + "\n")
