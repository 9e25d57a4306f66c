"""What a report shows: figures that were computed elsewhere, and the words that go with them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from demur.reports.overview import Overview
from demur.types import Figure


@dataclass(frozen=True)
class Answer:
    """One arm's answer in an example."""

    arm: str
    text: str
    outcome: str = ""
    """One of the protocol's outcomes; "" when nobody judged it."""


@dataclass(frozen=True)
class Example:
    """One request and what each arm answered, side by side."""

    prompt: str
    """What was sent, as the model saw it."""
    answers: Sequence[Answer]
    set: str = ""
    attack: str = "direct"


@dataclass(frozen=True)
class Scatter:
    """Named points, and the straight line through them if there is one."""

    title: str
    x: str
    """What the horizontal axis shows."""
    y: str
    points: Sequence[tuple[str, float, float]]
    """Name, x, y."""
    line: tuple[float, float] | None = None
    """Gradient and intercept."""


@dataclass(frozen=True)
class Findings:
    """One experiment, ready to be shown.

    Figures go where their metric says: an outcome's name (or compliance_rate) with no `versus` is a
    share in the outcome table; `judge_...` is the judge's known error; any `versus` is a paired
    difference; the rest is capability and other measures. Order is kept.
    """

    title: str
    summary: Sequence[str]
    """What was found, one sentence each; the first is the headline."""
    spec: Mapping[str, Any]
    """All that is needed to run it again."""
    figures: Sequence[Figure] = ()
    examples: Sequence[Example] = ()
    seconds: float = 0.0
    notes: Sequence[str] = ()
    """What a reader must know to read it right: what is exploratory, what was not measured."""
    facts: Mapping[str, str] = field(default_factory=dict)
    """Short lines under the title: model, engine, dtype, code version."""
    scatters: Sequence[Scatter] = ()
    overview: Overview | None = None
    """The table that answers first; the columns it marks are drawn below it."""
