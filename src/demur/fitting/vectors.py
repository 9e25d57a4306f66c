"""Fitting steering vectors on contrast pairs, with the null that a vector must clear.

read "text": the mean over the tokens of the full answer. read "letter": the answer's letter, behind the question with
its choices (CAA, Rimsky et al. 2312.06681). A vector that steers no more than vectors fitted on pairs of which a
random half is turned round has found nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from demur.directions.contrast import contrast, shuffled
from demur.directions.vectors import steering_vector
from demur.engines.base import WhiteBoxEngine
from demur.errors import InputError, unknown
from demur.evaluation.pairs import READS, answers, asked, texts_of
from demur.fitting.norms import activation_norms
from demur.prompts import uses
from demur.prompts.pairs import Pair
from demur.types import Conversation, Site, SteeringVector


@dataclass(frozen=True)
class Contrasts:
    """What each pair's two answers are like at some sites."""

    matching: dict[Site, Float[Tensor, "n d_model"]]
    other: dict[Site, Float[Tensor, "n d_model"]]


@dataclass(frozen=True)
class FittedVector:
    """A vector and vectors fitted on the same pairs with shuffled labels."""

    vector: SteeringVector
    nulls: tuple[SteeringVector, ...]


def contrasts(
    engine: WhiteBoxEngine,
    pairs: Sequence[Pair],
    sites: Sequence[Site],
    how: str = "text",
    progress: Callable[[int, int], None] | None = None,
) -> Contrasts:
    """Activations of both answers of each pair, float32. Raises UnknownName for another way of reading."""
    if how not in READS:
        raise unknown("way of reading answers", how, READS)
    talks = [(asked(p, how), side) for p in pairs for side in answers(p, how)]
    found = answer_means(engine, talks, sites, 1 if how == "letter" else None, progress)
    return Contrasts({s: x[::2] for s, x in found.items()}, {s: x[1::2] for s, x in found.items()})


def answer_means(
    engine: WhiteBoxEngine,
    talks: Sequence[tuple[Conversation, str]],
    sites: Sequence[Site],
    last: int | None = None,
    progress: Callable[[int, int], None] | None = None,
    most: int | None = None,
) -> dict[Site, Float[Tensor, "n d_model"]]:
    """The mean stream over each answer's tokens, prefilled ones among them, float32.

    last: over so many last tokens only. most: over so many first ones only. Raises InputError for an answer without a
    token.
    """
    rows = [engine.row(talk, answer) for talk, answer in talks]
    # Like lengths stand together, for batches are padded.
    order = sorted(range(len(rows)), key=lambda i: len(rows[i].tokens))
    found = {site: torch.empty(len(rows), engine.d_model) for site in sites}
    done = 0
    for batch in engine.read([rows[i] for i in order], list(sites)):
        for at in range(len(batch.mask)):
            row = rows[order[done]]
            start = row.prompt_length if last is None else len(row.tokens) - last
            if start >= len(row.tokens):
                raise InputError(f"the answer to {row.label!r} has no token; leave empty answers out.")
            end = len(row.tokens) if most is None else min(len(row.tokens), start + most)
            for site in sites:
                found[site][order[done]] = batch.tensors[site][at][start:end].float().mean(0).cpu()
            done += 1
        if progress is not None:
            progress(done, len(rows))
    return found


def fit_vector(
    engine: WhiteBoxEngine,
    pairs: Sequence[Pair],
    sites: Sequence[Site],
    how: str = "text",
    method: str = "mean",
    shuffles: int = 10,
    progress: Callable[[int, int], None] | None = None,
) -> FittedVector:
    """A vector at `sites` from fitting pairs, and `shuffles` null vectors.

    Raises InputError for pairs reserved for another use, or without pairs; BadVector when the sides are equal.
    """
    if not pairs:
        raise InputError("a vector is fitted on fitting pairs; give some.")
    uses.check(fitting=pairs)
    seen = contrasts(engine, pairs, sites, how, progress)
    norms = activation_norms(engine, sites)
    origin = {
        "method": f"{method} of contrast pairs",
        "read": how,
        "pairs": len(pairs),
        "texts": texts_of(pairs),
        "model": engine.name,
        "weights": engine.fingerprint.weights,
        "tokenizer": engine.fingerprint.tokenizer,
        "dtype": engine.fingerprint.dtype,
    }

    def fitted(turned: int | None) -> SteeringVector:
        sides = {
            site: (seen.matching[site], seen.other[site])
            if turned is None
            else shuffled(seen.matching[site], seen.other[site], turned)
            for site in sites
        }
        made = {site: contrast(a, b, method) for site, (a, b) in sides.items()}
        return steering_vector(made, {**origin, **({} if turned is None else {"shuffled": turned})}, norms)

    return FittedVector(fitted(None), tuple(fitted(seed) for seed in range(shuffles)))
