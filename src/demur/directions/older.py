"""The three formats of version 0.1, each with a seal of its own: read, no longer written.

direction: tensor `vector`; layer, point and activation_norm as fields. vector: a tensor a site, activation_norms.
fit: facts as today, sealed by themselves (`fitting.cache`).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from torch import Tensor


def read_older(
    header: Mapping[str, str], tensors: Mapping[str, Tensor]
) -> tuple[dict[str, Any], dict[str, Tensor]] | None:
    """Facts and tensors as a sealed file has them now; None when they do not match the seal.

    Raises KeyError, TypeError or ValueError for a header that is none of these.
    """
    data = {name: tensors[name].numpy().tobytes() for name in sorted(tensors)}
    if header["kind"] == "demur.fit":
        seal = _sha256(header["facts"].encode(), data["difference"], data["direction"])
        return (json.loads(header["facts"]), dict(tensors)) if seal == header["seal"] else None
    lone = header["kind"] == "demur.direction"
    fields = json.dumps({name: value for name, value in header.items() if name != "sha256"}, sort_keys=True)
    hashes = [_sha256(data["vector"])] if lone else [f"{name} {_sha256(part)}" for name, part in data.items()]
    if _sha256("\n".join([fields, *hashes]).encode()) != header["sha256"]:
        return None
    origin = json.loads(header["origin"])
    if not lone:
        return {"origin": origin, "norms": json.loads(header["activation_norms"])}, dict(tensors)
    site = f"{header['layer']}.{header['point']}"
    return {"origin": origin, "norms": {site: float(header["activation_norm"])}}, {site: tensors["vector"]}


def _sha256(*parts: bytes) -> str:
    total = hashlib.sha256()
    for part in parts:
        total.update(part)
    return total.hexdigest()
