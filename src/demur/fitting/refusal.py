"""The one way to a model's refusal direction: given, read from a file, or fitted and cached."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from demur.attacks import unattacked
from demur.directions.anything import DirectionSource, load_direction
from demur.directions.artifact import tensor_hash
from demur.directions.vectors import as_vector, check_fits
from demur.engines.base import WhiteBoxEngine
from demur.errors import NoDirection, NoRefusal, check_sizes
from demur.fitting.cache import cached, cached_openings
from demur.fitting.candidates import Bounds, Fit, Grid, SearchState
from demur.fitting.direction_search import choose_direction
from demur.fitting.norms import activation_norms
from demur.prompts import uses
from demur.prompts.own import Source, own_sets
from demur.prompts.sets import PromptSets, builtin_sets
from demur.types import Direction, SteeringVector

T = TypeVar("T", Direction, SteeringVector)


@dataclass(frozen=True)
class DirectionConfig:
    """How the refusal direction is searched for: in stages by default, a minute or two on two cores."""

    n: int | None = 36
    """Fitting prompts of each kind; None: all."""
    choose: int | None = 12
    """Validation prompts of each kind that candidates are chosen on."""
    grid: Grid | None = None
    """Which layers and positions are candidates, and how many of them are ablated; None: `Grid`'s defaults."""
    bounds: Bounds = field(default_factory=Bounds)
    """What a candidate may cost; where none keeps them the one that exceeds them least is taken, and marked."""

    def __post_init__(self) -> None:
        check_sizes(n=self.n, choose=self.choose)


FULL = DirectionConfig(n=None, choose=32, grid=Grid(ablated=None))
"""Everything is measured on every candidate, on all prompts."""


def search_direction(
    engine: WhiteBoxEngine,
    config: DirectionConfig | None = None,
    prompts: PromptSets | None = None,
    folder: Path | None = None,
    progress: Callable[[str, int, int], None] = lambda _phase, _done, _total: None,
) -> Fit:
    """Fit the refusal direction on fitting prompts and choose it on validation prompts (Arditi et al. 2406.11717).

    prompts: the user's own, harmful and plain; built-in ones when left out. folder: where the fit is cached for the
    next time. Raises NoRefusal when the model refuses too few of the prompts or all.
    """
    config, prompts = config or DirectionConfig(), prompts or builtin_sets()
    parts = (
        unattacked(prompts.take("harmful", "fit", config.n)),
        unattacked(prompts.take("plain", "fit", config.n)),
        unattacked(prompts.take("harmful", "validation", config.choose)),
        unattacked(prompts.take("plain", "validation", config.choose)),
    )
    grid = config.grid or Grid()
    origin = {"prompts": prompts.record(), "search": asdict(replace(config, grid=grid))}
    texts = [[conversation.prompt.text for conversation in part] for part in parts]
    told = {**origin, "fitted_on": [prompts.fitted_on([text for some in texts for text in some])]}

    def keep(name: str, score: Callable[[], Any]) -> Any:
        """A candidate's score: whatever the bounds and the grid, it is the same."""
        return cached(folder, f"candidate {name}", [prompts.record(), texts], engine.fingerprint, score)

    def make() -> Fit:
        progress("finding how refusals begin", 0, 1)
        openings = cached_openings(folder, engine, *parts[:2])
        progress("finding how refusals begin", 1, 1)
        state = SearchState(openings, keep, partial(progress, "trying directions"))
        found = choose_direction(engine, *parts, grid, config.bounds, state)
        return replace(found, direction=_told(found.direction, told), difference=_told(found.difference, told))

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
    own = (
        None
        if harmful is None and harmless is None
        else own_sets("harmful" if harmful is None else harmful, "plain" if harmless is None else harmless)
    )
    return search_direction(engine, config, own, None, progress).direction


def _told(made: T, origin: Mapping[str, object]) -> T:
    """The same with more in its origin."""
    return replace(made, origin={**origin, **made.origin})


def refusal_direction(
    engine: WhiteBoxEngine,
    given: DirectionSource | None = None,
    prompts: PromptSets | None = None,
    folder: Path | None = None,
    progress: Callable[[str, int, int], None] = lambda _phase, _done, _total: None,
) -> Direction:
    """The direction that was given (`given_direction`); else the one that `search_direction` finds with its defaults.
    Every experiment comes by its direction here.

    Raises InputError for one that was fitted or chosen on what the prompts have for the test.
    """
    if given is None:
        return search_direction(engine, None, prompts, folder, progress).direction
    found = given_direction(engine, given, folder)
    uses.check_artifact(found.origin, prompts or builtin_sets())
    return found


def given_direction(engine: WhiteBoxEngine, given: DirectionSource, folder: Path | None = None) -> Direction:
    """A direction in memory or a file's, if it is this model's; without a norm it gets the one measured here.

    Raises as `load_direction`, and BadVector for another width or a layer that the model does not have.
    """
    direction = load_direction(given, engine.fingerprint.weights)
    check_fits(as_vector(direction), engine.d_model, engine.n_layers, engine.name)
    if not math.isnan(direction.norm):
        return direction
    about, site = [tensor_hash(direction.vector), str(direction.site)], direction.site
    return cached(folder, "given direction", about, engine.fingerprint,
                  lambda: replace(direction, norm=activation_norms(engine, [site])[site]))  # fmt: skip


def remarks(direction: Direction) -> list[str]:
    """What a reader must know of a direction: a line where no candidate kept the bounds of its search."""
    times = direction.origin.get("bounds_relaxed")
    asked = dict(direction.origin.get("search") or {}).get("bounds")
    if not isinstance(times, int) or not times or not isinstance(asked, Mapping):
        return []
    first, scores = Bounds(**asked), dict(direction.origin["scores"])
    return [
        f"No candidate for the refusal direction kept a KL of {first.max_kl:g} and an induced refusal score of "
        f"{first.min_induced:g} on validation prompts; of those that need them relaxed least the one whose ablation "
        f"does most was taken (site {direction.site}, KL {scores['kl']:.2f}, induced {scores['induced']:.1f})."
    ]


def direction_or_why(
    engine: WhiteBoxEngine,
    given: DirectionSource | None = None,
    prompts: PromptSets | None = None,
    folder: Path | None = None,
    progress: Callable[[str, int, int], None] = lambda _phase, _done, _total: None,
) -> tuple[Direction | None, list[str]]:
    """`refusal_direction` with its remarks, or None and a line that says why, for a model that refuses too little."""
    try:
        found = refusal_direction(engine, given, prompts, folder, progress)
        return found, remarks(found)
    except (NoDirection, NoRefusal) as problem:
        return None, [f"This model has no refusal direction: {problem}"]
