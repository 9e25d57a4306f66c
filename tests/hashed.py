"""A judge that looks at the text alone, and judged answers written as letters."""

import zlib
from typing import Any

from demur.evaluation.evaluator import Judged
from demur.judges.outcome import OutcomeJudge
from demur.types import Conversation, Generation, Message, Prompt, Verdict

OUTCOMES: Any = ("refused", "complied", "complied", "incoherent")
LETTERS: Any = {"c": "complied", "r": "refused", ".": "incoherent"}


class Hashed(OutcomeJudge):
    """An outcome by the answer's text alone."""

    name = "hashed"

    def __init__(self) -> None:
        """Needs no model."""

    def spec(self) -> dict[str, Any]:
        return {"judge": "hashed"}

    def judge(self, generations: Any) -> list[Verdict]:
        return [Verdict(g.key, "hashed", OUTCOMES[zlib.crc32(g.text.encode()) % len(OUTCOMES)]) for g in generations]


def rows(outcomes: str) -> list[Judged]:
    """cr. -> complied, refused, incoherent."""
    found = []
    for i, letter in enumerate(outcomes):
        conversation = Conversation(Prompt(f"request {i}", "?", "tests"), (Message("user", "?"),))
        found.append(Judged(Generation("", conversation, "", (), 1, "end"), Verdict("", "hashed", LETTERS[letter])))
    return found
