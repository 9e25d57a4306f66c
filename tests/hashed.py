"""A judge that looks at the text alone, and judged answers written as letters."""

import zlib
from collections.abc import Sequence
from typing import Any

from demur.types import Conversation, Generation, Judged, Message, Outcome, Prompt, Verdict

OUTCOMES: tuple[Outcome, ...] = ("refused", "complied", "complied", "incoherent")
LETTERS: dict[str, Outcome] = {"c": "complied", "r": "refused", ".": "incoherent", "p": "partial", "o": "off-topic"}


class Hashed:
    """An outcome by the answer's text alone."""

    name = "hashed"

    def spec(self) -> dict[str, Any]:
        return {"judge": "hashed"}

    def judge(self, generations: Sequence[Generation]) -> list[Verdict]:
        return [Verdict(g.key, "hashed", OUTCOMES[zlib.crc32(g.text.encode()) % len(OUTCOMES)]) for g in generations]


def rows(outcomes: str, each: int = 1, arm: str = "unsteered") -> list[Judged]:
    """cr. -> complied, refused, incoherent; `each` answers to a request."""
    found = []
    for i, letter in enumerate(outcomes):
        talk = Conversation(Prompt(f"request {i // each}", "?", "tests"), (Message("user", "?"),))
        key = f"{arm} {i}"
        answer = Generation(key, talk, "", (), 1, "end", arm)
        found.append(Judged(answer, Verdict(key, "hashed", LETTERS[letter])))
    return found
