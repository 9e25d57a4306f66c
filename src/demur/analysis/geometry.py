"""Does geometry predict what steering does to safety? (Li et al. 2603.24543)

The slope of compliance against the multiplier, and the regression of slopes on cosines (`directions.cosines`) over
vectors. A prediction is made from other vectors only, before the vector it is for is read.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np

from demur.errors import InputError
from demur.stats import Estimate, resampled


@dataclass(frozen=True)
class Line:
    """slope = intercept + gradient x cosine, by least squares over vectors."""

    gradient: float
    intercept: float
    r_squared: float
    n: int


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


def bootstrap_line(cosine: Sequence[float], slope: Sequence[float], groups: Sequence[str]) -> tuple[Estimate, Estimate]:
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
