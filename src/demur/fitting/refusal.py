"""The one way to a model's refusal direction: given, read from a file, or fitted and cached."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TypeVar

from demur.attacks import plainly
from demur.directions.artifact import load_direction
from demur.engines.base import WhiteBoxEngine
from demur.errors import NoDirection, NoRefusal
from demur.fitting.cache import cached
from demur.fitting.candidates import Bounds, Fit, Grid, choose_direction
from demur.prompts.own import Source, own_sets
from demur.prompts.sets import PromptSets, builtin_sets
from demur.types import Direction, SteeringVector

T = TypeVar("T", Direction, SteeringVector)

LOOSE = Bounds(max_kl=0.4, min_induced=-2.0)
"""For the bundled model: no candidate of its keeps the papers' 0.1 and 0 (docs/decisions/0005)."""
LOOSE_MODELS = ("smollm2-refuser",)


@dataclass(frozen=True)
class DirectionConfig:
    """How the refusal direction is searched for: a coarse grid by default, minutes on two cores."""

    n: int | None = 36
    """Fitting prompts of each kind; None: all."""
    choose: int | None = 12
    """Validation prompts of each kind that candidates are chosen on."""
    grid: Grid | None = None
    """Which layers and positions are tried; None: the last token, at every third layer, or at all of a model of few."""
    bounds: Bounds | None = None
    """What a candidate may cost; None: the papers' bounds (looser ones for the bundled model)."""

    def grid_for(self, n_layers: int) -> Grid:
        """The grid for a model with so many layers."""
        if self.grid is not None:
            return self.grid
        # Below 80% of the depth of four layers there is no third one but the first, which is no candidate.
        return Grid(layer_step=3 if n_layers > 4 else 1, positions=(-1,))

    def bounds_for(self, model: str) -> Bounds:
        """The bounds that hold for a model."""
        if self.bounds is not None:
            return self.bounds
        return LOOSE if model in LOOSE_MODELS else Bounds()


FULL = DirectionConfig(n=None, choose=32, grid=Grid())
"""Every candidate, on all prompts."""


def search_direction(
    engine: WhiteBoxEngine,
    config: DirectionConfig | None = None,
    prompts: PromptSets | None = None,
    folder: Path | None = None,
    progress: Callable[[str, int, int], None] = lambda _phase, _done, _total: None,
) -> Fit:
    """Fit the refusal direction on fitting prompts and choose it on validation prompts (Arditi et al. 2406.11717).

    prompts: the user's own, harmful and plain; built-in ones when left out. folder: where the fit is cached for the
    next time. Raises NoRefusal when the model refuses too few of the prompts or all, NoDirection when no candidate is
    within the bounds.
    """
    config, prompts = config or DirectionConfig(), prompts or builtin_sets()
    parts = (
        plainly(prompts.take("harmful", "fit", config.n)),
        plainly(prompts.take("plain", "fit", config.n)),
        plainly(prompts.take("harmful", "validation", config.choose)),
        plainly(prompts.take("plain", "validation", config.choose)),
    )
    grid, bounds = config.grid_for(engine.n_layers), config.bounds_for(engine.name)
    origin = {"prompts": prompts.record(), "search": asdict(replace(config, grid=grid, bounds=bounds))}
    texts = [[conversation.prompt.text for conversation in part] for part in parts]

    def make() -> Fit:
        found = choose_direction(engine, *parts, grid, bounds,
                                 lambda done, total: progress("trying directions", done, total))  # fmt: skip
        return replace(found, direction=_told(found.direction, origin), difference=_told(found.difference, origin))

    return cached(folder, "refusal direction", [origin, texts], engine.fingerprint, make)


def fit_refusal_direction(
    engine: WhiteBoxEngine,
    harmful: Source | None = None,
    harmless: Source | None = None,
    config: DirectionConfig | None = None,
    progress: Callable[[str, int, int], None] = lambda _phase, _done, _total: None,
) -> Direction:
    """A model's refusal direction: `search_direction`'s, without what it was chosen among.

    harmful, harmless: the user's own prompts, as files, set names, texts or prompts (`prompts.own_sets` divides them
    between fitting and choosing); built-in ones where left out.
    """
    own = None if harmful is None and harmless is None else own_sets(harmful or "harmful", harmless or "plain")
    return search_direction(engine, config, own, None, progress).direction


def _told(made: T, origin: Mapping[str, object]) -> T:
    """The same with more in its origin."""
    return replace(made, origin={**origin, **made.origin})


def refusal_direction(
    engine: WhiteBoxEngine,
    given: Direction | str | Path | None = None,
    prompts: PromptSets | None = None,
    folder: Path | None = None,
    progress: Callable[[str, int, int], None] = lambda _phase, _done, _total: None,
) -> Direction:
    """The direction that was given, in memory or as a file of this model; else the one that
    `search_direction` finds with its defaults. Every experiment comes by its direction here."""
    if isinstance(given, Direction):
        return given
    if given is not None:
        return load_direction(given, engine.fingerprint.weights)
    return search_direction(engine, None, prompts, folder, progress).direction


def direction_or_why(
    engine: WhiteBoxEngine,
    given: Direction | str | Path | None = None,
    prompts: PromptSets | None = None,
    folder: Path | None = None,
    progress: Callable[[str, int, int], None] = lambda _phase, _done, _total: None,
) -> tuple[Direction | None, list[str]]:
    """`refusal_direction`, or None and a line that says why, for a model that has none within the bounds."""
    try:
        return refusal_direction(engine, given, prompts, folder, progress), []
    except (NoDirection, NoRefusal) as problem:
        return None, [f"This model has no refusal direction: {problem}"]
