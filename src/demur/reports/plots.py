"""The geometry of the plots, in percent of the drawing's width, so that they scale with the page."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from demur.reports.findings import Scatter
from demur.reports.layout import Panel, ShareRow, number, percent, tick
from demur.reports.metrics import outcome_of
from demur.types import OUTCOMES, Figure

LABELLED = 0.07
"""A bar narrower than this share carries no number."""
PAD = 4.0
"""Percent of the width left free at either side of an interval plot."""


@dataclass(frozen=True)
class Segment:
    """One outcome's part of a stacked bar."""

    outcome: str
    x: float
    width: float
    label: str


@dataclass(frozen=True)
class Mark:
    """One interval with its value, and the words around it."""

    figure: Figure
    low: float
    x: float
    high: float
    text: str
    interval: str


@dataclass(frozen=True)
class Dots:
    """A scatter: dots (name, x percent, y percent from the top), ticks, zero lines, a straight line."""

    scatter: Scatter
    dots: list[tuple[str, float, float]]
    x_ticks: list[tuple[float, str]]
    y_ticks: list[tuple[float, str]]
    zero_x: float
    zero_y: float
    line: tuple[tuple[float, float], ...] | None
    """Its two ends."""


@dataclass(frozen=True)
class Plot:
    """An interval plot: marks on one scale, ticks (position, label), and where zero stands."""

    panel: Panel
    marks: list[Mark]
    ticks: list[tuple[float, str]]
    zero: float | None


def segments(row: ShareRow) -> list[Segment]:
    """The stacked bar of a row, outcomes in the protocol's order."""
    parts, x = [], 0.0
    for outcome in OUTCOMES:
        if (figure := row.shares.get(outcome)) and figure.value > 0:
            label = percent(figure.value) if figure.value >= LABELLED else ""
            parts.append(Segment(outcome, round(100 * x, 3), round(100 * figure.value, 3), label))
            x += figure.value
    return parts


def interval_plot(panel: Panel) -> Plot:
    """Marks and ticks of a panel. Differences always show zero, shares of outcomes all of 0 to 100."""
    figures = panel.figures
    ends = [end for figure in figures for end in (figure.low, figure.value, figure.high)]
    if any(figure.versus for figure in figures):
        ends.append(0.0)
    elif all(outcome_of(figure) for figure in figures):
        ends += [0.0, 1.0]
    low, high = min(ends), max(ends)
    if high - low < 1e-12:
        low, high = low - 0.5 * (abs(low) or 1.0), high + 0.5 * (abs(high) or 1.0)

    def place(value: float) -> float:
        return round(PAD + (100 - 2 * PAD) * (value - low) / (high - low), 3)

    marks = [
        Mark(
            figure,
            place(figure.low),
            place(figure.value),
            place(figure.high),
            number(figure, figure.value),
            f"{number(figure, figure.low)} to {number(figure, figure.high)}",
        )
        for figure in figures
    ]
    ticks = [(place(value), tick(figures[0], value)) for value in nice_ticks(low, high)]
    return Plot(panel, marks, ticks, place(0.0) if low <= 0 <= high else None)


def scatter_plot(scatter: Scatter) -> Dots:
    """Where the dots, ticks and the line stand; both axes always show zero."""
    xs, ys = [0.0, *(x for _, x, _ in scatter.points)], [0.0, *(y for _, _, y in scatter.points)]
    if scatter.line is not None:
        gradient, intercept = scatter.line
        ys += [intercept + gradient * x for x in (min(xs), max(xs))]
    (x_low, x_high), (y_low, y_high) = _scale(xs), _scale(ys)

    def across(value: float) -> float:
        return round(PAD + (100 - 2 * PAD) * (value - x_low) / (x_high - x_low), 3)

    def down(value: float) -> float:
        return round(100 - PAD - (100 - 2 * PAD) * (value - y_low) / (y_high - y_low), 3)

    ends = None
    if scatter.line is not None:
        ends = tuple((across(x), down(scatter.line[1] + scatter.line[0] * x)) for x in (x_low, x_high))
    return Dots(
        scatter,
        [(name, across(x), down(y)) for name, x, y in scatter.points],
        [(across(value), f"{value:g}") for value in nice_ticks(x_low, x_high)],
        [(down(value), f"{value:g}") for value in nice_ticks(y_low, y_high)],
        across(0.0),
        down(0.0),
        ends,
    )


def _scale(values: Sequence[float]) -> tuple[float, float]:
    low, high = min(values), max(values)
    return (low, high) if high - low > 1e-12 else (low - 0.5, high + 0.5)


def nice_ticks(low: float, high: float, about: int = 6) -> Sequence[float]:
    """Round numbers within [low, high], some `about` of them, steps of 1, 2 or 5 times a power of ten."""
    rough = (high - low) / about
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough * 0.999)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [index * step for index in range(first, last + 1)]
