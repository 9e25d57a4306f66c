"""What an attack is, and the few helpers that every family is written with."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, TypeVar

from demur.errors import InputError
from demur.types import Conversation, Message, Prompt

Group = Literal["direct", "instruction", "framing", "context", "encoding", "artifact"]
GROUPS: tuple[Group, ...] = ("direct", "instruction", "framing", "context", "encoding", "artifact")

T = TypeVar("T")


@dataclass(frozen=True)
class Attack:
    """A rewriting of a prompt that is meant to evade refusal without changing what is asked."""

    name: str
    group: Group
    apply: Callable[[Prompt], Conversation]
    """Pure and deterministic; raises InputError for a prompt without text."""
    description: str
    """One line, for people."""
    recover: Callable[[Conversation], str] | None = None
    """For encodings: reads the request back out of the conversation."""
    why_not: Callable[[Prompt], str] = lambda _: ""
    """Why this attack has nothing for a prompt; "" when it has. Whoever applies it to a set leaves such prompts out."""


def request(prompt: Prompt) -> str:
    """The prompt's text. InputError when it is blank or holds a lone surrogate (not encodable)."""
    if not prompt.text.strip():
        raise InputError(f"prompt {prompt.id!r} has no text; an attack needs a request to rewrite")
    try:
        prompt.text.encode("utf-8")
    except UnicodeEncodeError as e:
        raise InputError(f"prompt {prompt.id!r} holds a lone surrogate at character {e.start}") from e
    return prompt.text


def choose(prompt: Prompt, family: str, variants: Sequence[T]) -> T:
    """One variant, by a stable hash of the family and the prompt's id: a set gets variety, a rerun the same."""
    digest = hashlib.sha256(f"{family}\0{prompt.id}".encode("utf-8", "surrogatepass")).digest()
    return variants[int.from_bytes(digest[:8], "big") % len(variants)]


def fill(template: str, text: str, slot: str = "{request}") -> str:
    """`template` with its one slot replaced by `text`; braces inside the text are left alone."""
    before, mark, after = template.partition(slot)
    assert mark, f"template has no slot {slot}: {template!r}"
    return before + text + after


def talk(prompt: Prompt, attack: str, *turns: str | None, prefill: str = "") -> Conversation:
    """A conversation of alternating turns, user first and user last; None is a turn that the engine plays."""
    request(prompt)
    assert len(turns) % 2 == 1, "the last turn is the user's"
    assert all(turn is not None for turn in turns[::2]), "only the assistant's turns are played"
    messages = tuple(Message("assistant" if i % 2 else "user", turn) for i, turn in enumerate(turns))
    return Conversation(prompt, messages, prefill=prefill, attack=attack)


def last_user_turn(conversation: Conversation) -> str:
    """The text of the turn that carries the request."""
    content = conversation.messages[-1].content
    assert content is not None
    return content
