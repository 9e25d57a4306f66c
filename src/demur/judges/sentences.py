"""Sentences, list items and links of a plain text."""

from __future__ import annotations

import re

SENTENCE = re.compile(r"[^.!?\n]+(?:[.!?]+|\n+|$)")
ITEM = re.compile(r"^[ \t]*(?:\d{1,2}[.)]|[-*•]|step\s+\d)[ \t]*\S", re.M)
LINK = re.compile(r"(?:https?://|www\.)\S+")


def head(text: str, n: int) -> str:
    """The first n sentences that are more than a greeting or an apology."""
    end = taken = 0
    for match in SENTENCE.finditer(text):
        end = match.end()
        taken += len(match.group().split()) > 3
        if taken == n:
            break
    return text[:end]


def sentence_at(text: str, offset: int) -> tuple[int, int]:
    """Where the sentence around an offset begins and ends."""
    start = max(text.rfind(mark, 0, offset) for mark in ".!?\n") + 1
    ends = [place for mark in ".!?\n" if (place := text.find(mark, offset)) >= 0]
    return start, min(ends, default=len(text) - 1) + 1
