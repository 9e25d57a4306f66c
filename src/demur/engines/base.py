"""What every engine can do. The Hugging Face engine is the reference; the mock serves the tests."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from demur.activations.store import Activations
from demur.errors import InputError
from demur.interventions import Intervention
from demur.types import Conversation, Decoding, EngineFingerprint, Generation, Site

Metric = Callable[[Tensor, Tensor], Tensor]
"""Logits of the first answer token [batch, vocab] and the conversations' numbers in the order given, index [batch]
(batches are ordered by length inside) -> one number a row [batch]."""

Steering = Intervention | Sequence[Intervention | None] | None
"""One intervention for all conversations, one for each, or none."""

Pairs = Sequence[tuple[Conversation | str, str | tuple[int, ...]]]
"""Contexts and what follows each. A context is a conversation, templated, or plain text, begun as the tokenizer begins
a text; what follows is text or token ids."""

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


@dataclass(frozen=True)
class Row:
    """One sequence of tokens to run."""

    tokens: tuple[int, ...]
    """The templated prompt, then the prefilled answer; or a passage to read."""
    prompt_length: int
    """Tokens of the templated prompt alone."""
    label: str
    """The prompt's id, for error messages."""
    intervention: Intervention | None = None
    seed: int = 0


@runtime_checkable
class Engine(Protocol):
    """Runs conversations under interventions."""

    @property
    def name(self) -> str:
        """The model's name, folder or hub id."""
        ...

    @property
    def fingerprint(self) -> EngineFingerprint:
        """What decides the numbers it gives."""
        ...

    @property
    def n_layers(self) -> int:
        """Number of blocks."""
        ...

    @property
    def d_model(self) -> int:
        """Width of the residual stream."""
        ...

    @property
    def answered(self) -> int:
        """Answers that it has generated since it was made."""
        ...

    def check(self, intervention: Intervention | None) -> None:
        """UnknownName or BadVector unless the intervention fits the model; before any work."""
        ...

    def generate(self, requests: Sequence[Request], decoding: Decoding) -> list[Generation]:
        """Answers in the order of the requests. Rows may have different interventions."""
        ...

    def logprobs(self, pairs: Pairs, intervention: Steering = None) -> list[Scored]:
        """Log-probabilities of what follows each context, in order. All of a plain text is prompt."""
        ...


@runtime_checkable
class WhiteBoxEngine(Engine, Protocol):
    """An engine whose residual stream, logits and tokens can be read."""

    def last_logits(
        self, conversations: Sequence[Conversation], intervention: Steering = None
    ) -> Float[Tensor, "n vocab"]:
        """Logits of the first answer token: Float[Tensor, "n vocab"], float32."""
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

    def check_sites(self, sites: Sequence[Site]) -> None:
        """UnknownName unless the model has these sites."""
        ...

    def encode(self, text: str, begin: bool = False) -> list[int]:
        """Token ids of a text; with `begin`, begun as the tokenizer begins a text (with BOS where it has one)."""
        ...

    def decode(self, tokens: Sequence[int]) -> str:
        """The text of token ids."""
        ...

    def row(self, conversation: Conversation, answer: str = "") -> Row:
        """The tokens of the templated conversation with an answer behind it, the prefilled part included."""
        ...

    def check_room(self, row: Row, new_tokens: int) -> None:
        """InputError when the model has no room for a row with so many new tokens behind it."""
        ...

    def read(self, rows: Sequence[Row], sites: Sequence[Site]) -> Iterator[Activations]:
        """The unsteered stream at `sites`, a batch of passages at a time, in the order given (padding: see `mask`)."""
        ...

    def row_logprobs(self, rows: Sequence[Row], intervention: Intervention | None = None) -> list[Scored]:
        """Log-probabilities of every token of each passage but its first, given those before it."""
        ...

    def lens(self, vectors: Float[Tensor, "n d_model"]) -> Float[Tensor, "n vocab"]:
        """The logit lens: final norm and head on vectors of the stream, logits float32 (nostalgebraist, 2020)."""
        ...


def white_box(engine: Engine) -> WhiteBoxEngine:
    """The engine, if its residual stream can be read; InputError otherwise."""
    if not isinstance(engine, WhiteBoxEngine):
        raise InputError(
            f"this needs the model's residual stream, which {type(engine).__name__} does not show; "
            f"run the model with demur.load or demur.wrap."
        )
    return engine


def refusal_scores(logits: Float[Tensor, "n vocab"], openings: Sequence[int]) -> Float[Tensor, " n"]:
    """log p - log(1 - p), p the probability mass of the opening tokens (Arditi et al.).

    logits: [n, vocab] at the last prompt token. Returns [n] float64.
    """
    logp = torch.log_softmax(logits.double(), -1)
    mass = logp[:, torch.as_tensor(list(openings), device=logits.device)].logsumexp(-1)
    return mass - torch.log1p(-mass.exp().clamp(max=1 - 1e-12))
