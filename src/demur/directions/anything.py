"""Any vector from a file: a direction, or a steering vector in any format, told by the ending and what is inside."""

from __future__ import annotations

from pathlib import Path

from demur.directions.artifact import load_artifact
from demur.directions.exchange import ENDINGS, read_vector
from demur.errors import BadFile
from demur.types import Direction, SteeringVector


def read_any(path: str | Path, weights: str | None = None) -> Direction | SteeringVector:
    """The direction or steering vector in a file; BadFile, saying what the file is, for anything else.

    weights: the engine fingerprint's weight hash that demur's own files must have been fitted with.
    """
    path = Path(path)
    ending = path.suffix.lower()
    if ending not in ENDINGS:
        raise BadFile(f"{path} is no vector: those end in {', '.join(ENDINGS)} (and feature sets in .json).")
    return load_artifact(path, weights) if ending == ".safetensors" else read_vector(path, weights)
