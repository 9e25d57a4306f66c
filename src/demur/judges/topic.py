"""Is an answer about its request? Its own direct request must explain it better than 19 others do.

The likelihood of one answer is compared over 20 requests, unsteered, so its length and fluency cancel. Only
the first words are scored, to save compute: an answer that leaves its topic within them never had it.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Sequence
from itertools import islice

from demur.errors import InputError
from demur.judges.coherence import Scorer, plain_request
from demur.types import Generation, Prompt

OTHERS = 19
"""Requests that the own one is ranked against (protocol: Outcomes)."""
WORDS = 14
"""Words of the answer that are scored, about 17 tokens."""

LOOK = 5
"""Words after which most of the others are out of the race."""

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


def ranks(
    scorer: Scorer,
    generations: Sequence[Generation],
    own: Sequence[Sequence[float]],
    pool: Sequence[Prompt],
) -> list[int]:
    """1 where no other request makes the answer's first words likelier than its own does, 2 where one does ...

    own: the log-probabilities of each answer's tokens after its own direct request.

    A request under which the first LOOK words are no likelier than all of them are under the own one is out of the
    race, for more words never raise a likelihood: most are done with there, and no rank is changed by it.
    """
    rivals = [other_requests(g.conversation.prompt, pool) for g in generations]
    found = [1] * len(rivals)
    totals = [0.0] * len(rivals)

    def score(places: Sequence[tuple[int, Prompt]], words: int) -> list[tuple[float, ...]]:
        pairs = [(plain_request(generations[i], other), head(generations[i].text, words)) for i, other in places]
        return [row.logprobs for row in scorer.logprobs(pairs)] if pairs else []

    def ahead(places: Sequence[tuple[int, Prompt]], words: int) -> list[tuple[int, Prompt]]:
        rows = score(places, words)
        return [place for place, row in zip(places, rows, strict=True) if math.fsum(row) > totals[place[0]] + 1e-9]

    firsts = [(i, others[0]) for i, others in enumerate(rivals)]
    for (i, _), row in zip(firsts, score(firsts, WORDS), strict=True):
        totals[i] = math.fsum(own[i][: len(row)])
        found[i] += math.fsum(row) > totals[i] + 1e-9
    rest = [(i, other) for i, others in enumerate(rivals) for other in others[1:]]
    for i, _ in ahead(ahead(rest, LOOK), WORDS):
        found[i] += 1
    return found


def _normal(text: str) -> str:
    return " ".join(text.lower().split())


def _same_topic(prompt: Prompt, other: Prompt) -> bool:
    return bool(prompt.topic) and prompt.topic == other.topic


def _order(prompt: Prompt, other: Prompt) -> str:
    return hashlib.sha256(f"{prompt.id}\n{other.id}".encode()).hexdigest()
