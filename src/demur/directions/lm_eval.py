"""lm-eval's steer file (`--model steered`, `steer_path=FILE.pt`): which module's output gets which vector.

{hookpoint: {"steering_vector": [d_model], "steering_coefficient": float, "action": "add" | "clamp", "bias", ...}};
hookpoints are module names inside the model, such as layers.3 or layers.3.mlp. demur reads and writes "add".
"""

from __future__ import annotations

import io
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from demur.directions.vectors import as_output, from_rows
from demur.errors import BadFile, BadVector
from demur.runs.archive import fault
from demur.runs.writing import atomic
from demur.types import Point, Site, SteeringVector

POINTS: dict[str, Point] = {"": "post", ".self_attn": "attn_out", ".attn": "attn_out", ".attention": "attn_out",
                            ".mlp": "mlp_out"}  # fmt: skip
"""What follows the block's name -> whose output that is."""


def is_steer_file(record: Any) -> bool:
    """Whether an object read from a .pt file is lm-eval's."""
    return (
        isinstance(record, dict)
        and bool(record)
        and all(isinstance(value, dict) and "steering_vector" in value for value in record.values())
    )


def read_steer(record: Mapping[str, Any], what: str, origin: Mapping[str, Any]) -> SteeringVector:
    """The vector of a steer file's content, coefficients multiplied in. BadFile for what demur cannot do."""
    rows = []
    for name, entry in record.items():
        found = re.fullmatch(r"(?:\w+\.)?(?:layers|h|blocks)\.(\d+)(\.\w+)?", str(name))
        point = POINTS.get(found.group(2) or "") if found else None
        if found is None or point is None:
            raise BadFile(f"{what}: no site for the hookpoint {name!r}; known: layers.N, and its self_attn and mlp.")
        if entry.get("action", "add") != "add" or entry.get("head_index") is not None:
            raise BadFile(
                f"{what}: {name} has action {entry.get('action')!r}; demur reads whole vectors that are added."
            )
        value, dose = entry["steering_vector"], entry.get("steering_coefficient", 1.0)
        if not isinstance(value, torch.Tensor) or not isinstance(dose, (int, float)):
            raise BadFile(f"{what}: {name} has a {type(value).__name__} times {dose!r}; write a tensor and a number.")
        rows.append((Site(int(found.group(1)), point), value * float(dose)))
    return from_rows(rows, {**origin, "format": "lm-eval steer file"}, what)


def write_steer(vector: SteeringVector, path: Path, blocks: str = "layers", dose: float = 1.0) -> Path:
    """Write a steer file; returns the path.

    blocks: the name of the list of blocks inside the model (layers, or h for gpt2). dose: the coefficient.
    BadVector for a site that is no block's output. lm-eval up to 0.4.9 applies the last vector at every hookpoint;
    0.4.13 does not (tests/directions/test_lm_eval.py runs it).
    """
    record = {}
    for site, value in sorted(vector.vectors.items()):
        block = as_output(site)
        if block is None:
            raise BadVector(f"lm-eval steers outputs of blocks; it cannot act at {site}.")
        record[f"{blocks}.{block}"] = {
            "steering_vector": value,
            "steering_coefficient": float(dose),
            "action": "add",
            "bias": None,
            "head_index": None,
        }
    if len(record) < len(vector.vectors):
        raise BadVector("two sites of the vector are one place (a block's output is the next one's input); add them.")
    buffer = io.BytesIO()
    torch.save(record, buffer)
    with atomic(path) as temporary:
        temporary.write_bytes(buffer.getvalue())
    return path


def read_torch(path: Path) -> Any:
    """What a .pt file holds, tensors and plain containers only. BadFile for pickled code."""
    if wrong := fault(path):
        raise BadFile(f"{path} is damaged: {wrong}; get it again.")
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise BadFile(f"no file at {path}; check the path.") from None
    except Exception as error:  # a damaged pickle ends in an IndexError, a UnicodeDecodeError, nearly anything
        raise BadFile(
            f"{path} holds more than tensors, or is damaged ({str(error)[:80]}); save tensors only."
        ) from error
