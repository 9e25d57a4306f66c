"""An engine for judges' tests: it finds an answer likely when it shares words with the request."""

from collections.abc import Sequence

from demur.engines.base import Scored
from demur.types import Conversation, EngineFingerprint, Generation, Message, Prompt


class WordScorer:
    """-1 nat for a word of the request, -3 for another, -9 for one with a digit in it."""

    fingerprint = EngineFingerprint("words", "w", "t", "c", "fp32")

    def __init__(self) -> None:
        self.pairs = self.words = 0

    def logprobs(self, pairs: Sequence[tuple[Conversation, str]]) -> list[Scored]:
        self.pairs += len(pairs)
        self.words += sum(len(answer.split()) for _, answer in pairs)
        return [Scored(tuple(self._one(c, word) for word in answer.split()), False) for c, answer in pairs]

    def _one(self, conversation: Conversation, word: str) -> float:
        if any(ch.isdigit() for ch in word):
            return -9.0
        asked = (conversation.messages[-1].content or "").lower().strip("?").split()
        return -1.0 if word.lower().strip(".,!") in asked else -3.0


def prompts(n: int = 30) -> list[Prompt]:
    """Requests about n things, in five topics."""
    things = [
        f"{a}{b}"
        for a in ("bread", "roof", "violin", "river", "cactus")
        for b in ("box", "ling", "ton", "ful", "er", "ish")
    ]
    return [
        Prompt(f"p{i}", f"Tell me about the {thing}?", "test", topic=f"t{i % 5}") for i, thing in enumerate(things[:n])
    ]


def answer(prompt: Prompt, text: str, key: str = "k") -> Generation:
    """A generation to a plain request."""
    return Generation(key, Conversation(prompt, (Message("user", prompt.text),)), text, (), 5, "end")
