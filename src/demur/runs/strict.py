"""JSON read strictly: what can be read in two ways is refused, and what was changed is seen by its seal."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any


def read_json(text: str, finite: bool = False) -> Any:
    """The value in a JSON text.

    Raises ValueError, with what is wrong, for text that is no JSON, for an object with one key twice, of which Python
    would take the last, and for nesting beyond what can be read; where all is to be finite, for NaN and infinity.
    """
    try:
        return json.loads(text, object_pairs_hook=_once, parse_constant=_refuse if finite else None)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def json_seal(record: Mapping[str, Any]) -> str:
    """sha256 of an object's JSON with its keys sorted, as 64 hex digits: the seal of files that people may read.

    Raises TypeError and ValueError for what JSON cannot hold.
    """
    return hashlib.sha256(json.dumps(record, sort_keys=True).encode()).hexdigest()


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"the key {next(name for name in names if names.count(name) > 1)!r} stands there twice")
    return found


def _refuse(constant: str) -> Any:
    raise ValueError(f"{constant} is no JSON number")
