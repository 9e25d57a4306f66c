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
from dataclasses import asdict, replace

import torch
from jaxtyping import Float
from torch import Tensor

from demur.directions.difference import difference_of_means
from demur.engines.base import WhiteBoxEngine
from demur.errors import InputError, NonFinite
from demur.fitting.candidates import Bounds, Candidate, Fit, Grid, Keep, SearchState, best_of
from demur.fitting.norms import activation_norms
from demur.fitting.openings import Openings, measure_openings
from demur.interventions import Intervention, ablate, add
from demur.prompts import uses
from demur.stats import auroc
from demur.types import Conversation, Direction, Site, SteeringVector

MAX_DEPTH = 0.8


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
