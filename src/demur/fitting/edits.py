"""Cleaning a steering vector of what it does to refusal: projection, as far as it helps, and a constrained edit.

The edit: least change of the vector that takes away its change of the refusal score, by Gauss-Newton steps: at the
vector as it stands, each prompt's change of score is a residual and its gradient a row; the step is the shortest that
undoes the residuals (damped). What projection removes by geometry, this removes by effect, through all later layers and
at several sites together. Follows the idea of constrained optimisation in arXiv 2608.08383; the method is demur's own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from demur.directions.subspace import projected_out
from demur.directions.vectors import steering_vector
from demur.engines.base import WhiteBoxEngine, refusal_scores
from demur.errors import BadVector
from demur.fitting.gradients import first_tokens, slopes, steered_tokens
from demur.fitting.openings import Openings
from demur.interventions import Intervention, add, at
from demur.prompts import uses
from demur.types import Conversation, Site, SteeringVector

ENOUGH = 0.95
"""Share of what the best number of directions takes from the change at which no more are projected out."""


@dataclass(frozen=True)
class Step:
    """How a step left the vector."""

    change: float
    """Root mean square change of the refusal score on validation prompts, over the doses."""
    edit: float
    """Length of the whole edit, relative to the vector's."""


@dataclass(frozen=True)
class EditConfig:
    """How an edit is made."""

    steps: int = 4
    """Gauss-Newton steps at most."""
    damping: float = 0.1
    """Relative to the mean of the Gram matrix's diagonal."""
    longest: float = 0.6
    """The edit's greatest length, relative to the vector's; it bounds what is lost of the behaviour."""


@dataclass(frozen=True)
class Cleaned:
    """A cleaned vector, and how it got there; step 0 is the vector as given."""

    vector: SteeringVector
    steps: tuple[Step, ...]
    taken: int
    """Which step it is: for projections, the number of directions."""


def steered(vector: SteeringVector, dose: float) -> Intervention:
    """The vector as the audit uses it: from the last prompt token on."""
    return at("from-last", add(vector, dose))


def projected(
    engine: WhiteBoxEngine,
    vector: SteeringVector,
    bases: Mapping[Site, Float[Tensor, "k d_model"]],
    validation: Sequence[Conversation],
    openings: Openings,
    doses: Sequence[float] = (-1.0, 1.0),
) -> Cleaned:
    """`vector` without the first directions of each site's basis: as few as take, of its change of the refusal score
    of validation conversations, nearly what the best number takes; none where none helps.

    bases: orthonormal rows for each of the vector's sites. Raises InputError for conversations that leak
    (`prompts.uses`).
    """
    uses.check(validation=validation)
    tokens = first_tokens(openings)
    held = _scores(engine, validation, tokens)
    tried = [vector]
    for k in range(1, max(len(basis) for basis in bases.values()) + 1):
        try:
            tried.append(projected_out(vector, {site: rows[:k] for site, rows in bases.items()}))
        except BadVector:  # nothing is left of it without k directions: fewer will have to do
            break
    path = [_measured(engine, one, vector, validation, tokens, held, doses) for one in tried]
    least = min(step.change for step in path)
    bound = least + (1 - ENOUGH) * (path[0].change - least)
    k = next(i for i, step in enumerate(path) if step.change <= bound)
    return Cleaned(tried[k], tuple(path), k)


def constrained_edit(
    engine: WhiteBoxEngine,
    vector: SteeringVector,
    conversations: Sequence[Conversation],
    validation: Sequence[Conversation],
    openings: Openings,
    doses: Sequence[float] = (-1.0, 1.0),
    config: EditConfig | None = None,
) -> Cleaned:
    """Edit `vector` on fitting conversations until validation ones stop improving.

    Raises InputError for conversations that leak (`prompts.uses`).
    """
    config = config or EditConfig()
    uses.check(fitting=conversations, validation=validation)
    sites, tokens = sorted(vector.vectors), first_tokens(openings)
    base, held = _scores(engine, conversations, tokens), _scores(engine, validation, tokens)
    given, reached = _flat(vector), steered_tokens(engine, conversations, sites[0])
    best, current = vector, vector
    path = [_measured(engine, vector, vector, validation, tokens, held, doses)]
    for _ in range(config.steps):
        rows, residuals = [], []
        for dose in doses:
            steer = steered(current, dose)
            residuals.append(_scores(engine, conversations, tokens, steer) - base)
            found = slopes(engine, conversations, sites, tokens, steer, reached)
            rows.append(dose * torch.cat([found[site] for site in sites], -1))
        gradient, residual = torch.cat(rows), torch.cat(residuals)
        gram = gradient @ gradient.T
        gram += config.damping * float(gram.diagonal().mean()) * torch.eye(len(gram), dtype=gram.dtype)
        edit = _flat(current) - gradient.T @ torch.linalg.solve(gram, residual) - given
        edit *= min(1.0, config.longest * float(given.norm()) / max(float(edit.norm()), 1e-12))
        current = _unflat(vector, given + edit)
        path.append(_measured(engine, current, vector, validation, tokens, held, doses))
        if path[-1].change < min(step.change for step in path[:-1]):
            best = current
        else:
            break
    taken = min(range(len(path)), key=lambda i: path[i].change)
    return Cleaned(replace(best, origin={**vector.origin, "cleaned": "constrained edit"}), tuple(path), taken)


def _measured(
    engine: WhiteBoxEngine,
    vector: SteeringVector,
    given: SteeringVector,
    validation: Sequence[Conversation],
    tokens: list[int],
    held: Tensor,
    doses: Sequence[float],
) -> Step:
    changes = [_scores(engine, validation, tokens, steered(vector, dose)) - held for dose in doses]
    edit = float((_flat(vector) - _flat(given)).norm() / _flat(given).norm())
    return Step(float(torch.cat(changes).square().mean().sqrt()), edit)


def _scores(
    engine: WhiteBoxEngine, conversations: Sequence[Conversation], tokens: list[int], steer: Intervention | None = None
) -> Tensor:
    """The refusal score by the openings' first tokens, of which a gradient can be had."""
    return refusal_scores(engine.last_logits(conversations, steer), tokens)


def _flat(vector: SteeringVector) -> Tensor:
    return torch.cat([vector.vectors[site] for site in sorted(vector.vectors)]).double()


def _unflat(like: SteeringVector, flat: Tensor) -> SteeringVector:
    sites = sorted(like.vectors)
    parts = flat.float().split([len(like.vectors[site]) for site in sites])
    return steering_vector(dict(zip(sites, parts, strict=True)), like.origin, like.norms)
