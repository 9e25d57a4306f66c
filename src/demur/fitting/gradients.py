"""Refusal gradients: the directions at a site along which the refusal score changes fastest.

A difference of means says how harmful requests differ from harmless ones. Adding a vector at a site acts on what the
layers behind it take for refusal, and that is what the score's gradient there says; fitted on requests in wrappers too,
for under attack it is another one. Refusal directions by gradient: arXiv 2502.17420; this construction is demur's.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import count

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from demur.attacks import attack
from demur.directions.subspace import leading
from demur.engines.base import WhiteBoxEngine, refusal_scores
from demur.fitting.openings import Openings
from demur.interventions import Intervention, add, at
from demur.prompts import uses
from demur.types import Conversation, Prompt, Site, SteeringVector, Subspace

WRAPPERS = (
    "direct",
    "prefix_injection",
    "refusal_suppression",
    "persona",
    "fiction",
    "authority",
    "prefill",
    "few_shot",
    "continuation",
)
"""Attack families in plain language, of one turn; an encoding leaves a small model without a refusal to move."""


def wrapped(prompts: Sequence[Prompt], families: Sequence[str] = WRAPPERS) -> list[Conversation]:
    """Each prompt once: bare, or in one of the wrappers, in turn."""
    return [attack(prompt, families[i % len(families)]) for i, prompt in enumerate(prompts)]


def first_tokens(openings: Openings) -> list[int]:
    """The tokens that refusals begin with: what a score that has a gradient goes by."""
    return sorted({sequence[0] for sequence in openings.sequences})


def slopes(
    engine: WhiteBoxEngine,
    conversations: Sequence[Conversation],
    sites: Sequence[Site],
    tokens: Sequence[int],
    steer: Intervention | None = None,
    reached: Sequence[Bool[Tensor, " _"]] | None = None,
    progress: Callable[[int, int], None] = lambda _done, _total: None,
) -> dict[Site, Float[Tensor, "n d_model"]]:
    """d refusal score / d a vector added from the last template token on, float64.

    steer: at the stream as this intervention leaves it. reached: `steered_tokens`, when it is known. progress gets
    (conversations done, in all).
    """
    done = count(1)

    def score(logits: Tensor, _index: Tensor) -> Tensor:
        progress(next(done), len(conversations))
        return refusal_scores(logits, tokens)

    values = None
    if steer is not None:
        streams = engine.activations(conversations, sites, None, steer)
        by_site = {site: streams.rows(site) for site in sites}
        values = [{site: by_site[site][i] for site in sites} for i in range(len(conversations))]
    found = engine.gradients(conversations, sites, score, values)
    reached = reached if reached is not None else steered_tokens(engine, conversations, sites[0])
    return {site: torch.stack([rows[mask].double().sum(0) for rows, mask in zip(found[site], reached, strict=True)])
            for site in sites}  # fmt: skip


def steered_tokens(
    engine: WhiteBoxEngine, conversations: Sequence[Conversation], site: Site
) -> list[Bool[Tensor, " _"]]:
    """The prompt tokens that steering from the last template token on reaches, read off what it does: that token, and
    an answer's prefilled ones."""
    streams = [engine.activations(conversations, [site]).rows(site)]
    nudge = SteeringVector({site: torch.full_like(streams[0][0][-1], float(streams[0][0].norm()))})
    streams.append(engine.activations(conversations, [site], None, at("from-last", add(nudge, 1.0))).rows(site))
    return [(a != b).any(-1) for a, b in zip(*streams, strict=True)]


def gradient_subspaces(
    engine: WhiteBoxEngine,
    conversations: Sequence[Conversation],
    sites: Sequence[Site],
    openings: Openings,
    k: int = 5,
    progress: Callable[[int, int], None] = lambda _done, _total: None,
) -> dict[Site, Subspace]:
    """At each site the k directions that carry most of the conversations' gradients, each taken as long as another.

    The first is close to their mean, and points to refusal. Raises InputError for conversations of another use.
    """
    uses.check(fitting=conversations)
    found = slopes(engine, conversations, sites, first_tokens(openings), progress=progress)
    origin = {"method": "SVD of gradients of the refusal score", "conversations": len(conversations)}
    return {site: leading(rows / rows.norm(dim=-1, keepdim=True).clamp(min=1e-12), site, k, origin)
            for site, rows in found.items()}  # fmt: skip
