"""What types and shapes are checked with while tests run: beartype, made once for functions that say the same.

jaxtyping wraps a function each time its `def` runs. Hooks and edits are closures, made anew in every pass, and to
compile their checks each time took half of the suite's time.
"""

from collections.abc import Callable
from typing import Any

from beartype import beartype

CHECKED: dict[tuple[str, str, str], Callable[..., Any]] = {}
"""Module, name and annotations of a function -> its checks."""


def check(function: Callable[..., Any]) -> Callable[..., Any]:
    """`beartype(function)`. What is checked here has no body: jaxtyping hands over stand-ins for the real functions."""
    # By name, for a type as Float[Tensor, "batch width"] is another object each time it is written down.
    key = function.__module__, function.__qualname__, repr(function.__annotations__)
    if key not in CHECKED:
        CHECKED[key] = beartype(function)
    return CHECKED[key]
