"""Contrast pairs as conversations: how a question is asked, and its two answers."""

from __future__ import annotations

from collections.abc import Sequence

from demur.attacks import attack
from demur.prompts.pairs import Pair
from demur.runs import digest
from demur.types import Conversation, Prompt

READS = ("letter", "text")
"""text: the full answers. letter: their letters, behind the question with its choices (Rimsky et al. 2312.06681)."""


def asked(pair: Pair, read: str = "text") -> Conversation:
    """The pair's question as a user asks it: plain, or with its choices."""
    text = pair.lettered if read == "letter" else pair.question
    return attack(Prompt(pair.id, text, "pairs", use=pair.use), "direct")


def answers(pair: Pair, read: str = "text") -> tuple[str, str]:
    """The matching answer and the other."""
    return (f"({pair.letter}", f"({pair.other_letter}") if read == "letter" else (pair.matching, pair.other)


def texts_of(pairs: Sequence[Pair]) -> str:
    """The hash of pairs' texts: what a vector's origin says it was fitted on."""
    return digest([[p.id, p.question, p.matching, p.other] for p in pairs])
