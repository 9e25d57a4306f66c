"""The options of a search for the refusal direction, and the line that says what was searched."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from demur.engines.base import WhiteBoxEngine
    from demur.fitting.candidates import Bounds, Fit
    from demur.fitting.refusal import DirectionConfig


@dataclass(frozen=True)
class Search:
    """What was asked for; None: as it is without."""

    n: int | None
    choose: int | None
    layer_step: int | None
    all_positions: bool
    max_kl: float | None
    min_induced: float | None

    def on(self, base: DirectionConfig, engine: WhiteBoxEngine) -> DirectionConfig:
        """The config with what was asked for instead of its own; what is not asked for stays the model's default."""
        grid, bounds = base.grid, base.bounds
        if self.layer_step is not None:
            grid = replace(base.grid_for(engine.n_layers), layer_step=self.layer_step)
        if self.all_positions:
            grid = replace(grid or base.grid_for(engine.n_layers), positions=None)
        asked = {"max_kl": self.max_kl, "min_induced": self.min_induced}
        if changed := {name: value for name, value in asked.items() if value is not None}:
            bounds = replace(base.bounds, **changed)
        return replace(base, n=base.n if self.n is None else self.n, grid=grid, bounds=bounds,
                       choose=base.choose if self.choose is None else self.choose)  # fmt: skip


def grid_line(fit: Fit, bounds: Bounds) -> str:
    """What the direction was chosen among, as it was tried."""
    layers = sorted({candidate.layer for candidate in fit.candidates})
    positions = sorted({candidate.position for candidate in fit.candidates})
    tried, allowed = len(fit.candidates), sum(map(bounds.allows, fit.candidates))
    kept = f"KL at most {bounds.max_kl:g}, induced refusal score at least {bounds.min_induced:g}"
    nearest = "" if allowed else ", and the one nearest to them was taken"
    return (
        f"The direction ({fit.direction.site}) was chosen among {tried} {'candidate' if tried == 1 else 'candidates'}, "
        f"{allowed} of them within the bounds ({kept}){nearest}: layers {', '.join(map(str, layers))}; positions "
        f"{', '.join(map(str, positions))}."
    )
