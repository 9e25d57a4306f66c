"""Any vector from a file: a direction, or a steering vector in any format, told by the ending and what is inside; and
a direction from any of them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TypeAlias

from demur.directions.artifact import load_artifact
from demur.directions.exchange import ENDINGS, read_vector
from demur.directions.sealed import check_weights
from demur.directions.vectors import as_direction, no_vector
from demur.errors import BadFile
from demur.types import Direction, SteeringVector

DirectionSource: TypeAlias = "Direction | SteeringVector | str | os.PathLike[str]"
"""What a direction comes from: a value, or a file."""


def read_any(path: str | os.PathLike[str], weights: str | None = None) -> Direction | SteeringVector:
    """The direction or steering vector in a file; BadFile, saying what the file is, for anything else.

    weights: the engine fingerprint's weight hash that demur's own files must have been fitted with.
    """
    path = Path(path)
    ending = path.suffix.lower()
    if ending not in ENDINGS:
        raise BadFile(f"{path} is no vector: those end in {', '.join(ENDINGS)} (and feature sets in .json).")
    return load_artifact(path, weights) if ending == ".safetensors" else read_vector(path, weights)


def load_direction(source: DirectionSource, weights: str | None = None) -> Direction:
    """A direction: itself, or the unit direction of a steering vector of one site (norm NaN where none is known), from
    a value or from a file in any known format.

    weights: the engine fingerprint's weight hash that it must have been fitted on, where it says one. Raises as
    `read_any`, BadFile for other weights and for several sites, InputError for what is no direction.
    """
    if isinstance(source, (str, os.PathLike)):
        # A sealed file may have any name.
        sealed = Path(source).suffix.lower() not in ENDINGS
        found, what = load_artifact(Path(source), weights) if sealed else read_any(source, weights), os.fspath(source)
    elif isinstance(source, (Direction, SteeringVector)):
        check_weights(source.origin, weights, "the direction")
        found, what = source, "the value"
    else:
        raise no_vector(source)
    if isinstance(found, Direction):
        return found
    if len(found.vectors) > 1:
        raise BadFile(f"{what} holds a vector at {', '.join(map(str, found.vectors))}; a direction stands at one site: "
                      "give a vector of one site, or fit one with `demur direction fit`.")  # fmt: skip
    return as_direction(found)
