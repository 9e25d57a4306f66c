"""Reading what SAE folders hold: JSON configs and safetensors, with errors that name the file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from torch import Tensor

from demur.errors import BadFile
from demur.runs.strict import read_json


def read_config(path: Path) -> dict[str, Any]:
    """A JSON object. BadFile when it is missing or something else."""
    try:
        config = read_json(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise BadFile(f"no {path.name} in {path.parent}; copy the SAE's whole folder.") from None
    except (OSError, ValueError) as problem:
        raise BadFile(f"{path} is not readable JSON: {problem}; get the file again.") from problem
    if not isinstance(config, dict):
        raise BadFile(f"{path} holds a JSON {type(config).__name__}, not an object; get the file again.")
    return config


def read_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The tensors of a safetensors file, and its header's metadata. BadFile when it is missing or damaged."""
    try:
        with safe_open(path, framework="pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}, file.metadata() or {}  # noqa: SIM118
    except FileNotFoundError:
        raise BadFile(f"no {path.name} in {path.parent}; copy the SAE's whole folder.") from None
    except (SafetensorError, OSError) as problem:
        raise BadFile(f"{path} is not a readable safetensors file: {problem}; get the file again.") from problem


def wanted(config: Mapping[str, Any], key: str, where: Path, kind: type = int) -> Any:
    """A config's value of that type; BadFile when it is not there or of another type."""
    value = config.get(key)
    number = kind is float and isinstance(value, int)
    if isinstance(value, bool) != (kind is bool) or not (isinstance(value, kind) or number):
        raise BadFile(f"{where} has {key} {value!r}; it is of type {kind.__name__}: get the file again.")
    return value


def take(tensors: Mapping[str, Tensor], names: Mapping[str, str], where: Path) -> dict[str, Tensor]:
    """Tensors under our names, {ours: theirs}; "theirs.T" is transposed. BadFile for one that is not there."""
    taken = {}
    for ours, theirs in names.items():
        name = theirs.removesuffix(".T")
        if name not in tensors:
            raise BadFile(f"{where} has no tensor {name!r}; it has {', '.join(sorted(tensors))}: get the file again.")
        tensor = tensors[name]
        taken[ours] = tensor.mT.contiguous() if theirs.endswith(".T") and tensor.ndim == 2 else tensor
    return taken
