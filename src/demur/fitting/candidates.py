"""Choosing the refusal direction among candidates (Arditi et al. 2406.11717, algorithm 1), in stages.

Candidates are differences of means at block inputs over the template's last tokens, below 80% of depth. The one kept
has the lowest refusal score on harmful validation prompts under ablation everywhere, among those that leave harmless
ones alone (KL <= 0.1 at the last token) and induce refusal when added (score >= 0).

The paper measures all three on every candidate. Here the dear ones come last: how well a candidate's projections tell
harmful from harmless validation prompts costs one pass for all; ablation is measured on the best of those; addition on
the few that it is left between.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from demur.directions.difference import difference_of_means
from demur.engines.base import WhiteBoxEngine
from demur.errors import InputError, NoDirection, NonFinite
from demur.fitting.norms import activation_norms
from demur.fitting.openings import Openings, measure_openings
from demur.interventions import Intervention, ablate, add
from demur.prompts import uses
from demur.stats import auroc
from demur.types import Conversation, Direction, Site, SteeringVector

MAX_DEPTH = 0.8
KEPT = 16
"""Candidates whose ablation is measured, where nothing else is asked for."""
MOST_RELAXED = 32
"""Steps after which bounds that no candidate keeps are given up."""


@dataclass(frozen=True)
class Grid:
    """Which candidates are tried."""

    layer_step: int = 1
    """Every n-th layer."""
    tail: int = 5
    """How many of the prompt's last tokens are positions of their own."""
    positions: tuple[int, ...] | None = None
    """Only these, counted from the end (-1 is the last token); None: all of the tail."""
    ablated: int | None = KEPT
    """How many of them are ablated, the best separated first; None: everything is measured on all of them."""


@dataclass(frozen=True)
class Bounds:
    """What a candidate may cost; the defaults are the paper's."""

    max_kl: float = 0.1
    """KL of the first answer token on harmless prompts under ablation, nats."""
    min_induced: float = 0.0
    """Refusal score of harmless prompts when the raw difference is added."""

    def allows(self, candidate: Candidate) -> bool:
        """Is a candidate within the bounds? False for one that was not measured."""
        kl, induced = candidate.kl, candidate.induced
        return kl is not None and induced is not None and kl <= self.max_kl and induced >= self.min_induced

    def relaxed(self, times: int) -> Bounds:
        """The bounds after so many steps: the KL's doubled each time, the refusal score's lower by 1, 3, 7, ..."""
        return Bounds(self.max_kl * 2**times, self.min_induced - (2**times - 1))


@dataclass(frozen=True)
class Candidate:
    """One candidate's scores on validation prompts; None for what the search did not come to measure."""

    layer: int
    position: int
    ablated: float | None = None
    """Mean refusal score of harmful prompts when it is ablated everywhere; lower is better."""
    kl: float | None = None
    """Mean KL(unsteered || ablated) of the first answer token on harmless prompts, nats."""
    induced: float | None = None
    """Mean refusal score of harmless prompts when the raw difference is added at its layer."""
    separation: float | None = None
    """How well its projections tell harmful from harmless prompts (`separation`)."""


Keep = Callable[[str, Callable[[], Any]], Any]
"""(name, make) -> what `make` gives, as JSON: from where it was kept under that name, or made and kept."""


@dataclass(frozen=True)
class SearchState:
    """What a search has already, and whom it tells how far it is."""

    openings: Openings | None = None
    """Those of the fitting prompts; measured when left out."""
    keep: Keep = lambda _name, make: make()
    """Where each candidate's scores are kept, so that a search with other bounds, or broken off, makes none twice."""
    progress: Callable[[int, int], None] = lambda _done, _total: None
    """Called with how many candidates were ablated, of how many."""


@dataclass(frozen=True)
class Fit:
    """The chosen direction, and all that were tried."""

    direction: Direction
    difference: SteeringVector
    """The raw difference of means at the direction's site, unnormalised."""
    candidates: tuple[Candidate, ...]
    openings: Openings


def choose_direction(
    engine: WhiteBoxEngine,
    harmful: Sequence[Conversation],
    harmless: Sequence[Conversation],
    validation_harmful: Sequence[Conversation],
    validation_harmless: Sequence[Conversation],
    grid: Grid | None = None,
    bounds: Bounds | None = None,
    state: SearchState | None = None,
) -> Fit:
    """Fit on `harmful` against `harmless`, choose on the validation prompts.

    Where no candidate is within the bounds, the one that needs them relaxed least is taken (`best_of`), and its origin
    says so in `bounds_relaxed`. Raises InputError when the splits leak (`prompts.uses`) or the grid is empty.
    """
    grid, bounds, state = grid or Grid(), bounds or Bounds(), state or SearchState()
    uses.check(fitting=[*harmful, *harmless], validation=[*validation_harmful, *validation_harmless])
    openings = state.openings or measure_openings(engine, harmful, harmless)
    places = _places(grid, engine.n_layers)
    found = _differences(engine, grid, places, (harmful, harmless), (validation_harmful, validation_harmless))
    tried = dict(zip(places, [Candidate(*place, separation=value) for place, (_, value) in
                              zip(places, found, strict=True)], strict=True))  # fmt: skip
    vectors = dict(zip(places, [vector for vector, _ in found], strict=True))
    measure = _Measure(engine, openings, validation_harmful, validation_harmless, state.keep)
    best = sorted(places, key=lambda place: -(tried[place].separation or 0.0))[: grid.ablated]
    state.progress(0, len(best))
    for done, place in enumerate(best, 1):
        tried[place] = measure.ablated(tried[place], vectors[place])
        state.progress(done, len(best))

    def add_one(candidate: Candidate) -> Candidate:
        place = candidate.layer, candidate.position
        tried[place] = measure.added(candidate, vectors[place])
        return tried[place]

    if grid.ablated is None:
        for place in best:
            add_one(tried[place])
    chosen, times = best_of([tried[place] for place in best], bounds, add_one)
    vector = vectors[chosen.layer, chosen.position]
    return _fit(engine, chosen, times, vector, [tried[place] for place in places], openings)


def best_of(
    candidates: Sequence[Candidate], bounds: Bounds, added: Callable[[Candidate], Candidate] = lambda one: one
) -> tuple[Candidate, int]:
    """The candidate whose ablation lowers the refusal score most among those within the bounds, and 0.

    Where none is, the bounds are relaxed step by step until one is, and the number of steps comes with it; after
    MOST_RELAXED steps they hold no more. added: measures what a candidate induces; called once for those that it is
    needed of. Raises NoDirection when no candidate has finite scores.
    """
    sound = [c for c in candidates if _finite(c.kl) and _finite(c.ablated)]
    sound.sort(key=lambda candidate: candidate.ablated or 0.0)
    for times in range(MOST_RELAXED + 1):
        now = bounds.relaxed(times) if times < MOST_RELAXED else Bounds(math.inf, -math.inf)
        for i, candidate in enumerate(sound):
            if candidate.kl is not None and candidate.kl <= now.max_kl:
                if candidate.induced is None:
                    candidate = sound[i] = added(candidate)
                if now.allows(candidate) and _finite(candidate.induced):
                    return candidate, times
    raise NoDirection(
        f"none of {len(candidates)} candidates for a refusal direction has finite scores; use fp32 or more prompts."
    )


def _finite(value: float | None) -> bool:
    return value is not None and math.isfinite(value)


def _places(grid: Grid, n_layers: int) -> list[tuple[int, int]]:
    """(layer, position) of every candidate. Raises InputError for none."""
    depth = max(1, int(MAX_DEPTH * n_layers))
    layers = [layer for layer in range(0, depth, grid.layer_step) if layer > 0 or depth == 1]
    positions = grid.positions or tuple(range(-grid.tail, 0))
    if not layers:
        raise InputError(f"every {grid.layer_step}th layer of the first {depth} is none; take a smaller layer step.")
    if not all(-grid.tail <= position < 0 for position in positions):
        raise InputError(f"positions {positions} are counted from the end; choose among -{grid.tail} to -1.")
    return [(layer, position) for layer in layers for position in positions]


def _differences(
    engine: WhiteBoxEngine,
    grid: Grid,
    places: Sequence[tuple[int, int]],
    fitting: tuple[Sequence[Conversation], Sequence[Conversation]],
    validation: tuple[Sequence[Conversation], Sequence[Conversation]],
) -> list[tuple[Tensor, float]]:
    """The difference of means and the separation of each candidate, in order."""
    sites = [Site(layer, "pre") for layer in dict.fromkeys(layer for layer, _ in places)]
    high, low = (engine.activations(some, sites, tail=grid.tail) for some in fitting)
    means = {site: difference_of_means(high, low, site) for site in sites}
    seen = [engine.activations(some, sites, tail=grid.tail) for some in validation]
    found = []
    for layer, position in places:
        site = Site(layer, "pre")
        vector = means[site][position]
        streams = [part.tensors[site][:, position] for part in seen]
        found.append((vector, separation(vector, *streams)))
    return found


def separation(
    difference: Float[Tensor, " d_model"], harmful: Float[Tensor, "n d_model"], harmless: Float[Tensor, "m d_model"]
) -> float:
    """How far a difference of means sets two kinds of prompts apart: the AUROC of their projections on it, times its
    length in units of the stream's median norm.

    The AUROC alone is 1 for most candidates, and says nothing of how much of the stream they are (docs/log.md).
    """
    projections = torch.cat([harmful @ difference, harmless @ difference])
    area = auroc([True] * len(harmful) + [False] * len(harmless), projections.tolist())
    norm = torch.cat([harmful, harmless]).norm(dim=-1).median()
    return area * float(difference.norm() / norm)


class _Measure:
    """The dear scores of candidates, each measured once."""

    def __init__(
        self,
        engine: WhiteBoxEngine,
        openings: Openings,
        harmful: Sequence[Conversation],
        harmless: Sequence[Conversation],
        keep: Keep,
    ):
        self.engine, self.openings, self.keep = engine, openings, keep
        self.harmful, self.harmless = harmful, harmless
        self.before: Tensor | None = None

    def ablated(self, candidate: Candidate, vector: Tensor) -> Candidate:
        """With `ablated` and `kl`."""

        ablation = ablate(Direction(vector / vector.norm(), Site(candidate.layer, "pre"), 1.0))

        name = f"ablated {candidate.layer} {candidate.position}"
        ablated, kl = self.keep(name, lambda: self._ablated(ablation))
        return replace(candidate, ablated=ablated, kl=kl)

    def added(self, candidate: Candidate, vector: Tensor) -> Candidate:
        """With `induced`."""

        addition = add(SteeringVector({Site(candidate.layer, "pre"): vector}), 1.0)
        induced = self.keep(f"added {candidate.layer} {candidate.position}",
                            lambda: _number(self._score, self.harmless, addition))  # fmt: skip
        return replace(candidate, induced=math.nan if induced is None else induced)

    def _score(self, conversations: Sequence[Conversation], steer: Intervention) -> float:
        return float(self.openings.scores(self.engine, conversations, steer).mean())

    def _ablated(self, ablation: Intervention) -> list[float | None]:
        """Refusal score of the harmful prompts and KL on the harmless ones, from one pass over both."""
        if self.before is None:
            self.before = torch.log_softmax(self.engine.last_logits(self.harmless).double(), -1)
        before = self.before
        try:
            logits = self.engine.last_logits([*self.harmful, *self.harmless], ablation)
        except NonFinite:
            return [None, None]
        known = logits[: len(self.harmful)]
        score = _number(lambda: float(self.openings.scores(self.engine, self.harmful, ablation, known).mean()))
        after = torch.log_softmax(logits[len(self.harmful) :].double(), -1)
        return [score, _number(lambda: float((before.exp() * (before - after)).sum(-1).mean()))]


def _number(measure: Callable[..., float], *about: object) -> float | None:
    """What is measured, None where the model breaks or it is no finite number: JSON has no NaN."""
    try:
        value = measure(*about)
    except NonFinite:
        return None
    return value if math.isfinite(value) else None


def _fit(
    engine: WhiteBoxEngine,
    chosen: Candidate,
    relaxed: int,
    vector: Tensor,
    candidates: list[Candidate],
    openings: Openings,
) -> Fit:
    site = Site(chosen.layer, "pre")
    norm = activation_norms(engine, [site])[site]
    made = {
        "method": "difference of means (Arditi et al. 2406.11717)",
        "position": chosen.position,
        "scores": asdict(chosen),
        "bounds_relaxed": relaxed,
        "candidates": len(candidates),
        "model": getattr(getattr(engine, "model", None), "name", engine.fingerprint.engine),
        "weights": engine.fingerprint.weights,
        "tokenizer": engine.fingerprint.tokenizer,
        "template": engine.fingerprint.template,
        "dtype": engine.fingerprint.dtype,
        "openings_auroc": openings.auroc,
    }
    direction = Direction(vector / vector.norm(), site, norm, made)
    return Fit(direction, SteeringVector({site: vector}, {site: norm}, made), tuple(candidates), openings)
