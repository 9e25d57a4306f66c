"""One answer as text, for people at a prompt."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from demur.attacks import attack as attacked
from demur.engines.base import Engine, Request
from demur.errors import InputError
from demur.interventions.expression import Steer, parse_steer
from demur.types import Conversation, Decoding, Message, Prompt

Said = str | Sequence[Message | Mapping[str, Any]]
"""A user's text, or the messages of a conversation that ends with the user's: `Message`s, or {"role", "content"}."""


def chat(engine: Engine, said: Said, steer: Steer | None, attack: str, system: str | None, decoding: Decoding) -> str:
    """The engine's answer, without an attack's prefill. Raises as `conversation_of`, `parse_steer` and `generate`."""
    intervention = None if steer is None else parse_steer(steer, engine.fingerprint.weights)
    (answer,) = engine.generate([Request(conversation_of(said, attack, system), intervention)], decoding)
    return answer.text


def conversation_of(said: Said, attack: str = "direct", system: str | None = None) -> Conversation:
    """What is sent: a text under an attack, or messages as they are, behind a system message where one is given.

    Raises InputError for a message that is none, for an attack on messages, and for two system messages.
    """
    if isinstance(said, str):
        c = attacked(Prompt("chat", said, "chat"), attack)
    elif attack != "direct":
        raise InputError(f"the attack {attack!r} rewrites one request; give it a text instead of messages.")
    else:
        messages = tuple(_message(one) for one in said)
        text = next((m.content for m in reversed(messages) if m.role == "user"), None)
        c = Conversation(Prompt("chat", text or "", "chat"), messages)
    if system is None:
        return c
    if any(m.role == "system" for m in c.messages):
        raise InputError("the conversation has a system message already; leave system= out, or the message.")
    return Conversation(c.prompt, (Message("system", system), *c.messages), c.prefill, c.attack)


def _message(one: Message | Mapping[str, Any]) -> Message:
    if isinstance(one, Message):
        return one
    if not isinstance(one, Mapping) or one.get("role") not in ("system", "user", "assistant") or "content" not in one:
        raise InputError(f"{str(one)[:60]!r} is no message; write {{'role': 'user', 'content': 'a text'}}.")
    return Message(one["role"], one["content"])
