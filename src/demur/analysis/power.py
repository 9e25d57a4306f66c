"""What could an audit have seen? The smallest change of compliance that it would find four times in five."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import NormalDist

import numpy as np

from demur.analysis.tables import hits, requests
from demur.types import Figure, Judged

POWER = 0.8


def detectable(
    arms: Sequence[Sequence[Judged]], base: Sequence[Judged], primary: str, tests: int, alpha: float = 0.05
) -> Figure | None:
    """`detectable_change`: the change of compliance that `alpha` over `tests` (the first step of Holm's procedure)
    finds with probability POWER, from the spread of the arms' own paired changes.

    value: at the arms' median spread; low, high: at their smallest and largest. Two-sided normal approximation over
    requests (Miller 2411.00640, section 5). An arm that changes nothing has no spread and is left out; None when all
    are.
    """
    ids = requests(base)
    names = list(dict.fromkeys(ids))
    place = {name: i for i, name in enumerate(names)}
    at = np.array([place[one] for one in ids])
    factor = NormalDist().inv_cdf(1 - alpha / (2 * tests)) + NormalDist().inv_cdf(POWER)
    found = []
    for rows in arms:
        change = np.array(hits(rows, "complied")) - np.array(hits(base, "complied"))
        sums, sizes = np.bincount(at, change), np.bincount(at)
        residual = sums - change.mean() * sizes
        error = np.sqrt((residual**2).sum() * len(names) / max(len(names) - 1, 1)) / len(ids)
        if error > 0:
            found.append(factor * float(error))
    if not found:
        return None
    value, low, high = float(np.median(found)), min(found), max(found)
    return Figure("audit", "unsteered", primary, "detectable_change", value, len(ids), "paired answers", low, high)
