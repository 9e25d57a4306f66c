"""What every experiment returns."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from demur.types import Figure


@dataclass(frozen=True)
class Result:
    """What every experiment returns."""

    title: str
    summary: tuple[str, ...]
    figures: tuple[Figure, ...]
    spec: Mapping[str, Any]
    seconds: float
    generated: int
    report: Path
    overview: Any = None
