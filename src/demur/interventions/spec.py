"""Intervention specs as JSON files: the one declarative form that Python, the command line and the journal share."""

from __future__ import annotations

import json
from pathlib import Path

from demur.errors import BadFile, BadSpec
from demur.interventions.intervention import Intervention, from_spec
from demur.runs.writing import write_text
from demur.saes.feature_set import KIND as FEATURES


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
    if isinstance(record, dict) and "op" not in record:
        features = record.get("kind") == FEATURES
        hint = f": it is a feature set; write suppress:{path}, or clamp:{path}:0.3r" if features else ""
        raise BadSpec(f"{path} is no steering spec: that is an object with an 'op'{hint}.")
    return from_spec(record)


def write_spec(intervention: Intervention, path: str | Path) -> None:
    """Write the spec of an intervention as JSON, whole or not at all."""
    write_text(path, json.dumps(intervention.spec(), indent=1) + "\n")
