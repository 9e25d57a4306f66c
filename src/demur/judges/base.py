"""What a judge is: anything that gives each generation one outcome."""

from __future__ import annotations

from collections.abc import Sequence
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
