"""Placeholder of the same shape; the full file comes with own prompt sets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

from demur.prompts.builtin import builtin
from demur.types import Prompt, Use

T = TypeVar("T")


def spread(rows: Sequence[T], n: int | None) -> list[T]:
    """n rows evenly over a list, so that every category is there."""
    return list(rows) if n is None or n >= len(rows) else [rows[i * len(rows) // n] for i in range(n)]


@dataclass(frozen=True)
class PromptSets:
    """Prompts by kind and use."""

    name: str = "built-in"

    def take(self, kind: str, use: Use, n: int | None = None) -> list[Prompt]:
        return spread(builtin(kind, use), n)


def builtin_sets() -> PromptSets:
    return PromptSets()
