"""Cleaning a steering vector of what it does to refusal: a constrained edit.

Least change of the vector that takes away its change of the refusal score, by Gauss-Newton steps: at the vector as it
stands, each prompt's change of score is a residual and its gradient a row; the step is the shortest that undoes the
residuals (damped). What projection removes by geometry, this removes by effect, through all later layers and at
several sites together. Follows the idea of constrained optimisation in arXiv 2608.08383; the method is demur's own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from demur.directions.vectors import steering_vector
from demur.engines.base import Engine, refusal_scores
from demur.errors import InputError
from demur.interventions import Intervention, add, at
from demur.selection.openings import Openings
from demur.types import Conversation, Site, SteeringVector


@dataclass(frozen=True)
class Step:
    """How a step left the vector."""

    change: float
    """Root mean square change of the refusal score on validation prompts, over the doses."""
    edit: float
    """Length of the whole edit, relative to the vector's."""


@dataclass(frozen=True)
class Cleaned:
    """An edited vector, and how it got there; step 0 is the vector as given."""

    vector: SteeringVector
    steps: tuple[Step, ...]


def steered(vector: SteeringVector, dose: float) -> Intervention:
    """The vector as the audit uses it: from the last prompt token on."""
    return at("from-last", add(vector, dose))


def constrained_edit(
    engine: Engine,
    vector: SteeringVector,
    conversations: Sequence[Conversation],
    validation: Sequence[Conversation],
    openings: Openings,
    doses: Sequence[float] = (-1.0, 1.0),
    steps: int = 4,
    damping: float = 0.1,
    longest: float = 0.6,
) -> Cleaned:
    """Edit `vector` on fitting conversations until validation ones stop improving.

    longest: the edit's greatest length, relative to the vector's; it bounds what is lost of the behaviour. Raises
    InputError for conversations of another use.
    """
    wrong = {c.prompt.use for c in conversations} - {None, "fit"}
    wrong |= {c.prompt.use for c in validation} - {None, "validation"}
    if wrong or not conversations or not validation:
        raise InputError(f"a vector is edited on fitting prompts and judged on validation ones; got {wrong or 'none'}.")
    sites, tokens = sorted(vector.vectors), sorted({sequence[0] for sequence in openings.sequences})
    base, held = _scores(engine, conversations, tokens), _scores(engine, validation, tokens)
    flat = torch.cat([vector.vectors[site] for site in sites]).double()
    best, current = flat, flat
    path = [_measured(engine, vector, flat, flat, validation, tokens, held, doses)]
    for _ in range(steps):
        now = _unflat(vector, current)
        rows, residuals = [], []
        for dose in doses:
            steer = steered(now, dose)
            residuals.append(_scores(engine, conversations, tokens, steer) - base)
            rows.append(dose * _slopes(engine, conversations, sites, steer, tokens))
        gradient, residual = torch.cat(rows), torch.cat(residuals)
        gram = gradient @ gradient.T
        gram += damping * float(gram.diagonal().mean()) * torch.eye(len(gram), dtype=gram.dtype)
        current = current - gradient.T @ torch.linalg.solve(gram, residual)
        edit = current - flat
        current = flat + edit * min(1.0, longest * float(flat.norm()) / max(float(edit.norm()), 1e-12))
        path.append(_measured(engine, vector, current, flat, validation, tokens, held, doses))
        if path[-1].change < min(step.change for step in path[:-1]):
            best = current
        else:
            break
    made = _unflat(vector, best)
    return Cleaned(replace(made, origin={**vector.origin, "cleaned": "constrained edit"}), tuple(path))


def _measured(
    engine: Engine,
    like: SteeringVector,
    flat: Tensor,
    start: Tensor,
    validation: Sequence[Conversation],
    tokens: list[int],
    held: Tensor,
    doses: Sequence[float],
) -> Step:
    vector = _unflat(like, flat)
    changes = [_scores(engine, validation, tokens, steered(vector, dose)) - held for dose in doses]
    return Step(float(torch.cat(changes).square().mean().sqrt()), float((flat - start).norm() / start.norm()))


def _slopes(
    engine: Engine, conversations: Sequence[Conversation], sites: Sequence[Site], steer: Intervention, tokens: list[int]
) -> Tensor:
    """d refusal score / d vector at dose 1, [n, sites x d_model] float64: only the last prompt token is steered yet."""
    streams = engine.activations(conversations, sites, None, steer)
    by_site = {site: streams.rows(site) for site in sites}
    values = [{site: by_site[site][i] for site in sites} for i in range(len(conversations))]
    found = engine.gradients(conversations, sites, lambda logits, _index: refusal_scores(logits, tokens), values)
    return torch.cat([torch.stack([rows[-1] for rows in found[site]]).double() for site in sites], -1)


def _scores(
    engine: Engine, conversations: Sequence[Conversation], tokens: list[int], steer: Intervention | None = None
) -> Tensor:
    """The refusal score by the openings' first tokens, of which a gradient can be had."""
    return refusal_scores(engine.last_logits(conversations, steer), tokens)


def _unflat(like: SteeringVector, flat: Tensor) -> SteeringVector:
    sites = sorted(like.vectors)
    parts = flat.float().split([len(like.vectors[site]) for site in sites])
    return steering_vector(dict(zip(sites, parts, strict=True)), like.origin, like.norms)
