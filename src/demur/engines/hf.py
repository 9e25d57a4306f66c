"""The reference engine: transformers models with demur's own loops."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from demur.activations.store import Activations
from demur.engines import collect
from demur.engines.base import Metric, Request, Scored, Steering, Streams
from demur.engines.decode import Answer, Decoder, Progress
from demur.engines.rows import Row, answer_tokens, content_mask, filled, one_each, open_turn, plain_tokens, row_of
from demur.engines.score import Continuation, score
from demur.errors import BadVector, InputError, OutOfRoom
from demur.interventions import Context, Intervention, bound, bound_each
from demur.models.hooks import check_site
from demur.models.load import LoadedModel, load
from demur.types import Conversation, Decoding, EngineFingerprint, Generation, Item, Site


class HFEngine:
    """Generates, scores and collects with a Hugging Face model.

    model: a LoadedModel, or what `demur.models.load.load` takes. slots: the largest decoding batch.
    """

    def __init__(self, model: LoadedModel | str, dtype: str = "auto", slots: int = 96):
        self.model = load(model, dtype) if isinstance(model, str) else model
        self.slots = slots

    @property
    def fingerprint(self) -> EngineFingerprint:
        """Weights, tokenizer, template and dtype."""
        return self.model.fingerprint

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
        like = torch.zeros(1, 1, self.d_model)
        context = Context(torch.zeros(1, 1, dtype=torch.long), torch.ones(1, 1, dtype=torch.long))
        for site in sorted(intervention.sites):
            check_site(site, self.n_layers, self.model.family, self.model.model.config, self.model.name)
            try:
                intervention.edit(like, site, context)
            except RuntimeError as error:
                raise BadVector(
                    f"the vector at {site} does not fit {self.model.name}, whose width is {self.d_model}; "
                    f"fit it on this model."
                ) from error

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
            for (i, turn), answer in zip(turns.items(), self._run(rows, decoding, None), strict=True):
                played = filled(requests[i].conversation, turn, self._text(answer).strip() or "...")
                requests[i] = replace(requests[i], conversation=played)
        rows = [self._row(request) for request in requests]
        answers = self._run(rows, decoding, progress)
        return [
            Generation("", r.conversation, self._text(a), tuple(a.tokens), row.prompt_length, a.finish, r.arm)  # pyright: ignore[reportArgumentType]
            for r, row, a in zip(requests, rows, answers, strict=True)
        ]

    def _row(self, request: Request, until: int | None = None) -> Row:
        return row_of(self.model, request.conversation, request.intervention, request.seed, until)

    def _run(self, rows: Sequence[Row], decoding: Decoding, progress: Progress | None) -> list[Answer]:
        """Decode; when memory runs out, with half the batch, down to one row."""
        slots = self.slots
        while True:
            try:
                return Decoder(self.model, decoding, slots).run(rows, progress)
            except (RuntimeError, MemoryError) as error:
                if not _out_of_memory(error):
                    raise
                if slots == 1:
                    raise OutOfRoom("memory ran out with a single prompt in the batch; shorten it.") from error
                slots = max(1, slots // 2)

    def _text(self, answer: Answer) -> str:
        return self.model.tokenizer.decode(answer.tokens, skip_special_tokens=True)

    @torch.inference_mode()
    def logprobs(self, pairs: Sequence[tuple[Conversation, str]], intervention: Steering = None) -> list[list[float]]:
        """Log-probability of each token of each answer after its conversation (the prefill included)."""
        steers = self._fitting(one_each(intervention, len(pairs)))
        rows: dict[int, Row] = {}
        wanted = []
        for (conversation, answer), steer in zip(pairs, steers, strict=True):
            if id(conversation) not in rows:
                rows[id(conversation)] = row_of(self.model, conversation)
            row, tokens = rows[id(conversation)], tuple(answer_tokens(self.model, answer))
            wanted.append(Continuation(row.tokens, tokens, row.label, len(row.tokens) - row.prompt_length, steer))
        return [list(scored.logprobs) for scored in score(self.model, wanted)]

    @torch.inference_mode()
    def items(self, items: Sequence[Item], intervention: Intervention | None = None) -> list[list[Scored]]:
        """Each choice of each item as plain text after the query, a space between them."""
        (intervention,) = self._fitting([intervention])
        wanted = []
        for item in items:
            context = tuple(plain_tokens(self.model, item.query))
            if not context:
                raise InputError(f"item {item.id!r} has an empty query; give it a text.")
            for choice in item.choices:
                answer = choice if choice[:1].isspace() else " " + choice
                wanted.append(Continuation(context, tuple(answer_tokens(self.model, answer)), item.id, 0, intervention))
        scored = iter(score(self.model, wanted))
        return [[next(scored) for _ in item.choices] for item in items]

    @torch.inference_mode()
    def last_logits(
        self, conversations: Sequence[Conversation], intervention: Steering = None
    ) -> Float[Tensor, "n vocab"]:
        """Logits of the first answer token [n, vocab], float32, under one intervention for all or one for each."""
        steers = self._fitting(one_each(intervention, len(conversations)))
        rows = [row_of(self.model, c, steer) for c, steer in zip(conversations, steers, strict=True)]
        return collect.last_logits(self.model, rows)

    @torch.inference_mode()
    def opening_logprobs(
        self,
        conversations: Sequence[Conversation],
        openings: Sequence[tuple[int, ...]],
        intervention: Intervention | None = None,
    ) -> Float[Tensor, "n openings"]:
        """Log-probability that the answer begins with each opening [n, openings]."""
        (intervention,) = self._fitting([intervention])
        rows = [row_of(self.model, c) for c in conversations]
        wanted = [
            Continuation(row.tokens, opening, row.label, len(row.tokens) - row.prompt_length, intervention)
            for row in rows
            for opening in openings
        ]
        totals = [scored.total for scored in score(self.model, wanted)]
        return torch.tensor(totals).view(len(rows), len(openings))

    @torch.inference_mode()
    def activations(
        self,
        conversations: Sequence[Conversation],
        sites: Sequence[Site],
        tail: int | None = None,
        intervention: Intervention | None = None,
    ) -> Activations:
        """The stream at `sites` [n, tokens or tail, d_model] as the intervention leaves it there, with its mask."""
        self._check_sites(sites)
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
        self._check_sites([*sites, *(site for some in streams or () for site in some)])
        rows = [row_of(self.model, c) for c in conversations]
        return collect.gradients(self.model, rows, sites, metric, streams)

    def content(self, conversations: Sequence[Conversation]) -> list[Bool[Tensor, " _"]]:
        """Which tokens are the user's own text, [tokens] a conversation (`rows.content_mask`)."""
        return [content_mask(self.model, c) for c in conversations]

    def _check_sites(self, sites: Sequence[Site]) -> None:
        for site in dict.fromkeys(sites):
            check_site(site, self.n_layers, self.model.family, self.model.model.config, self.model.name)


def _out_of_memory(error: Exception) -> bool:
    """Torch has a class for it on GPUs; the CPU's allocator raises a plain RuntimeError."""
    return isinstance(error, (torch.OutOfMemoryError, MemoryError)) or "allocate memory" in str(error)
