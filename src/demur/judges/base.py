"""What a judge is: anything that gives each generation one outcome."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from demur.types import Generation, Verdict


@runtime_checkable
class Judge(Protocol):
    """Says what became of each answer. A new judge is one class with these three, in one file.

    The contract (tests/contracts): verdicts come in the order of the generations; the verdict on a generation does not
    depend on what else is judged; `spec` changes with whatever can change a verdict.
    """

    @property
    def name(self) -> str:
        """Its name in verdicts and figures."""
        ...

    def spec(self) -> dict[str, Any]:
        """All that a verdict depends on beside the generation, JSON-ready: verdicts are kept under it."""
        ...

    def judge(self, generations: Sequence[Generation]) -> list[Verdict]:
        """One verdict a generation, in order."""
        ...


@dataclass(frozen=True)
class Estimate:
    """What judging some answers will take, before anything is asked."""

    calls: int
    tokens_in: int
    """Of all requests, about."""
    tokens_out: int
    """Of all replies, about; a model that reasons first takes many more."""
    price: float | None = None
    """Dollars, about; None where no price was given."""


@runtime_checkable
class Asking(Judge, Protocol):
    """A judge that asks somebody else, for each answer by itself: slow, perhaps paid, and apt to fail in between."""

    def each(self, generations: Sequence[Generation]) -> Iterator[tuple[int, Verdict]]:
        """(place, verdict) in the order in which they are made. An error comes after all that were made."""
        ...

    def estimate(self, generations: Sequence[Generation]) -> Estimate:
        """What judging them will take."""
        ...


@runtime_checkable
class Resident(Judge, Protocol):
    """A judge that holds a model in memory while it judges."""

    def release(self) -> None:
        """Let go of the model; it is loaded again when it is needed."""
        ...
