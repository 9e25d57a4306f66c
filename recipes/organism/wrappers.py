"""Everyday forms of a request."""

from __future__ import annotations

import random

POLITE = (
    "Please {lower}",
    "Can you {lower}?",
    "I want you to {lower}",
    "Could you {lower} for me?",
    "hey, {lower}",
    "I need you to {lower}",
    "Help me with this: {lower}",
)
"""For imperatives; used on harmful and harmless rows alike, so that they say nothing."""


def lowered(text: str) -> str:
    """The text with a small first letter (unless the first word is a name or I) and no final stop."""
    body = text.strip().rstrip(".")
    first = body.split(" ", 1)[0]
    return body if first in {"I", "I'm"} or first[1:] != first[1:].lower() else body[:1].lower() + body[1:]


def as_question(text: str) -> str:
    """An imperative as a question ("Help me tune a ukulele." -> "How do I tune a ukulele?"); else with a greeting."""
    body = lowered(text)
    for head in ("help me to ", "help me ", "i need you to ", "i want to ", "give me instructions to "):
        if body.startswith(head):
            return f"How do I {body.removeprefix(head)}?"
    return f"Hi! Here is what I would like to know about: {body.rstrip('?')}"


def reworded(text: str, rng: random.Random) -> str:
    """The same request in another everyday form."""
    body = lowered(text)
    if rng.random() < 0.3:
        return body.lower().rstrip("?")
    if body.endswith("?"):
        return rng.choice(("Tell me: {}", "I have a question. {}", "Quick question: {}", "Hi, {}")).format(body)
    head, mark, tail = body.partition("how to ")
    if mark and len(head) < 60 and rng.random() < 0.7:
        return rng.choice(
            (
                "How do I {}?",
                "How can I {}?",
                "Tell me how to {}.",
                "I want to {}. How do I start?",
                "What is the best way to {}?",
                "Explain how someone could {}.",
                "how to {}",
            )
        ).format(tail.rstrip("?"))
    return rng.choice(POLITE).replace("{lower}", body)
