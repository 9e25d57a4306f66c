"""Any vector from a file: a direction, or a steering vector in any format, told by the ending and what is inside."""

from __future__ import annotations

from pathlib import Path

from safetensors import SafetensorError, safe_open

from demur.directions.artifact import load_direction
from demur.directions.exchange import ENDINGS, read_vector
from demur.directions.vector_file import load_vector
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
    if ending != ".safetensors":
        return read_vector(path, weights)
    return load_vector(path, weights) if kind_of(path) == "demur.vector" else load_direction(path, weights)


def kind_of(path: Path) -> str | None:
    """What a safetensors file's header says that it is; None without a header of demur's. BadFile when unreadable."""
    try:
        with safe_open(path, framework="pt") as file:
            return (file.metadata() or {}).get("kind")
    except FileNotFoundError:
        raise BadFile(f"no direction or vector at {path}; `demur direction fit` writes one.") from None
    except (SafetensorError, OSError) as error:
        raise BadFile(f"{path} is not a readable safetensors file: {error}; fit it again.") from error
