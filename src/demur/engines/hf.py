"""The reference engine: transformers models with demur's own loops."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from demur.activations.store import Activations
from demur.engines import collect, passages
from demur.engines.base import Metric, Pairs, Request, Row, Scored, Steering, Streams
from demur.engines.chat import Said, chat
from demur.engines.decode import Answer, Progress, decoded
from demur.engines.reasoning import Split, is_open, split
from demur.engines.rows import (
    answer_tokens,
    check_length,
    content_mask,
    filled,
    following,
    one_each,
    open_turn,
    plain_tokens,
    rendered,
    row_of,
)
from demur.engines.score import Continuation, score
from demur.errors import InputError, OutOfRoom
from demur.interventions import Intervention, bound, bound_each
from demur.models import load as models
from demur.models.fingerprint import device_of
from demur.models.fits import check_intervention, check_site
from demur.models.load import LoadedModel
from demur.models.memory import out_of_memory
from demur.models.placement import DeviceMap
from demur.models.tokens import marks
from demur.models.wrap import from_parts
from demur.types import Conversation, Decoding, EngineFingerprint, Generation, Site

OPENING = 16
"""Last tokens of a prompt in which a chat template may have opened a reasoning block."""


class HFEngine:
    """Generates, scores and collects with a Hugging Face model.

    model: a LoadedModel, or what `demur.models.load.load` takes, which gets `dtype` and `loading`. slots: the largest
    decoding batch.
    """

    def __init__(
        self, model: LoadedModel | str | os.PathLike[str], dtype: str = "auto", slots: int = 96, **loading: Any
    ):
        if not isinstance(model, (LoadedModel, str, os.PathLike)):
            raise InputError(
                f"an HFEngine takes a name or a LoadedModel, not a {type(model).__name__}; "
                f"wrap a model that you hold with demur.wrap(model, tokenizer)."
            )
        if isinstance(model, LoadedModel) and loading:
            raise InputError(f"the model is loaded already; give {', '.join(loading)} where it is loaded.")
        self.model = model if isinstance(model, LoadedModel) else models.load(model, dtype, **loading)
        self.slots = slots
        self.answered = 0
        self._known: tuple[tuple[torch.device, int], EngineFingerprint] | None = None

    def __repr__(self) -> str:
        dtype = self.fingerprint.dtype
        return f"<HFEngine {self.name}: {self.n_layers} layers, width {self.d_model}, {dtype}>"

    @property
    def name(self) -> str:
        """The model's name, folder or hub id."""
        return self.model.name

    @property
    def fingerprint(self) -> EngineFingerprint:
        """Weights, tokenizer, template, dtype, processor, libraries; in bf16 the decoding batch too."""
        now = (self.model.model.device, self.slots)
        if self._known is None or self._known[0] != now:
            made = self.model.fingerprint
            slots = 0 if made.dtype == "fp32" else self.slots
            self._known = (now, replace(made, device=device_of(self.model.model), slots=slots))
        return self._known[1]

    @property
    def n_layers(self) -> int:
        """Number of blocks."""
        return self.model.n_layers

    @property
    def d_model(self) -> int:
        """Width of the residual stream."""
        return self.model.d_model

    def check(self, intervention: Intervention | None) -> None:
        """UnknownName or BadVector unless the intervention fits this model."""
        if (intervention := bound(intervention, self.n_layers)) is None:
            return
        check_intervention(intervention, self.n_layers, self.d_model, self.model.family, self.model.config, self.name)

    def _fitting(self, interventions: Sequence[Intervention | None]) -> list[Intervention | None]:
        """Each as this model runs it, checked."""
        found = bound_each(interventions, self.n_layers)
        for one in {id(one): one for one in found}.values():
            self.check(one)
        return found

    @torch.inference_mode()
    def generate(
        self, requests: Sequence[Request], decoding: Decoding, progress: Progress | None = None
    ) -> list[Generation]:
        """Answers in the order of the requests; open assistant turns are played first, turn by turn."""
        steers = self._fitting([r.intervention for r in requests])
        requests = [replace(r, intervention=steer) for r, steer in zip(requests, steers, strict=True)]
        while True:
            turns = {i: turn for i, r in enumerate(requests) if (turn := open_turn(r.conversation)) is not None}
            if not turns:
                break
            rows = [self._row(requests[i], until=turn) for i, turn in turns.items()]
            answers = self._run(rows, decoding, None)
            for (i, turn), row, answer in zip(turns.items(), rows, answers, strict=True):
                said = self._said(row, answer)
                played = filled(requests[i].conversation, turn, said.answer.strip() or "...")
                requests[i] = replace(requests[i], conversation=played)
        rows = [self._row(request) for request in requests]
        answers = self._run(rows, decoding, progress)
        self.answered += len(answers)
        return [
            Generation("", r.conversation, said.answer, tuple(a.tokens), row.prompt_length, a.finish, r.arm,  # pyright: ignore[reportArgumentType]
                       said.reasoning)
            for r, row, a in zip(requests, rows, answers, strict=True)
            for said in [self._said(row, a)]
        ]  # fmt: skip

    def chat(
        self,
        said: Said,
        steer: Intervention | str | None = None,
        *,
        attack: str = "direct",
        max_new_tokens: int = 96,
        temperature: float = 0.0,
        top_p: float = 1.0,
        seed: int = 0,
        system: str | None = None,
    ) -> str:
        """The answer to a text or to messages, as text.

        steer: an intervention, or a line as on the command line (`add:refusal.safetensors:0.3r`). attack: the name of
        one that rewrites the text. temperature 0 is greedy. Raises InputError for what cannot be sent.
        """
        return chat(self, said, steer, attack, system, Decoding(max_new_tokens, temperature, top_p, seed))

    def _row(self, request: Request, until: int | None = None) -> Row:
        return row_of(self.model, request.conversation, request.intervention, request.seed, until)

    def _run(self, rows: Sequence[Row], decoding: Decoding, progress: Progress | None) -> list[Answer]:
        """Decode; when memory runs out, with half the batch, down to one row."""
        while True:
            try:
                return decoded(self.model, rows, decoding, self.slots, progress)
            except (RuntimeError, MemoryError) as error:
                if not out_of_memory(error):
                    raise
                if self.slots == 1:
                    raise OutOfRoom("memory ran out with a single prompt in the batch; shorten it.") from error
                self.slots = max(1, self.slots // 2)  # from here on: in bf16 the fingerprint says so

    def _said(self, row: Row, answer: Answer) -> Split:
        """The answer's text, with its reasoning apart. An answer without reasoning keeps its white space."""
        words = self.model.tokenizer
        tokens = self._spoken(answer)
        # Tags may be special tokens, so they are looked for before those are taken out.
        raw = words.decode(tokens)
        whole = split(raw, opened=is_open(words.decode(row.tokens[-OPENING:])))
        if whole.answer == raw:
            return Split("", self._text(answer))
        special = re.compile("|".join(map(re.escape, words.all_special_tokens)) or "(?!)")
        return Split(special.sub("", whole.reasoning).strip(), special.sub("", whole.answer).strip(), whole.closed)

    def _text(self, answer: Answer) -> str:
        return self.model.tokenizer.decode(self._spoken(answer), skip_special_tokens=True)

    def _spoken(self, answer: Answer) -> list[int]:
        """The answer's tokens without that of the turn's end, which need be no special one."""
        ended = answer.finish == "end" and marks(self.model.tokenizer, answer.tokens[-1])
        return answer.tokens[:-1] if ended else answer.tokens

    @torch.inference_mode()
    def logprobs(self, pairs: Pairs, intervention: Steering = None) -> list[Scored]:
        """Log-probabilities of what follows each context, behind its prefilled answer where there is one.

        Raises InputError for a context without a token.
        """
        steers = self._fitting(one_each(intervention, len(pairs)))
        rows: dict[int | str, tuple[Row, str, Sequence[int]]] = {}
        wanted = []
        for (context, answer), steer in zip(pairs, steers, strict=True):
            key = context if isinstance(context, str) else id(context)
            if key not in rows:
                rows[key] = self._plain(context) if isinstance(context, str) else self._talk(context)
            row, text, cut = rows[key]
            tokens = tuple(following(self.model, text, cut, answer)) if isinstance(answer, str) else answer
            wanted.append(Continuation(row.tokens, tokens, row.label, len(row.tokens) - row.prompt_length, steer))
        return score(self.model, wanted)

    def _plain(self, text: str) -> tuple[Row, str, Sequence[int]]:
        """The row of a plain text, the text, and the tokens that are the text's."""
        tokens = plain_tokens(self.model, text)
        if not tokens:
            raise InputError(f"the text {text!r} has no token for anything to follow; give it a text.")
        row = Row(tuple(tokens), len(tokens), text if len(text) <= 40 else f"{text[:37]}...")
        return row, text, tokens[len(self.model.cut.begin) :]

    def _talk(self, conversation: Conversation) -> tuple[Row, str, Sequence[int]]:
        """The same of a conversation with its prefilled answer."""
        row = row_of(self.model, conversation)
        return row, rendered(self.model, conversation) + conversation.prefill, row.tokens

    @torch.inference_mode()
    def last_logits(
        self, conversations: Sequence[Conversation], intervention: Steering = None
    ) -> Float[Tensor, "n vocab"]:
        """Logits of the first answer token [n, vocab], float32, under one intervention for all or one for each."""
        steers = self._fitting(one_each(intervention, len(conversations)))
        rows = [row_of(self.model, c, steer) for c, steer in zip(conversations, steers, strict=True)]
        return collect.last_logits(self.model, rows)

    @torch.inference_mode()
    def activations(
        self,
        conversations: Sequence[Conversation],
        sites: Sequence[Site],
        tail: int | None = None,
        intervention: Intervention | None = None,
    ) -> Activations:
        """The stream at `sites` [n, tokens or tail, d_model] as the intervention leaves it there, with its mask."""
        self.check_sites(sites)
        (intervention,) = self._fitting([intervention])
        rows = [row_of(self.model, c, intervention) for c in conversations]
        return collect.activations(self.model, rows, sites, tail)

    def gradients(
        self,
        conversations: Sequence[Conversation],
        sites: Sequence[Site],
        metric: Metric,
        streams: Streams | None = None,
    ) -> Mapping[Site, list[Tensor]]:
        """d metric / d stream at each site, [tokens, d_model] a conversation; `streams` set the value at sites."""
        self.check_sites([*sites, *(site for some in streams or () for site in some)])
        rows = [row_of(self.model, c) for c in conversations]
        return collect.gradients(self.model, rows, sites, metric, streams)

    def content(self, conversations: Sequence[Conversation]) -> list[Bool[Tensor, " _"]]:
        """Which tokens are the user's own text, [tokens] a conversation (`rows.content_mask`)."""
        return [content_mask(self.model, c) for c in conversations]

    def check_sites(self, sites: Sequence[Site]) -> None:
        """UnknownName unless the model has these sites."""
        for site in dict.fromkeys(sites):
            check_site(site, self.n_layers, self.model.family, self.model.config, self.name)

    def encode(self, text: str, begin: bool = False) -> list[int]:
        """Token ids of a text; with `begin`, begun as the tokenizer begins a text (with BOS where it has one)."""
        return plain_tokens(self.model, text) if begin else answer_tokens(self.model, text)

    def decode(self, tokens: Sequence[int]) -> str:
        """The text of token ids."""
        return self.model.tokenizer.decode(list(tokens))

    def row(self, conversation: Conversation, answer: str = "") -> Row:
        """The tokens of the templated conversation with an answer behind it, the prefilled part included."""
        row, text, cut = self._talk(conversation)
        return replace(row, tokens=(*row.tokens, *following(self.model, text, cut, answer)))

    def check_room(self, row: Row, new_tokens: int) -> None:
        """InputError when a row and so many new tokens pass the model's limit, or a change of its positions."""
        check_length(self.model, row.label, len(row.tokens), new_tokens)

    def read(self, rows: Sequence[Row], sites: Sequence[Site]) -> Iterator[Activations]:
        """The unsteered stream at `sites`, a batch of passages at a time, in the order given (padding: see `mask`)."""
        self.check_sites(sites)
        return passages.read(self.model, rows, sites)

    def row_logprobs(self, rows: Sequence[Row], intervention: Intervention | None = None) -> list[Scored]:
        """Log-probabilities of every token of each passage but its first, given those before it."""
        (intervention,) = self._fitting([intervention])
        return passages.row_logprobs(self.model, rows, intervention)

    def lens(self, vectors: Float[Tensor, "n d_model"]) -> Float[Tensor, "n vocab"]:
        """The logit lens: final norm and head on vectors of the stream, logits float32 (nostalgebraist, 2020)."""
        return passages.lens(self.model, vectors)


def load(
    name: str | os.PathLike[str],
    dtype: str = "auto",
    device: str | None = None,
    *,
    device_map: DeviceMap | None = None,
    revision: str | None = None,
    chat_template: str | os.PathLike[str] | None = None,
    thinking: bool | None = None,
    slots: int = 96,
) -> HFEngine:
    """An engine for a name from `demur models`, a folder, a .gguf file, a PEFT adapter's folder or a hub id.

    Raises as `demur.models.load.load`.

    dtype: "fp32", "bf16" or "auto". device: where all of it goes; device_map: instead, how accelerate splits it.
    revision: a hub id's branch, tag or commit. chat_template: a file, or a text, that stands in for the tokenizer's
    own. thinking: on or off, where the template has a switch. slots: the largest decoding batch.
    """
    model = models.load(name, dtype, device, device_map=device_map, revision=revision, chat_template=chat_template,
                        thinking=thinking)  # fmt: skip
    return HFEngine(model, slots=slots)


def wrap(model: Any, tokenizer: Any, name: str = "", *, thinking: bool | None = None) -> HFEngine:
    """An engine for a transformers model that you hold. Raises as `demur.models.wrap.from_parts`.

    thinking: on or off, where the chat template has a switch for it. Outside the engine's own passes the model is what
    it was: its attention, its gradients, its `generate`.
    """
    return HFEngine(from_parts(model, tokenizer, name, thinking=thinking))
