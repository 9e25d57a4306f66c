"""The attacks by name. A new family is one file here with an `ATTACK`; the file's name is the attack's."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from importlib import import_module
from pkgutil import iter_modules

from demur.attacks import replay
from demur.attacks.family import Attack, Group
from demur.errors import unknown
from demur.types import Conversation, Prompt

_ORDER = (
    "direct",
    "prefix_injection",
    "refusal_suppression",
    "persona",
    "fiction",
    "authority",
    "prefill",
    "few_shot",
    "escalation",
    "continuation",
    "payload_splitting",
    "base64",
    "rot13",
    "leetspeak",
    "replay",
)
"""The order of tables; families that are not here follow by name."""


def find() -> dict[str, Attack]:
    """The attack of every family's file in this package, by name, in the order of tables."""
    there = {module.name for module in iter_modules(sys.modules["demur.attacks"].__path__)} - {"family", "registry"}
    order = [name for name in _ORDER if name in there]
    return {name: import_module(f"demur.attacks.{name}").ATTACK for name in [*order, *sorted(there - {*order})]}


ATTACKS: dict[str, Attack] = find()


def names(group: Group | None = None) -> tuple[str, ...]:
    """Names of all attacks, or of one group's, in the order of tables."""
    return tuple(name for name, attack in ATTACKS.items() if group is None or attack.group == group)


def get(name: str) -> Attack:
    """The attack called `name`; `replay:FILE` replays that artifact.

    Raises UnknownName for another name, BadFile for an artifact that cannot be read.
    """
    if name.startswith("replay:"):
        return replay.replay(name.removeprefix("replay:"))
    if name not in ATTACKS:
        raise unknown("attack", name, ATTACKS, "An artifact is replayed with replay:FILE.")
    return ATTACKS[name]


def attack(prompt: Prompt, name: str) -> Conversation:
    """`prompt` under the attack called `name`. InputError when the prompt has no text."""
    return get(name).apply(prompt)


def unattacked(prompts: Iterable[Prompt]) -> list[Conversation]:
    """The prompts as they are."""
    return [attack(prompt, "direct") for prompt in prompts]
