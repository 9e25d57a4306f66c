"""Sealed files: safetensors with {kind, facts, sha256} in the header, so that a changed byte anywhere is found.

The seal is the sha256 of the whole file, taken with zeros for the seal's own digits.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from demur.directions.older import read_older
from demur.errors import BadFile, BadSpec
from demur.runs.writing import atomic

KINDS = {
    "demur.calibration": "a model's answers that the judge is calibrated on",
    "demur.direction": "a direction",
    "demur.fit": "a fit that a run keeps for its own reruns, and finds again by the same --out",
    "demur.record": "figures that a run keeps for its own reruns",
    "demur.vector": "a steering vector",
}
MAKERS = {
    "direction": "`demur direction fit` writes one",
    "vector": "`demur vector fit` writes one, and `demur vector convert` makes one of a plain .pt",
    "calibration": "whatever judges makes it again",
    "cached result": "a run with the same --out makes it again",
}
"""What is wanted -> what makes one."""
LONGEST = 100_000_000
"""Bytes of a header at most, as in safetensors."""


@dataclass(frozen=True)
class Sealed:
    """What a sealed file holds."""

    kind: str
    facts: Mapping[str, Any]
    """JSON."""
    tensors: Mapping[str, Tensor]
    """Written as float32."""


def write_sealed(path: str | Path, content: Sealed) -> Path:
    """Write `path`, whole or not at all; returns it.

    Raises BadSpec for facts that JSON cannot hold, OutOfRoom when the disk is full, BadFile when the folder cannot be
    written.
    """
    try:
        facts = json.dumps(content.facts, sort_keys=True)
    except (TypeError, ValueError) as error:
        raise BadSpec(f"{path}: what it says of its origin is no JSON ({error}); give numbers and text.") from error
    tensors = {name: tensor.detach().cpu().float().contiguous() for name, tensor in content.tensors.items()}
    blank = "0" * 64
    whole = save(tensors, {"kind": content.kind, "facts": facts, "sha256": blank})
    with atomic(path) as temporary:
        temporary.write_bytes(whole.replace(_field(blank), _field(_seal(whole, blank)), 1))
    return Path(path)


def read_sealed(path: str | Path, what: str, kinds: Sequence[str], weights: str | None = None) -> Sealed:
    """The content of a sealed file of one of these kinds, or of a file of version 0.1 (`directions.older`).

    what: the name of what is wanted, one of MAKERS. weights: the engine fingerprint's weight hash that it must have
    been made on. Raises BadFile when it is missing, no safetensors file, of another kind, damaged, or of another model.
    """
    header, whole = _header(path, what)
    kind, sealed = header.get("kind"), not {"sha256", "seal"}.isdisjoint(header)
    if kind not in kinds or not sealed:
        said = f": {KINDS[kind]}" if kind in KINDS else ""
        said += "" if sealed or kind not in kinds else " without a seal"
        raise BadFile(f"{path} is no demur {what} (kind {kind!r}{said}); {MAKERS[what]}.")
    try:
        if {"facts", "sha256"} <= header.keys():
            same = _seal(whole, header["sha256"]) == header["sha256"]
            found = (json.loads(header["facts"]), load(whole)) if same else None
        else:
            found = read_older(header, load(whole))
    except (SafetensorError, KeyError, TypeError, ValueError) as error:
        raise BadFile(f"{path} has a header that cannot be read ({error!r}); fit it again.") from error
    if found is None:
        raise BadFile(f"{path} does not match its sha256: the file is damaged; fit it again.")
    content = Sealed(header["kind"], *found)
    check_weights(content.facts.get("origin", {}), weights, str(path))
    return content


def check_weights(origin: Mapping[str, Any], weights: str | None, what: str) -> None:
    """BadFile when an origin names weights and they are not these (None: any)."""
    if weights is not None and origin.get("weights") not in (None, weights):
        raise BadFile(
            f"{what} was fitted on a model with weights {str(origin['weights'])[:12]}..., not {weights[:12]}...; "
            "fit it on this model."
        )


def _header(path: str | Path, what: str) -> tuple[dict[str, str], bytes]:
    """The fields of a safetensors header, and the whole file where they name a kind: a model's weights stay unread."""
    try:
        with open(path, "rb") as file:
            start = file.read(8)
            head = file.read(min(int.from_bytes(start, "little"), LONGEST))
            if not head.startswith(b"{"):
                raise ValueError(f"it begins with {(start + head)[:24]!r}, as no safetensors file does")
            fields = json.loads(head).get("__metadata__", {})
            if not all(isinstance(value, str) for value in fields.values()):
                raise ValueError("its header holds more than text")
            return fields, start + head + (file.read() if "kind" in fields else b"")
    except FileNotFoundError:
        raise BadFile(f"no {what} at {path}; {MAKERS[what]}.") from None
    except (OSError, ValueError, AttributeError, RecursionError) as error:
        raise BadFile(
            f"{path} is not a readable {what} file: {error}; give another file ({MAKERS[what]}), or fit it again."
        ) from error


def _field(seal: str) -> bytes:
    # Inside the facts, JSON in JSON, quotation marks are escaped: these bytes stand in the header once.
    return f'"sha256":"{seal}"'.encode()


def _seal(whole: bytes, seal: str) -> str:
    return hashlib.sha256(whole.replace(_field(seal), _field("0" * 64), 1)).hexdigest()
