"""Interventions as JSON: the one declarative form that Python, the command line and the journal share."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from demur.errors import BadFile, BadSpec, unknown
from demur.interventions.affine import read_add, read_project
from demur.interventions.at import at
from demur.interventions.base import Intervention
from demur.interventions.chain import Chain
from demur.interventions.clamp import read_clamp
from demur.interventions.patch import read_patch
from demur.runs.writing import write_text

READERS: dict[str, Callable[[dict[str, Any]], Intervention]] = {
    "add": read_add,
    "project": read_project,
    "clamp": read_clamp,
    "patch": read_patch,
    "at": lambda record: _read_at(record),
    "chain": lambda record: Chain(tuple(from_spec(part) for part in _list(record, "parts"))),
}


def _need(record: dict[str, Any], name: str) -> Any:
    if name not in record:
        raise BadSpec(f"an intervention of op {record.get('op')!r} needs {name!r}.")
    return record[name]


def _read_at(record: dict[str, Any]) -> Intervention:
    where, k = _need(record, "where"), record.get("k", 1)
    if not isinstance(where, str) or not isinstance(k, int):
        raise BadSpec(
            f"an at spec needs where: the name of positions, and k: a number of tokens; not {where!r}, {k!r}."
        )
    return at(where, from_spec(_need(record, "inner")), k)


def _list(record: dict[str, Any], name: str) -> list[Any]:
    found = _need(record, name)
    if not isinstance(found, list):
        raise BadSpec(f"{name!r} of op {record.get('op')!r} is a list, not {type(found).__name__}.")
    return found


def from_spec(record: Any) -> Intervention:
    """The intervention that a spec describes; `i.spec()` gives the spec back."""
    if not isinstance(record, dict) or "op" not in record:
        raise BadSpec("an intervention spec is an object with an 'op'.")
    if not isinstance(record["op"], str) or record["op"] not in READERS:
        raise unknown("intervention op", str(record["op"])[:80], READERS)
    try:
        return READERS[record["op"]](record)
    except RecursionError:
        raise BadSpec("an intervention spec is nested too deeply; flatten its chains.") from None


def read_spec(path: str | Path) -> Intervention:
    """The intervention in a JSON file. BadFile or BadSpec when there is none."""
    try:
        record = json.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise BadFile(f"no steering spec at {path}; `demur direction fit` writes one.") from None
    except OSError as error:
        raise BadFile(f"cannot read {path}: {error.strerror or error}; give a file that you may read.") from error
    except (ValueError, RecursionError) as error:
        raise BadFile(f"{path} is not JSON: {error}.") from error
    return from_spec(record)


def write_spec(intervention: Intervention, path: str | Path) -> None:
    """Write the spec of an intervention as JSON, whole or not at all."""
    write_text(path, json.dumps(intervention.spec(), indent=1) + "\n")
