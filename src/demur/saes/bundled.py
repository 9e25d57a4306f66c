"""The SAEs that demur ships, by name: MODEL/SITE, as smollm2-refuser/19.post."""

from __future__ import annotations

from functools import cache
from pathlib import Path

WEIGHTS = Path(__file__).parent / "weights"


@cache
def bundled_saes(model: str = "") -> tuple[str, ...]:
    """Names of the bundled SAEs, of one model if given, in the order of their layers."""
    found = [
        folder.relative_to(WEIGHTS).as_posix() for folder in WEIGHTS.glob("*/*.*") if (folder / "cfg.json").exists()
    ]
    mine = [name for name in found if not model or name.partition("/")[0] == model]
    return tuple(sorted(mine, key=lambda name: (name.partition("/")[0], int(name.partition("/")[2].partition(".")[0]))))


def bundled_sae(name: str) -> Path | None:
    """The folder of a bundled SAE, or None for another name."""
    return WEIGHTS / name if name in bundled_saes() else None
