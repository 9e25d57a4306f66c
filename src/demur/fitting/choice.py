"""Choosing one of several arms on validation prompts, within a budget of broken answers."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from demur.analysis.tables import MAX_BROKEN_INCREASE, share, table_figures
from demur.evaluation.evaluator import Arm, Evaluator
from demur.types import BROKEN, Conversation, Figure, Outcome

K = TypeVar("K", bound=Hashable)


@dataclass(frozen=True)
class Choice(Generic[K]):
    """The arm that was taken."""

    key: K
    within_budget: bool
    """Whether it breaks at most MAX_BROKEN_INCREASE more answers than the unsteered arm; if not, none did."""
    gain: float
    """How far it raises the wanted outcome's share."""
    curve: tuple[Figure, ...]
    """Outcomes of all arms that were tried."""


def choose_arm(
    evaluator: Evaluator,
    arms: Mapping[K, Arm],
    name: str,
    conversations: Sequence[Conversation],
    wanted: Outcome,
    enough: float | None = None,
) -> Choice[K]:
    """The arm with most of an outcome among those whose off-topic and incoherent answers stay within
    MAX_BROKEN_INCREASE of the unsteered arm's, else the one that breaks fewest.

    arms: the mildest first; of equals the first is taken. enough: take the first within the budget that raises the
    outcome by so much, where there is one.
    """
    table = evaluator.run([Arm("unsteered"), *arms.values()], {name: conversations})
    base, rows = table["unsteered", name], {key: table[arm.name, name] for key, arm in arms.items()}
    gain = {key: share(some, wanted) - share(base, wanted) for key, some in rows.items()}
    broken = {key: share(some, *BROKEN) - share(base, *BROKEN) for key, some in rows.items()}
    within = [key for key in arms if broken[key] <= MAX_BROKEN_INCREASE]
    fitting = [key for key in within if enough is not None and gain[key] >= enough]
    if fitting:
        best = fitting[0]
    elif within:
        best = max(within, key=lambda key: gain[key])
    else:
        best = min(broken, key=lambda key: broken[key])
    return Choice(best, bool(within), gain[best], tuple(table_figures(table)))
