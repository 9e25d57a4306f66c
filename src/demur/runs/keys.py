"""Keys: what decides a result, hashed (protocol: Numerics and keys).

A key holds everything that can change the tokens and nothing else: not the judge, not the commit,
not the id or set of the prompt. Tensors enter as the sha256 that the caller gives them.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from demur.errors import BadSpec
from demur.types import Conversation, Decoding, EngineFingerprint, Item


def canonical(value: Any) -> str:
    """One JSON text for equal values: keys sorted, no spaces, ASCII only, 1.0 written as 1.

    Takes None, bool, int, finite float, str, sequences, mappings and dataclasses; anything else
    (tensors, sets, bytes) raises BadSpec naming where it stands.
    """
    return json.dumps(_plain(value, "spec"), sort_keys=True, separators=(",", ":"), allow_nan=False)


def digest(value: Any) -> str:
    """sha256 of the canonical JSON, as 64 hex digits."""
    return hashlib.sha256(canonical(value).encode("ascii")).hexdigest()


def generation_key(
    fingerprint: EngineFingerprint,
    conversation: Conversation,
    intervention_spec: Mapping[str, Any],
    decoding: Decoding,
    sources: str,
    *,
    batch: str = "",
) -> str:
    """The key of one generation.

    `conversation` is the one sent, before the engine plays any turn. `sources` is `source_hash()`.
    `batch` is `batch_salt` where the batch's composition can change the numbers (bf16), else "".
    """
    return digest(
        {
            "kind": "generation",
            "engine": fingerprint,
            "messages": conversation.messages,
            "prefill": conversation.prefill,
            "intervention": intervention_spec,
            "decoding": decoding,
            "sources": sources,
            "batch": batch,
        }
    )


def score_key(
    fingerprint: EngineFingerprint,
    item: Item,
    intervention_spec: Mapping[str, Any],
    sources: str,
    *,
    batch: str = "",
) -> str:
    """The key of an item's log-likelihoods: its query and choices, not its id, set or gold."""
    return digest(
        {
            "kind": "score",
            "engine": fingerprint,
            "query": item.query,
            "choices": item.choices,
            "intervention": intervention_spec,
            "sources": sources,
            "batch": batch,
        }
    )


def verdict_key(generation: str, judge_spec: Mapping[str, Any]) -> str:
    """The key of a verdict: the generation's key and all that defines the judge.

    `judge_spec` names its version, and any requests or models that it compares with.
    """
    return digest({"kind": "verdict", "generation": generation, "judge": judge_spec})


def batch_salt(keys: Iterable[str]) -> str:
    """What marks a batch: the hash of its rows' unsalted keys, in order."""
    return digest({"kind": "batch", "rows": list(keys)})


def _plain(value: Any, where: str) -> Any:
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, str):
        return str(value)
    if isinstance(value, float):
        if not math.isfinite(value):
            raise BadSpec(f"{where} is {value}; a key takes finite numbers only")
        return int(value) if value.is_integer() else float(value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        names = [field.name for field in dataclasses.fields(value)]
        return {name: _plain(getattr(value, name), f"{where}.{name}") for name in names}
    if isinstance(value, Mapping):
        plain = {str(key): _plain(part, f"{where}.{key}") for key, part in value.items()}
        if len(plain) != len(value):
            raise BadSpec(f"{where} has two keys that read the same: {sorted(map(str, value))}; rename one")
        return plain
    if isinstance(value, Sequence) and not isinstance(value, bytes | bytearray | memoryview):
        return [_plain(part, f"{where}[{index}]") for index, part in enumerate(value)]
    raise BadSpec(
        f"{where} is a {type(value).__name__}; a key takes JSON values and dataclasses: "
        "give a tensor by its sha256, a set as a sorted list"
    )
