"""Candidates for the refusal direction: which there are, what one may cost, and which of them is taken."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from demur.errors import NoDirection
from demur.fitting.openings import Openings
from demur.types import Direction, SteeringVector

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
