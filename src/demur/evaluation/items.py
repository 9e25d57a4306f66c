"""Multiple-choice items, scored by the log-likelihood of each choice, through the journal."""

from __future__ import annotations

from collections.abc import Sequence

from demur.engines.base import Engine, Scored
from demur.errors import InputError
from demur.evaluation.cached import cached, spec_of
from demur.interventions import Intervention
from demur.runs import Journal, score_key, source_hash
from demur.types import Item


def score_items(engine: Engine, items: Sequence[Item], intervention: Intervention | None = None) -> list[list[Scored]]:
    """For each item, each choice as plain text after the query, a space between them.

    Raises InputError for an item without a query.
    """
    if empty := [item.id for item in items if not item.query]:
        raise InputError(f"item {empty[0]!r} has an empty query; give it a text.")
    pairs = [(i.query, choice if choice[:1].isspace() else f" {choice}") for i in items for choice in i.choices]
    scored = iter(engine.logprobs(pairs, intervention))
    return [[next(scored) for _ in item.choices] for item in items]


def right_items(
    engine: Engine,
    items: Sequence[Item],
    intervention: Intervention | None,
    journal: Journal | None,
    batch: int,
) -> list[bool]:
    """Whether each item came out right: the likeliest choice is gold; of a lone choice, greedy decoding gives it."""
    spec, sources = spec_of(intervention, engine.n_layers), source_hash()
    right: list[bool] = []
    for start in range(0, len(items), batch):
        some = items[start : start + batch]

        def make(rows: Sequence[int], _keys: Sequence[str], some: Sequence[Item] = some) -> list[list[float]]:
            scored = score_items(engine, [some[i] for i in rows], intervention)
            # A lone choice is stored as (1 or 0) for whether greedy decoding gives it.
            return [[float(c[0].greedy)] if len(c) == 1 else [one.total for one in c] for c in scored]

        found, _ = cached(
            lambda row, batch, some=some: score_key(engine.fingerprint, some[row], spec, sources, batch=batch),
            len(some),
            engine.fingerprint.dtype,
            journal.scores if journal is not None else lambda _: {},
            make,
            journal.add_scores if journal is not None else lambda _: {},
        )
        right += [
            values[0] == 1.0 if len(item.choices) == 1 else values.index(max(values)) == item.gold
            for item, values in zip(some, found, strict=True)
        ]
    return right
