"""The held-out sets that every experiment scores on."""

from __future__ import annotations

from collections.abc import Sequence

from demur.attacks import attack, unattacked
from demur.prompts.sets import PromptSets, spread
from demur.types import Conversation


def held_out_sets(
    prompts: PromptSets, attacks: Sequence[str], n: int | None, benign: int | None = None
) -> dict[str, list[Conversation]]:
    """The held-out sets: harmful, attacked, borderline, plain; those that the prompts have.

    benign: of n borderline and plain requests, so many; None: all of them.
    """
    harmful = prompts.take("harmful", "test", n)
    attacked = [attack(prompt, name) for name in attacks for prompt in harmful]
    sets = {"harmful": unattacked(harmful), **({"attacked": attacked} if attacked else {})}
    for kind in ("borderline", "plain"):
        if kind in prompts:
            sets[kind] = unattacked(spread(prompts.take(kind, "test", n), benign))
    return sets
