"""The options of a search for the refusal direction, and the line that says what was searched."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from demur.fitting.candidates import Bounds, Fit
    from demur.fitting.refusal import DirectionConfig


@dataclass(frozen=True)
class Search:
    """What was asked for; None: as it is without."""

    n: int | None
    choose: int | None
    layer_step: int | None
    candidates: int | None
    max_kl: float | None
    min_induced: float | None

    def on(self, base: DirectionConfig) -> DirectionConfig:
        """The config with what was asked for instead of its own."""
        from demur.fitting.candidates import Grid

        grid, bounds = base.grid or Grid(), base.bounds
        if self.layer_step is not None:
            grid = replace(grid, layer_step=self.layer_step)
        if self.candidates is not None:
            grid = replace(grid, ablated=self.candidates or None)
        asked = {"max_kl": self.max_kl, "min_induced": self.min_induced}
        if changed := {name: value for name, value in asked.items() if value is not None}:
            bounds = replace(base.bounds, **changed)
        return replace(base, n=base.n if self.n is None else self.n, grid=grid, bounds=bounds,
                       choose=base.choose if self.choose is None else self.choose)  # fmt: skip


def grid_line(fit: Fit, bounds: Bounds) -> str:
    """What the direction was chosen among, as it was tried."""
    layers = sorted({candidate.layer for candidate in fit.candidates})
    ablated = [candidate for candidate in fit.candidates if candidate.ablated is not None]
    added = sum(candidate.induced is not None for candidate in ablated)
    kept = f"KL at most {bounds.max_kl:g}, induced refusal score at least {bounds.min_induced:g}"
    return (
        f"The direction ({fit.direction.site}) was chosen among {len(fit.candidates)} candidates at layers {layers[0]} "
        f"to {layers[-1]}: the {len(ablated)} that tell harmful from harmless prompts best were ablated, {added} of "
        f"these added. Bounds: {kept}."
    )
