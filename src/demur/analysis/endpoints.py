"""Primary comparisons with the unsteered arm, named before a run, with Holm's correction over all of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from demur.analysis.tables import METRICS, deltas, hits, requests, share
from demur.stats import bootstrap_pvalue, holm
from demur.types import BROKEN, Figure, Outcome, Table


@dataclass(frozen=True)
class Endpoint:
    """One primary comparison."""

    arm: str
    set: str
    outcome: Outcome
    change: Figure
    """Paired change of the outcome's rate, in shares."""
    p: float
    """Two-sided, from a paired bootstrap clustered by request."""
    holm: float
    """p after Holm's correction over the endpoints it was tested with."""
    broken: float
    """Change of the share of broken answers; above MAX_BROKEN_INCREASE, the change means nothing."""


def endpoints(table: Table, primary: Sequence[tuple[str, str, Outcome]]) -> tuple[Endpoint, ...]:
    """The endpoints (arm, set, outcome) of a table, corrected for being so many."""
    found = []
    for arm, name, outcome in primary:
        rows, base = table[arm, name], table["unsteered", name]
        change = next(f for f in deltas(arm, "unsteered", name, rows, base) if f.metric == METRICS[outcome])
        p = bootstrap_pvalue(hits(rows, outcome), hits(base, outcome), requests(rows))
        found.append(Endpoint(arm, name, outcome, change, p, p, share(rows, *BROKEN) - share(base, *BROKEN)))
    adjusted = holm([endpoint.p for endpoint in found])
    return tuple(replace(end, holm=float(p)) for end, p in zip(found, adjusted, strict=True))


def holm_figures(found: Sequence[Endpoint]) -> list[Figure]:
    """`holm_p` of each endpoint."""
    return [Figure(e.arm, "unsteered", e.set, "holm_p", e.holm, e.change.n, "paired answers", e.holm, e.holm)
            for e in found]  # fmt: skip
