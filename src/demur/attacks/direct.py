"""No attack: the request as one user turn."""

from __future__ import annotations

from demur.attacks.family import Attack, request, talk
from demur.types import Conversation, Prompt


def apply(prompt: Prompt) -> Conversation:
    """The prompt as it stands."""
    return talk(prompt, "direct", request(prompt))


ATTACK = Attack("direct", "direct", apply, "The request as it stands.")
