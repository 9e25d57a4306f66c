"""Refusal directions that come with demur, each with the record of its fit: so far the model organism's."""

from __future__ import annotations

from pathlib import Path

from demur.directions.artifact import load_artifact
from demur.types import Direction

FOLDER = Path(__file__).parent / "weights"


def bundled_direction(weights: str) -> Direction | None:
    """The direction that was fitted on the model with this weight hash (an engine fingerprint's), if there is one.

    Raises BadFile for a damaged one.
    """
    for path in sorted(FOLDER.glob("*.safetensors")):
        found = load_artifact(path)
        if isinstance(found, Direction) and found.origin.get("weights") == weights:
            return found
    return None
