"""Random controls: many arms of one kind as one arm, and the worst of them beside it.

A steered arm is believed only where it does more than directions or latents drawn at random (protocol: Statistics).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from demur.analysis.tables import deltas, shares
from demur.types import Figure, Judged, Table

LARGEST = ("refusal_rate", "compliance_rate")


def pooled_controls(
    table: Table,
    arms: Sequence[str],
    pooled: str,
    name: str,
    worst: Callable[[float], float] = abs,
    metrics: Sequence[str] = LARGEST,
) -> list[Figure]:
    """The arms pooled, as `pooled`, on one set: their shares, their change from the unsteered arm, and
    `largest_METRIC`: the change of the single arm whose change is largest by `worst`. Empty without arms."""
    rows, base = _rows(table, arms, name), table["unsteered", name]
    if not rows:
        return []
    every = [row for some in rows for row in some]
    found = shares(pooled, name, every) + deltas(pooled, "unsteered", name, every, [*base] * len(rows))
    single = [f for some in rows for f in deltas(pooled, "unsteered", name, some, base)]
    for metric in metrics:
        one = max((f for f in single if f.metric == metric), key=lambda f: worst(f.value))
        unit = f"paired answers, one of {len(rows)} controls"
        found.append(replace(one, metric=f"largest_{metric}", denominator=unit))
    return found


def against_controls(table: Table, arm: str, arms: Sequence[str], pooled: str, name: str, metric: str) -> list[Figure]:
    """What an arm does beyond the controls: its change less their mean change, and
    `sets_at_least_as_large_METRIC`: how many of them raise the metric as much as it does."""
    rows, base = _rows(table, arms, name), table["unsteered", name]
    every = [row for some in rows for row in some]
    found = [f for f in deltas(arm, pooled, name, [*table[arm, name]] * len(rows), every) if f.metric == metric]
    own, *single = (_change(arm, name, some, base, metric) for some in (table[arm, name], *rows))
    k = sum(value >= own for value in single)
    what = f"sets_at_least_as_large_{metric}"
    return [*found, Figure(arm, pooled, name, what, k, len(rows), "random sets", k, k)]


def _rows(table: Table, arms: Sequence[str], name: str) -> list[Sequence[Judged]]:
    return [table[arm, name] for arm in arms if (arm, name) in table]


def _change(arm: str, name: str, rows: Sequence[Judged], base: Sequence[Judged], metric: str) -> float:
    return next(f.value for f in deltas(arm, "unsteered", name, rows, base) if f.metric == metric)
