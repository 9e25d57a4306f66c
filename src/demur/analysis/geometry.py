"""Does geometry predict what steering does to safety? (Li et al. 2603.24543)

The cosine of a vector with the refusal direction, the slope of compliance against the multiplier, and the regression
of slopes on cosines over vectors. A prediction is made from other vectors only, before the vector it is for is read.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from torch import Tensor

from demur.errors import InputError
from demur.stats import Estimate, resampled
from demur.types import Direction, Site, SteeringVector


@dataclass(frozen=True)
class Line:
    """slope = intercept + gradient x cosine, by least squares over vectors."""

    gradient: float
    intercept: float
    r_squared: float
    n: int


def cosines(vector: SteeringVector, direction: Direction) -> dict[str, float]:
    """The signed cosine at each of the vector's sites."""
    return {str(site): _cosine(value, direction.vector, site) for site, value in vector.vectors.items()}


def along(vector: SteeringVector, moves: Sequence[SteeringVector]) -> dict[str, list[float]]:
    """At each of the vector's sites its signed cosines with orthonormal directions of that site. Raises InputError for
    a site where there are none, or another width."""
    for site in vector.vectors:
        if any(site not in one.vectors for one in moves):
            raise InputError(f"no direction stands at {site}, where the vector does; give one for each of its sites.")
    return {str(site): [_cosine(value, one.vectors[site], site) for one in moves]
            for site, value in vector.vectors.items()}  # fmt: skip


def _cosine(value: Tensor, direction: Tensor, site: Site) -> float:
    if value.shape != direction.shape:
        widths = f"{len(value)} and {len(direction)}"
        raise InputError(f"the vector at {site} and the direction have widths {widths}; give both of one model.")
    return float(value @ direction / (value.norm() * direction.norm()))


def dose_slope(rates: Mapping[float, float]) -> float:
    """Least-squares slope of a rate against the multiplier, in points a unit; the unsteered rate is at 0."""
    if len(rates) < 2:
        raise InputError(f"a slope needs rates at 2 multipliers, the unsteered one among them; got {len(rates)}.")
    x, y = np.array(list(rates)), np.array(list(rates.values()))
    return float(np.polyfit(x, y, 1)[0])


def line(cosine: Sequence[float], slope: Sequence[float]) -> Line:
    """The regression of slopes on cosines. Raises InputError for fewer than 3 vectors or cosines that are all one."""
    if len(cosine) < 3 or len(set(cosine)) < 2:
        raise InputError(f"a line over vectors needs 3 with different cosines; got {len(cosine)}.")
    gradient, intercept = np.polyfit(cosine, slope, 1)
    correlation = float(np.corrcoef(cosine, slope)[0, 1]) if len(set(slope)) > 1 else 0.0
    return Line(float(gradient), float(intercept), correlation**2, len(cosine))


def uncertain(cosine: Sequence[float], slope: Sequence[float], groups: Sequence[str]) -> tuple[Estimate, Estimate]:
    """`line`'s gradient and R squared with their percentile intervals, whole groups of vectors resampled. Draws of
    fewer than three different cosines are left out."""
    line(cosine, slope)  # its errors first
    x, y = np.asarray(cosine, dtype=float), np.asarray(slope, dtype=float)

    @cache
    def read(rows: tuple[int, ...]) -> tuple[float, float]:
        some = list(rows)
        if len(set(x[some])) < 3:  # any two points lie on a line
            return math.nan, math.nan
        through = line(x[some].tolist(), y[some].tolist())
        return through.gradient, through.r_squared

    gradient, explained = (resampled(lambda rows, i=i: read(tuple(sorted(rows.tolist())))[i], groups) for i in (0, 1))
    return gradient, explained


def left_out(cosine: Sequence[float], slope: Sequence[float], groups: Sequence[str]) -> list[float]:
    """For each vector, the slope that the line through all vectors of other groups predicts."""
    predicted = []
    for x, group in zip(cosine, groups, strict=True):
        others = [i for i, other in enumerate(groups) if other != group]
        found = line([cosine[i] for i in others], [slope[i] for i in others])
        predicted.append(found.intercept + found.gradient * x)
    return predicted


def gain_over_zero(predicted: Sequence[float], slope: Sequence[float]) -> float:
    """1 - squared error of the predictions / that of predicting no effect; above 0 geometry helps."""
    errors = [sum((p - s) ** 2 for p, s in zip(some, slope, strict=True)) for some in (predicted, [0.0] * len(slope))]
    return 1 - errors[0] / errors[1]
