"""Is an answer coherent? Repetition, and perplexity under the unsteered model, against a fitted band.

The band is the 1st to 99th percentile of unsteered validation answers (protocol: Outcomes). It has two sides:
babble has a high perplexity, loops have a low one. The lower side counts only for a text that repeats something.

Perplexity is that of the answer after its own direct request. The same log-probabilities also give the own
request's likelihood for `topic.py`, so one pass serves both. The first 4 tokens are left out where more than 8
were scored: they decide whether the model refuses or complies, and an unlikely decision is not incoherence.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np

from demur.errors import InputError
from demur.types import Conversation, EngineFingerprint, Generation, Message, Prompt

if TYPE_CHECKING:
    from demur.engines.base import Scored

OPENING = 4
"""Tokens left out of the perplexity of answers of more than twice as many."""
FEWEST = 4
"""Answers of fewer tokens, or fewer words and marks, are judged by being non-empty alone: "Yes." is coherent."""
LEAST_REPETITION = 0.1
"""A band never calls less repetition than this incoherent: one repeated phrase is none."""
SMALLEST_FIT = 50
"""Validation answers a band needs; percentiles of fewer mean nothing."""

_PIECE = re.compile(r"\w{1,12}|[^\w\s]")
_LONGEST_PERIOD = 12


@runtime_checkable
class Scorer(Protocol):
    """The part of an engine that judges need."""

    @property
    def fingerprint(self) -> EngineFingerprint:
        """What decides its numbers."""
        ...

    def logprobs(self, pairs: Sequence[tuple[Conversation, str]]) -> Sequence[Scored]:
        """Natural-log probabilities of each answer's tokens after its conversation, unsteered."""
        ...


@dataclass(frozen=True)
class CoherenceBand:
    """Where unsteered answers lie."""

    low: float
    """1st percentile of perplexity."""
    high: float
    """99th percentile of perplexity."""
    max_repetition: float
    """99th percentile of `repetition`, at least LEAST_REPETITION."""
    n: int
    """Answers it was fitted on."""
    origin: Mapping[str, Any] = field(default_factory=dict)
    """Model, prompt set and decoding of those answers."""


def repetition(text: str) -> float:
    """How much of a text repeats, 0 to 1: the larger of two shares.

    One is the share of its 4-grams (of words and marks) that occurred before; the other the share of the
    text taken by its longest loop, a unit of up to 12 words said at least three times in a row.
    """
    pieces = _PIECE.findall(text.lower())
    if len(pieces) < FEWEST:
        return 0.0
    grams = [tuple(pieces[i : i + 4]) for i in range(len(pieces) - 3)]
    repeated = 1 - len(set(grams)) / len(grams)
    return max(repeated, _longest_loop(pieces) / len(pieces))


def _longest_loop(pieces: Sequence[str]) -> int:
    longest = 0
    for period in range(1, min(_LONGEST_PERIOD, len(pieces) // 3) + 1):
        run = 0
        for i in range(period, len(pieces)):
            run = run + 1 if pieces[i] == pieces[i - period] else 0
            if run >= 2 * period:
                longest = max(longest, run + period)
    return longest


def mean_nll(logprobs: Sequence[float]) -> float:
    """Mean negative log-probability a token, without the opening; nan when there is no token."""
    kept = logprobs[OPENING:] if len(logprobs) > 2 * OPENING else logprobs
    return -math.fsum(kept) / len(kept) if kept else math.nan


def plain_request(generation: Generation, prompt: Prompt | None = None) -> Conversation:
    """The direct request of an answer (or another prompt's), with the answer's prefill."""
    own = prompt or generation.conversation.prompt
    return Conversation(own, (Message("user", own.text),), prefill=generation.conversation.prefill)


def fit_band(
    answers: Sequence[str], mean_nll: Sequence[float], origin: Mapping[str, Any] | None = None
) -> CoherenceBand:
    """The band of unsteered validation answers and their mean negative log-likelihoods (nats a token).

    Empty answers, and those without a finite likelihood, are left out. Raises InputError on fewer than 50.
    """
    if len(answers) != len(mean_nll):
        raise InputError(f"{len(answers)} answers and {len(mean_nll)} likelihoods; each answer needs one")
    rows = [(text, nll) for text, nll in zip(answers, mean_nll, strict=True) if text.strip() and math.isfinite(nll)]
    if len(rows) < SMALLEST_FIT:
        raise InputError(f"a coherence band needs {SMALLEST_FIT} unsteered answers; got {len(rows)}. Generate more.")
    low, high = np.percentile([nll for _, nll in rows], [1, 99])
    most = float(np.percentile([repetition(text) for text, _ in rows], 99))
    return CoherenceBand(
        low=math.exp(low),
        high=math.exp(high),
        max_repetition=max(most, LEAST_REPETITION),
        n=len(rows),
        origin=dict(origin or {}),
    )


def perplexity_fault(logprobs: Sequence[float], band: CoherenceBand, repeated: float) -> str:
    """ "low perplexity", "high perplexity", or "" when the answer lies in the band or is too short to tell.

    repeated: the text's `repetition`. Without any the lower side does not count: it is there for loops, and facts and
    canned refusals are the likeliest texts that a chat model has.
    """
    if len(logprobs) < FEWEST:
        return ""
    perplexity = math.exp(mean_nll(logprobs))
    if perplexity > band.high:
        return "high perplexity"
    return "low perplexity" if perplexity < band.low and repeated else ""
