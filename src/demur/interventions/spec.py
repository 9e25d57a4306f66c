"""Intervention specs as JSON files: the one declarative form that Python, the command line and the journal share."""

from __future__ import annotations

import json
from pathlib import Path

from demur.errors import BadFile, BadSpec, InputError
from demur.interventions.intervention import Intervention, from_spec
from demur.runs.strict import json_seal, read_json
from demur.runs.writing import write_text
from demur.saes.feature_set import KIND as FEATURES


def read_spec(path: str | Path) -> Intervention:
    """The intervention in a JSON file. BadFile or BadSpec when there is none, or it was changed since demur wrote it.

    A spec written by hand has no sha256.
    """
    try:
        record = read_json(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise BadFile(f"no steering spec at {path}; `demur direction fit` writes one.") from None
    except OSError as error:
        raise BadFile(f"cannot read {path}: {error.strerror or error}; give a file that you may read.") from error
    except ValueError as error:
        raise BadFile(f"{path} is not JSON: {error}.") from error
    if isinstance(record, dict) and "op" not in record:
        features = record.get("kind") == FEATURES
        hint = f": it is a feature set; write suppress:{path}, or clamp:{path}:0.3r" if features else ""
        raise BadSpec(f"{path} is no steering spec: that is an object with an 'op'{hint}.")
    if isinstance(record, dict) and "sha256" in record:
        record, seal = {name: value for name, value in record.items() if name != "sha256"}, record["sha256"]
        if seal != json_seal(record):
            raise BadFile(
                f"{path} does not match its sha256: it was changed since it was written; write it again, or take its "
                "field sha256 out if it was changed on purpose."
            )
    try:
        return from_spec(record)
    except InputError as error:
        raise type(error)(f"{path}: {error}") from error


def write_spec(intervention: Intervention, path: str | Path) -> None:
    """Write the spec of an intervention as JSON with its sha256, whole or not at all."""
    record = intervention.spec()
    write_text(path, json.dumps({**record, "sha256": json_seal(record)}, indent=1) + "\n")
