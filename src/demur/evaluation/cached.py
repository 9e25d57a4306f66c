"""The one way to look a batch up in the journal, and to make what is not there.

In bf16 the numbers depend on the batch, so a row is only itself among the same rows: there the batch's salt is part of
every key, and a batch that lacks one row is made whole again (protocol: Numerics and keys). They depend on how many
rows decode together, too: where memory ran out meanwhile the keys are others; the batch is looked up and made again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

from demur.interventions import Intervention, bound
from demur.runs import batch_salt

T = TypeVar("T")


def cached(
    key_of: Callable[[int, str], str],
    n: int,
    dtype: str,
    find: Callable[[Sequence[str]], Mapping[str, T]],
    make: Callable[[Sequence[int], Sequence[str]], Sequence[T]],
    store: Callable[[Mapping[str, T]], object],
) -> tuple[list[T], int]:
    """The values of rows 0 to n - 1 of one batch, in order, and how many were made.

    key_of(row, batch): the row's key; batch is "" where rows stand alone. find, store: the journal's. make(rows,
    their keys): the rows' values in their order; rows with one key are made once. What was stored stays: it wins over
    what is made.
    """
    salted = dtype != "fp32"
    while True:
        keys = _keys(key_of, n, salted)
        found = find(keys)
        missing = [i for i, key in enumerate(keys) if key not in found]
        if salted and missing:
            missing = list(range(n))
        once = sorted({keys[i]: i for i in reversed(missing)}.values())
        wanted = [keys[i] for i in once]
        fresh = dict(zip(wanted, make(once, wanted), strict=True)) if once else {}
        if not salted or not fresh or _keys(key_of, n, salted) == keys:
            break
    if fresh:
        store(fresh)
    found = {**fresh, **found}
    return [found[key] for key in keys], len(fresh)


def _keys(key_of: Callable[[int, str], str], n: int, salted: bool) -> list[str]:
    keys = [key_of(i, "") for i in range(n)]
    if not salted:
        return keys
    salt = batch_salt(keys)
    return [key_of(i, f"{salt}:{i}") for i in range(n)]


def spec_of(intervention: Intervention | None, n_layers: int) -> dict[str, object]:
    """An intervention's spec in keys, as the model runs it; none, or one without sites, is {"op": "none"}."""
    intervention = bound(intervention, n_layers)
    return {"op": "none"} if intervention is None or not intervention.sites else intervention.spec()
