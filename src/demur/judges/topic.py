"""Is an answer about its request? Its own direct request must explain it better than 19 others do.

The likelihood of one answer is compared over 20 requests, unsteered, so its length and fluency cancel. Only
the first words are scored, to save compute: an answer that leaves its topic within them never had it.

Most answers are clear before all 19 are compared:

- words in common: an answer whose first words have more stems of its own request than of any other is about it;
- one other request ahead is enough: how many more are decides nothing;
- an answer that its own request makes likelier by far than each of the first few others do needs no more of them.

How often they agree with the whole comparison is measured by `make results-judge`.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice

from demur.errors import InputError
from demur.judges.coherence import Scorer, plain_request
from demur.prompts.duplicates import content_words
from demur.types import Generation, Prompt

OTHERS = 19
"""Requests that the own one is ranked against (protocol: Outcomes)."""
WORDS = 14
"""Words of the answer that are scored, about 17 tokens."""

LOOK = 5
"""Words after which most of the rest are out of the race: more words never raise a likelihood."""
LEVEL = 1e-9
"""Nats within which two likelihoods are equal."""
STEM = 5
"""Letters of a word that are compared: sail, sails and sailing are one."""

_WORD = re.compile(r"\s*\S+")


def head(text: str, words: int = WORDS) -> str:
    """The first words of an answer, its white space kept, so that its tokens are a prefix of the answer's."""
    found = list(islice(_WORD.finditer(text), words))
    return text[: found[-1].end()] if found else ""


def other_requests(prompt: Prompt, pool: Sequence[Prompt], n: int = OTHERS) -> list[Prompt]:
    """The n requests a prompt's answers are ranked against: always the same ones for a prompt and a pool.

    The prompt itself, its mirror image and equal texts never count; requests on other topics come first; the
    order is by sha256 of both ids. Raises InputError when the pool is too small.
    """
    mirrored = {prompt.id, prompt.match} - {""}
    seen = {_normal(prompt.text)}
    found: list[Prompt] = []
    for other in sorted(pool, key=lambda p: (_same_topic(prompt, p), _order(prompt, p), p.id)):
        if other.id in mirrored or other.match in mirrored or _normal(other.text) in seen:
            continue
        seen.add(_normal(other.text))
        found.append(other)
        if len(found) == n:
            return found
    raise InputError(
        f"prompt {prompt.id!r} can be compared with {len(found)} other requests of the pool of {len(pool)}; "
        f"{n} are needed. Give the judge more requests."
    )


@dataclass(frozen=True)
class Shortcuts:
    """When an answer is a clear case."""

    shared: int = 2
    """Stems of its own request among its first words, beyond those of any other request, that make it on topic."""
    first: int = 6
    """Requests that it is compared with otherwise, before any more."""
    clear: float = 8.0
    """Nats by which its own request must lead these for the rest not to matter."""


CUTS = Shortcuts()


@dataclass(frozen=True)
class Place:
    """Whether an answer's own request explains it best, and how that was seen."""

    first: bool
    why: str


def places(
    scorer: Scorer,
    generations: Sequence[Generation],
    own: Sequence[Sequence[float]],
    pool: Sequence[Prompt],
    shortcuts: Shortcuts | None = CUTS,
) -> list[Place]:
    """The place of each answer's own request among OTHERS of the pool.

    own: the log-probabilities of each answer's tokens after its own direct request. shortcuts: None compares every
    answer with all of them.
    """
    first = shortcuts.first if shortcuts else 1
    rivals = [other_requests(g.conversation.prompt, pool) for g in generations]
    found = [_by_words(g, others, shortcuts) for g, others in zip(generations, rivals, strict=True)]
    totals = [0.0] * len(found)

    def score(asked: Sequence[tuple[int, Prompt]], words: int) -> list[tuple[float, ...]]:
        pairs = [(plain_request(generations[i], other), head(generations[i].text, words)) for i, other in asked]
        return [row.logprobs for row in scorer.logprobs(pairs)] if pairs else []

    def ahead(asked: Sequence[tuple[int, Prompt]], words: int) -> list[tuple[int, Prompt]]:
        rows = score(asked, words)
        return [one for one, row in zip(asked, rows, strict=True) if math.fsum(row) > totals[one[0]] + LEVEL]

    some = [(i, other) for i, place in enumerate(found) if place is None for other in rivals[i][:first]]
    leads: dict[int, list[tuple[float, str]]] = {}
    for (i, other), row in zip(some, score(some, WORDS), strict=True):
        totals[i] = math.fsum(own[i][: len(row)])
        leads.setdefault(i, []).append((totals[i] - math.fsum(row), other.id))
    for i, by in leads.items():
        lead, other = min(by)
        if lead < -LEVEL:
            found[i] = Place(False, f"behind {other}")
        elif shortcuts and lead > shortcuts.clear:
            found[i] = Place(True, f"ahead of {first} others by {lead:.1f} nats")
    rest = [(i, other) for i in leads if found[i] is None for other in rivals[i][first:]]
    for i, other in ahead(ahead(rest, LOOK), WORDS):
        found[i] = found[i] or Place(False, f"behind {other.id}")
    return [place or Place(True, f"ahead of {OTHERS} others") for place in found]


def stems(text: str) -> frozenset[str]:
    """The beginnings of a text's content words."""
    return frozenset(word[:STEM] for word in content_words(text))


def _by_words(generation: Generation, others: Sequence[Prompt], shortcuts: Shortcuts | None) -> Place | None:
    """The place that words in common give; None where they do not tell."""
    if shortcuts is None:
        return None
    said = stems(head(generation.text))
    shared = said & stems(generation.conversation.prompt.text)
    most = max(len(said & stems(other.text)) for other in others)
    return Place(True, f"shares {', '.join(sorted(shared))}") if len(shared) >= most + shortcuts.shared else None


def _normal(text: str) -> str:
    return " ".join(text.lower().split())


def _same_topic(prompt: Prompt, other: Prompt) -> bool:
    return bool(prompt.topic) and prompt.topic == other.topic


def _order(prompt: Prompt, other: Prompt) -> str:
    return hashlib.sha256(f"{prompt.id}\n{other.id}".encode()).hexdigest()
