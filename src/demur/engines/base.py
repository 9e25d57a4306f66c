"""What every engine can do. The Hugging Face engine is the reference; the mock serves the tests."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from demur.activations.store import Activations
from demur.interventions import Intervention
from demur.types import Conversation, Decoding, EngineFingerprint, Generation, Item, Site

Metric = Callable[[Tensor, Tensor], Tensor]
"""Logits of the first answer token [batch, vocab] and the conversations' numbers in the order given, index [batch]
(batches are ordered by length inside) -> one number a row [batch]."""

Steering = Intervention | Sequence[Intervention | None] | None
"""One intervention for all conversations, one for each, or none."""

Streams = Sequence[Mapping[Site, Tensor]]
"""For each conversation, the stream at some sites, [tokens, d_model]."""


@dataclass(frozen=True)
class Request:
    """One answer to generate."""

    conversation: Conversation
    intervention: Intervention | None = None
    arm: str = "unsteered"
    seed: int = 0
    """Added to the decoding's seed; only sampling uses it."""


@dataclass(frozen=True)
class Scored:
    """Log-probabilities of one continuation."""

    logprobs: tuple[float, ...]
    """Natural log, one a token."""
    greedy: bool
    """True when each token is the most probable one in its place."""

    @property
    def total(self) -> float:
        """The continuation's log-likelihood."""
        return sum(self.logprobs)


@runtime_checkable
class Engine(Protocol):
    """Runs conversations under interventions."""

    @property
    def fingerprint(self) -> EngineFingerprint:
        """What decides the numbers it gives."""
        ...

    @property
    def n_layers(self) -> int:
        """Number of blocks."""
        ...

    def generate(self, requests: Sequence[Request], decoding: Decoding) -> list[Generation]:
        """Answers in the order of the requests. Rows may have different interventions."""
        ...

    def logprobs(self, pairs: Sequence[tuple[Conversation, str]], intervention: Steering = None) -> list[list[float]]:
        """Log-probability of each token of each answer after its conversation."""
        ...

    def items(self, items: Sequence[Item], intervention: Intervention | None = None) -> list[list[Scored]]:
        """For each item, each choice scored as plain text after the query."""
        ...

    def last_logits(
        self, conversations: Sequence[Conversation], intervention: Steering = None
    ) -> Float[Tensor, "n vocab"]:
        """Logits of the first answer token: Float[Tensor, "n vocab"], float32."""
        ...

    def opening_logprobs(
        self,
        conversations: Sequence[Conversation],
        openings: Sequence[tuple[int, ...]],
        intervention: Intervention | None = None,
    ) -> Float[Tensor, "n openings"]:
        """Log-probability that the answer begins with each opening: Float[Tensor, "n openings"]."""
        ...

    def activations(
        self,
        conversations: Sequence[Conversation],
        sites: Sequence[Site],
        tail: int | None = None,
        intervention: Intervention | None = None,
    ) -> Activations:
        """The residual stream at sites as the intervention leaves it there; `tail`: only the last k prompt tokens."""
        ...

    def gradients(
        self,
        conversations: Sequence[Conversation],
        sites: Sequence[Site],
        metric: Metric,
        streams: Streams | None = None,
    ) -> Mapping[Site, list[Tensor]]:
        """d metric / d stream at each site, float32: a [tokens, d_model] tensor a conversation.

        streams: the VALUE of the stream at these sites is set to what is given, while gradients pass on through
        it (straight-through), so that an early site's gradient has its effect through later sites in it.
        """
        ...

    def content(self, conversations: Sequence[Conversation]) -> list[Bool[Tensor, " _"]]:
        """Which tokens are the user's own text, not the template's, the system's or the assistant's: [tokens] each."""
        ...


WhiteBoxEngine = Engine


def refusal_scores(logits: Float[Tensor, "n vocab"], openings: Sequence[int]) -> Float[Tensor, " n"]:
    """log p - log(1 - p), p the probability mass of the opening tokens (Arditi et al.).

    logits: [n, vocab] at the last prompt token. Returns [n] float64.
    """
    logp = torch.log_softmax(logits.double(), -1)
    mass = logp[:, torch.as_tensor(list(openings), device=logits.device)].logsumexp(-1)
    return mass - torch.log1p(-mass.exp().clamp(max=1 - 1e-12))
