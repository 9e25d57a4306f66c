"""Choosing the refusal direction among candidates (Arditi et al. 2406.11717, algorithm 1).

Candidates are differences of means at block inputs over the template's last tokens. The one kept has
the lowest refusal score on harmful validation prompts under ablation everywhere, among those that
leave harmless ones alone (KL <= 0.1 at the last token), induce refusal when added (score >= 0), and lie
below 80% of depth.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass

import torch
from torch import Tensor

from demur.directions.difference import difference_of_means
from demur.engines.base import WhiteBoxEngine
from demur.errors import InputError, NoDirection
from demur.fitting.norms import activation_norms
from demur.fitting.openings import Openings, measure_openings
from demur.interventions import ablate, add
from demur.prompts import uses
from demur.types import Conversation, Direction, Site, SteeringVector

MAX_DEPTH = 0.8
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


@dataclass(frozen=True)
class Bounds:
    """What a candidate may cost; the defaults are the paper's."""

    max_kl: float = 0.1
    """KL of the first answer token on harmless prompts under ablation, nats."""
    min_induced: float = 0.0
    """Refusal score of harmless prompts when the raw difference is added."""

    def allows(self, candidate: Candidate) -> bool:
        """Is a candidate within the bounds?"""
        return candidate.kl <= self.max_kl and candidate.induced >= self.min_induced

    def relaxed(self, times: int) -> Bounds:
        """The bounds after so many steps: the KL's doubled each time, the refusal score's lower by 1, 3, 7, ..."""
        return Bounds(self.max_kl * 2**times, self.min_induced - (2**times - 1))


@dataclass(frozen=True)
class Candidate:
    """One candidate's scores on validation prompts."""

    layer: int
    position: int
    ablated: float
    """Mean refusal score of harmful prompts when it is ablated everywhere; lower is better."""
    kl: float
    """Mean KL(unsteered || ablated) of the first answer token on harmless prompts, nats."""
    induced: float
    """Mean refusal score of harmless prompts when the raw difference is added at its layer."""


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
    progress: Callable[[int, int], None] | None = None,
    openings: Openings | None = None,
) -> Fit:
    """Fit on `harmful` against `harmless`, choose on the validation prompts.

    openings: those of the fitting prompts; measured when left out. Where no candidate is within the bounds, the one
    that needs them relaxed least is taken (`best_of`), and its origin says so in `bounds_relaxed`. Raises InputError
    when the splits leak (`prompts.uses`) or the grid is empty.
    """
    grid, bounds = grid or Grid(), bounds or Bounds()
    uses.check(fitting=[*harmful, *harmless], validation=[*validation_harmful, *validation_harmless])
    openings = openings or measure_openings(engine, harmful, harmless)
    depth = max(1, int(MAX_DEPTH * engine.n_layers))
    sites = [Site(layer, "pre") for layer in range(0, depth, grid.layer_step) if layer > 0 or depth == 1]
    positions = grid.positions or tuple(range(-grid.tail, 0))
    if not sites:
        raise InputError(f"every {grid.layer_step}th layer of the first {depth} is none; take a smaller layer step.")
    if not all(-grid.tail <= position < 0 for position in positions):
        raise InputError(f"positions {positions} are counted from the end; choose among -{grid.tail} to -1.")
    total, told = len(sites) * len(positions), progress or (lambda _done, _total: None)
    told(0, total)
    high = engine.activations(harmful, sites, tail=grid.tail)
    low = engine.activations(harmless, sites, tail=grid.tail)
    before = torch.log_softmax(engine.last_logits(validation_harmless).double(), -1)
    tried: list[tuple[Candidate, Tensor]] = []
    for site in sites:
        differences = difference_of_means(high, low, site)
        for position in positions:
            vector = differences[position]
            tried.append((_score(engine, openings, site, position, vector, before, validation_harmful,
                                 validation_harmless), vector))  # fmt: skip
            told(len(tried), total)
    chosen, times = best_of([candidate for candidate, _ in tried], bounds)
    vector = next(vector for candidate, vector in tried if candidate is chosen)
    return _fit(engine, chosen, times, vector, [candidate for candidate, _ in tried], openings)


def best_of(candidates: Sequence[Candidate], bounds: Bounds) -> tuple[Candidate, int]:
    """The candidate whose ablation lowers the refusal score most among those within the bounds, and 0.

    Where none is, the bounds are relaxed step by step until one is, and the number of steps comes with it; after
    MOST_RELAXED steps they hold no more. Raises NoDirection when no candidate has finite scores.
    """
    sound = [c for c in candidates if all(map(math.isfinite, (c.kl, c.induced, c.ablated)))]
    if not sound:
        raise NoDirection(
            f"none of {len(candidates)} candidates for a refusal direction has finite scores; use fp32 or more prompts."
        )
    for times in range(MOST_RELAXED):
        if allowed := [candidate for candidate in sound if bounds.relaxed(times).allows(candidate)]:
            return min(allowed, key=lambda candidate: candidate.ablated), times
    return min(sound, key=lambda candidate: candidate.ablated), MOST_RELAXED


def _score(
    engine: WhiteBoxEngine,
    openings: Openings,
    site: Site,
    position: int,
    vector: Tensor,
    before: Tensor,
    harmful: Sequence[Conversation],
    harmless: Sequence[Conversation],
) -> Candidate:
    direction = Direction(vector / vector.norm(), site, 1.0)
    ablation = ablate(direction)
    after = torch.log_softmax(engine.last_logits(harmless, ablation).double(), -1)
    kl = float((before.exp() * (before - after)).sum(-1).mean())
    ablated = float(openings.scores(engine, harmful, ablation).mean())
    addition = add(SteeringVector({site: vector}), 1.0)
    induced = float(openings.scores(engine, harmless, addition).mean())
    return Candidate(site.layer, position, ablated, kl, induced)


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
