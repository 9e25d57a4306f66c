"""Refusal as more than one direction: fitting a subspace, and choosing how many directions of it count.

iterative: difference of means, found again while what was found before is ablated everywhere. categories: SVD of the
harm categories' mean differences (`directions.subspace.by_category`). How many: the fewest directions whose ablation
takes nearly as much from the refusal score of validation prompts as all do.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from demur.directions.difference import random_like
from demur.directions.subspace import by_category, first, orthonormal
from demur.engines.base import WhiteBoxEngine
from demur.errors import unknown
from demur.fitting.openings import Openings
from demur.interventions import Intervention, ablate, chain
from demur.prompts import uses
from demur.types import Conversation, Direction, Site, Subspace

CONSTRUCTIONS = ("categories", "iterative")
ENOUGH = 0.95
"""Share of the whole subspace's effect at which no more directions are taken."""


@dataclass(frozen=True)
class Effect:
    """What ablating does to the mean refusal score of validation prompts."""

    k: int
    score: float
    random: float
    """The same with k random directions."""
    alone: float
    """With the k-th direction alone."""


@dataclass(frozen=True)
class FittedSubspace:
    """A subspace with k chosen, and the curve it was chosen on."""

    subspace: Subspace
    """The first k directions."""
    unsteered: float
    curve: tuple[Effect, ...]


def ablated(subspace: Subspace, n_layers: int) -> Intervention:
    """Full ablation of every direction of a subspace."""
    return chain(*(ablate(d) for d in directions(subspace)))


def directions(subspace: Subspace) -> list[Direction]:
    """Its rows, one by one."""
    return [Direction(row, subspace.site, 1.0, {**subspace.origin, "row": i}) for i, row in enumerate(subspace.basis)]


def iterative(
    engine: WhiteBoxEngine, harmful: Sequence[Conversation], harmless: Sequence[Conversation], site: Site, k: int
) -> Subspace:
    """k directions at the last prompt token, each the difference of means while those before it are ablated."""
    found: list[torch.Tensor] = []
    for _ in range(k):
        steer = ablated(Subspace(torch.stack(found), site), engine.n_layers) if found else None
        means = [engine.activations(some, [site], 1, steer).last(site).double().mean(0) for some in (harmful, harmless)]
        basis = orthonormal([*found, means[0] - means[1]])
        if len(basis) == len(found):
            break
        found.append(basis[-1])
    return Subspace(torch.stack(found), site, {"method": "difference of means, found again under ablation"})


def fit_subspace(
    engine: WhiteBoxEngine,
    harmful: Sequence[Conversation],
    harmless: Sequence[Conversation],
    validation: Sequence[Conversation],
    site: Site,
    openings: Openings,
    construction: str = "iterative",
    k: int = 5,
) -> FittedSubspace:
    """Fit up to k directions on fitting prompts and keep as many as validation prompts ask for.

    openings: what the refusal score is measured by. Raises InputError for prompts that leak (`prompts.uses`),
    UnknownName for another construction.
    """
    uses.check(fitting=[*harmful, *harmless], validation=validation)
    if construction == "iterative":
        whole = iterative(engine, harmful, harmless, site, k)
    elif construction == "categories":
        groups = {c.prompt.category or "none" for c in harmful}
        rows = engine.activations(harmful, [site], 1).last(site)
        parts = {name: rows[[(c.prompt.category or "none") == name for c in harmful]] for name in sorted(groups)}
        base = engine.activations(harmless, [site], 1).last(site)
        whole = by_category(parts, base, site, min(k, len(parts)))
    else:
        raise unknown("construction of a subspace", construction, CONSTRUCTIONS)

    def score(some: Subspace | None) -> float:
        steer = None if some is None else ablated(some, engine.n_layers)
        return float(openings.scores(engine, validation, steer).mean())

    noise = orthonormal([random_like(row, i) for i, row in enumerate(whole.basis)])
    unsteered = score(None)
    curve = []
    for i in range(1, len(whole.basis) + 1):
        alone = Subspace(whole.basis[i - 1 : i], site)
        curve.append(Effect(i, score(first(whole, i)), score(Subspace(noise[:i], site)), score(alone)))
    most = max(unsteered - effect.score for effect in curve)
    enough = next(effect.k for effect in curve if unsteered - effect.score >= ENOUGH * most)
    return FittedSubspace(first(whole, enough), unsteered, tuple(curve))
