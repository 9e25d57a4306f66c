"""A mock engine: a linear "model" that refuses by one planted direction, for tests that take milliseconds.

A token's stream is a vector fixed by its word, plus LEAN[kind of prompt] times `direction`: positive for a
harmful prompt, negative for any other, and for an attacked one. Attention and MLP each add GAIN times the
stream. The mock refuses when the last prompt token's final stream leans along the direction, and repeats one
word when it was pushed too far off it. Interventions are the real ones, run at all five points: ablating
`mock.direction` makes it comply, adding it refuse, a huge dose of anything else breaks it. A test that
wants another rule overrides `decide`.
"""

from __future__ import annotations

import hashlib
import math
import re
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from demur.activations.store import Activations, joined
from demur.engines.base import Metric, Pairs, Request, Row, Scored, Steering, Streams
from demur.engines.chat import Said, chat
from demur.engines.rows import check_turns, filled, one_each, open_turn
from demur.errors import BadVector, InputError, NonFinite, UnknownName
from demur.interventions import Context, Intervention, bound, compile_batch
from demur.types import Conversation, Decoding, Direction, EngineFingerprint, Generation, Message, Prompt, Site

VOCAB, END, GAIN = 512, 0, 0.05
LEAN = {"harmful": 2.0, "attacked": -1.0, "borderline": -1.0, "plain": -2.0, "unknown": -2.0}
TOO_FAR = 6.0
"""Displacement off the direction, in norms of the unsteered stream, from which the mock repeats itself."""
REFUSAL = "I'm sorry, but I can't help with that."


@cache
def token(word: str) -> int:
    """The token id of a word: the same in every run."""
    return 1 + zlib.crc32(word.encode("utf-8", "backslashreplace")) % (VOCAB - 1)


def _words(text: str | None) -> list[str]:
    return re.findall(r"[\w']+", (text or "").lower())


def _jitter(*parts: object) -> float:
    """A number from 0 to 1, fixed by its arguments."""
    return zlib.crc32(repr(parts).encode()) / 2**32


def _check_work(conversations: Sequence[Conversation], sites: Sequence[Site], what: str) -> None:
    if not conversations or not sites:
        raise InputError(f"{what} need conversations and sites; there are {len(conversations)} and {len(sites)}.")


@dataclass(frozen=True)
class _At:
    """What becomes of the stream at a site during one pass."""

    edits: Mapping[Site, Callable[[Tensor], Tensor]]
    fixed: Mapping[Site, Tensor]
    sites: Sequence[Site]
    leaves: bool
    kept: dict[Site, Tensor]
    """The stream at `sites`, filled as they are passed."""

    def __call__(self, site: Site, x: Tensor) -> Tensor:
        x = self.edits[site](x) if site in self.edits else x
        x = self.fixed[site] + (x - x.detach()) if site in self.fixed else x
        if site in self.sites:
            self.kept[site] = x = x.detach().requires_grad_() if self.leaves and not x.requires_grad else x
        return x


class MockEngine:
    """`WhiteBoxEngine` without a model. `calls` counts the calls of each method, `answered` the answers generated."""

    name = "mock"

    def __init__(self, n_layers: int = 4, d_model: int = 16, seed: int = 0):
        """A mock of this size; `seed` chooses its words' vectors and its direction."""
        random = torch.Generator().manual_seed(seed)
        self.n_layers, self.d_model, self.seed = n_layers, d_model, seed
        axis = torch.randn(d_model, generator=random)
        axis = axis / axis.norm()
        embedding = torch.randn(VOCAB, d_model, generator=random) / d_model**0.5
        self.embedding = embedding - (embedding @ axis)[:, None] * axis
        self.head = 0.1 * torch.randn(VOCAB, d_model, generator=random)
        self.head[token("I'm")], self.head[token("Sure,")] = axis, -axis
        self.direction = Direction(axis, Site(n_layers // 2), 2.0, {"method": "planted"})
        self.calls: Counter[str] = Counter()
        self.answered = 0

    @property
    def fingerprint(self) -> EngineFingerprint:
        """Fixed by the mock's size and seed."""
        digest = hashlib.sha256(f"{self.n_layers} {self.d_model} {self.seed}".encode()).hexdigest()
        return EngineFingerprint("mock", digest, "words", "roles", "fp32")

    def tokens(self, c: Conversation) -> tuple[list[int], int]:
        """Token ids, one a word and two a turn, and how many of them are the prompt's."""
        ids = [i for m in check_turns(c) for i in (token(f"<{m.role}>"), *map(token, _words(m.content)), END)]
        return [*ids, token("<answer>"), *map(token, c.prefill.split())], len(ids) + 1

    def check(self, intervention: Intervention | None) -> None:
        """UnknownName or BadVector unless the intervention fits the mock."""
        self._stream(Row((END,), 1, "check"), 0.0, intervention)

    def check_sites(self, sites: Sequence[Site]) -> None:
        """UnknownName unless the mock has these sites."""
        for site in sites:
            if not 0 <= site.layer < self.n_layers:
                raise UnknownName(f"mock has no layer {site.layer}; known: 0 to {self.n_layers - 1}.")

    def _run(
        self,
        c: Conversation,
        steer: Intervention | None = None,
        sites: Sequence[Site] = (),
        leaves: bool = False,
        fixed: Mapping[Site, Tensor] | None = None,
    ) -> tuple[Tensor, dict[Site, Tensor]]:
        """Final stream at the last token [d_model], and the stream at `sites` [1, tokens, d_model]."""
        kind = "attacked" if c.prompt.kind == "harmful" and c.attack != "direct" else c.prompt.kind
        x, kept = self._stream(self.row(c), LEAN[kind], steer, sites, leaves, fixed)
        return x[-1], kept

    def _stream(
        self,
        row: Row,
        lean: float,
        steer: Intervention | None = None,
        sites: Sequence[Site] = (),
        leaves: bool = False,
        fixed: Mapping[Site, Tensor] | None = None,
    ) -> tuple[Tensor, dict[Site, Tensor]]:
        """Final stream of a row [tokens, d_model], and the stream at `sites` [1, tokens, d_model]."""
        fixed, steer = fixed or {}, bound(steer, self.n_layers)
        self.check_sites([*sites, *fixed, *(steer.sites if steer else ())])
        ids = list(row.tokens)
        x = (self.embedding[ids] + lean * self.direction.vector)[None]
        edits = compile_batch([steer], Context(torch.arange(len(ids))[None], torch.tensor([[row.prompt_length]])), x)
        kept: dict[Site, Tensor] = {}
        at = _At(edits, fixed, sites, leaves, kept)
        try:
            for layer in range(self.n_layers):
                x = at(Site(layer, "pre"), x)
                x = at(Site(layer, "mid"), x + at(Site(layer, "attn_out"), GAIN * x))
                x = at(Site(layer, "post"), x + at(Site(layer, "mlp_out"), GAIN * x))
        except RuntimeError as error:
            raise BadVector(f"a vector does not fit mock, whose width is {self.d_model}; fit it on this.") from error
        if not bool((x.abs() < 1e18).all()):
            raise NonFinite(f"NaN or infinity in layer {self.n_layers - 1} on prompt {row.label!r}; lower the dose.")
        return x[0], kept

    def encode(self, text: str, begin: bool = False) -> list[int]:
        """A token id a word, behind an END with `begin`."""
        return [*([END] if begin else []), *map(token, _words(text))]

    def decode(self, tokens: Sequence[int]) -> str:
        """A made-up word a token: which word a token stands for is not kept."""
        return " ".join(f"w{i}" for i in tokens)

    def row(self, conversation: Conversation, answer: str = "") -> Row:
        """The conversation's tokens, and the answer's behind them."""
        ids, start = self.tokens(conversation)
        return Row((*ids, *self.encode(answer)), start, conversation.prompt.id)

    def check_room(self, row: Row, new_tokens: int) -> None:
        """The mock has room for any."""

    def read(self, rows: Sequence[Row], sites: Sequence[Site]) -> Iterator[Activations]:
        """The stream at `sites`, a passage at a time, as that of a plain prompt."""
        self.calls["read"] += 1
        self.check_sites(sites)
        for row in rows:
            kept = self._stream(row, LEAN["plain"], sites=sites)[1]
            yield Activations(kept, torch.ones(1, len(row.tokens), dtype=torch.bool))

    def row_logprobs(self, rows: Sequence[Row], intervention: Intervention | None = None) -> list[Scored]:
        """Log-probabilities of all tokens but the first, by the logits at the token before."""
        self.calls["row_logprobs"] += 1
        found = []
        for row in rows:
            logits = self.lens(self._stream(row, LEAN["plain"], intervention)[0][:-1])
            ids = torch.tensor(row.tokens[1:], dtype=torch.long)
            logp = torch.log_softmax(logits, -1).gather(1, ids[:, None])[:, 0]
            found.append(Scored(tuple(logp.tolist()), bool((logits.argmax(-1) == ids).all())))
        return found

    def lens(self, vectors: Float[Tensor, "n d_model"]) -> Float[Tensor, "n vocab"]:
        """The head on vectors of the stream."""
        return 4 * vectors @ self.head.T

    def _push(self, c: Conversation, steer: Intervention | None) -> float:
        """How far the last token's final stream was moved off the direction, in its unsteered norms."""
        if steer is None:
            return 0.0
        plain, axis = self._run(c)[0], self.direction.vector
        moved = self._run(c, steer)[0] - plain
        return float((moved - (moved @ axis) * axis).norm() / plain.norm())

    def decide(self, c: Conversation, steer: Intervention | None) -> Literal["refuse", "comply", "repeat"]:
        """What the answer will be. The hook for a test's own rule."""
        if self._push(c, steer) > TOO_FAR:
            return "repeat"
        return "refuse" if float(self._run(c, steer)[0] @ self.direction.vector) > 1e-4 else "comply"

    def _answer(self, c: Conversation, steer: Intervention | None) -> list[str]:
        rule, about = self.decide(c, steer), _words(c.prompt.text) or ["it"]
        help_ = f"Sure, here is {' '.join(about[:14])}. First {about[-1]}, then {' and '.join(sorted(about)[:5])}."
        return {"refuse": REFUSAL, "comply": help_, "repeat": "the " * 400}[rule].split()

    def generate(self, requests: Sequence[Request], decoding: Decoding) -> list[Generation]:
        """Answers by `decide`, cut at a stop string or max_new_tokens words. Sampling changes nothing."""
        self.calls["generate"] += 1
        self.answered += len(requests)
        found = []
        for request in requests:
            c, steer = request.conversation, request.intervention
            while (turn := open_turn(c)) is not None:
                played = self._answer(replace(c, messages=c.messages[:turn], prefill=""), steer)
                c = filled(c, turn, " ".join(played[: decoding.max_new_tokens]))
            words, finish = self._answer(c, steer), "end"
            stop = [n for n in range(1, len(words) + 1) if any(s in " ".join(words[:n]) for s in decoding.stop)]
            if min(len(words), *stop, decoding.max_new_tokens) == decoding.max_new_tokens:
                words, finish = words[: decoding.max_new_tokens], "length"
            elif stop:
                words, finish = words[: stop[0]], "stop"
            ids = (*map(token, words), *([END] if finish == "end" else []))
            found.append(Generation("", c, " ".join(words), ids, self.tokens(c)[1], finish, request.arm))
        return found

    def chat(self, said: Said, steer: Intervention | str | None = None, max_new_tokens: int = 96) -> str:
        """The answer to a text or to messages, as text."""
        return chat(self, said, steer, "direct", None, Decoding(max_new_tokens))

    def logprobs(self, pairs: Pairs, intervention: Steering = None) -> list[Scored]:
        """After a conversation, a word is likely when the conversation has it, likelier still when it was just said; a
        first token id by the logits, each after it .9 where the refusal has it, else .001. After plain text, what is
        likely is fixed by the words, and another once the mock is pushed too far."""
        self.calls["logprobs"] += 1
        steers = one_each(intervention, len(pairs))
        return [self._scored(*pair, steer) for pair, steer in zip(pairs, steers, strict=True)]

    def _scored(self, context: Conversation | str, answer: str | tuple[int, ...], steer: Intervention | None) -> Scored:
        if isinstance(context, str):
            return self._after_text(context, answer, steer)
        if not isinstance(answer, str):
            logits = 4 * self.head @ self._run(context, steer)[0]
            said = dict(enumerate(map(token, REFUSAL.split())))
            rest = [math.log(0.9 if said.get(i) == answer[i] else 0.001) for i in range(1, len(answer))]
            first = torch.log_softmax(logits, -1)[list(answer[:1])].tolist()
            return Scored((*first, *rest), list(answer[:1]) == [int(logits.argmax())][: len(answer)])
        asked, said = {w for m in check_turns(context) for w in _words(m.content)}, _words(answer)
        push = self._push(context, steer)
        base = [-0.2 if w in said[max(0, i - 3) : i] else -1.5 if w in asked else -4.0 for i, w in enumerate(said)]
        return Scored(tuple(b - 0.3 * _jitter(w) - 0.2 * push for b, w in zip(base, said, strict=True)), False)

    def _after_text(self, text: str, answer: str | tuple[int, ...], steer: Intervention | None) -> Scored:
        if not text:
            raise InputError("the text '' has no token for anything to follow; give it a text.")
        c = Conversation(Prompt(text[:40], text, ""), (Message("user", text),))
        lost = self._push(c, steer) > TOO_FAR
        odds, n = _jitter(text, lost, answer), len(self.encode(answer) if isinstance(answer, str) else answer)
        return Scored(((-1.0 - odds) / n,) * n if n else (), odds < 0.5 and not lost)

    def last_logits(
        self, conversations: Sequence[Conversation], intervention: Steering = None
    ) -> Float[Tensor, "n vocab"]:
        """Logits of the first word [n, VOCAB]: "I'm" and "Sure," are read off the direction."""
        self.calls["last_logits"] += 1
        steers = one_each(intervention, len(conversations))
        found = [4 * self.head @ self._run(c, s)[0] for c, s in zip(conversations, steers, strict=True)]
        return torch.stack(found) if found else torch.empty(0, VOCAB)

    def activations(
        self,
        conversations: Sequence[Conversation],
        sites: Sequence[Site],
        tail: int | None = None,
        intervention: Intervention | None = None,
    ) -> Activations:
        """The stream at `sites` as the intervention leaves it there; `tail`: only the last k prompt tokens."""
        self.calls["activations"] += 1
        _check_work(conversations, sites, "activations")
        parts = []
        for c in conversations:
            start = self.tokens(c)[1]
            if tail is not None and not 1 <= tail <= start:
                raise InputError(f"prompt {c.prompt.id!r} has {start} tokens; its last {tail} were asked for.")
            cut = slice(None) if tail is None else slice(start - tail, start)
            kept = {site: x[:, cut] for site, x in self._run(c, intervention, sites)[1].items()}
            parts.append(Activations(kept, torch.ones(kept[sites[0]].shape[:2], dtype=torch.bool)))
        return joined(parts)

    def gradients(
        self,
        conversations: Sequence[Conversation],
        sites: Sequence[Site],
        metric: Metric,
        streams: Streams | None = None,
    ) -> Mapping[Site, list[Tensor]]:
        """d metric(logits of the first word, number) / d stream at each site; `streams` set the value at sites."""
        self.calls["gradients"] += 1
        _check_work(conversations, sites, "gradients")
        found: dict[Site, list[Tensor]] = {site: [] for site in sites}
        for i, c in enumerate(conversations):
            last, kept = self._run(c, None, sites, leaves=True, fixed=streams[i] if streams is not None else None)
            value = metric(4 * (self.head @ last)[None], torch.tensor([i])).sum()
            for site, grad in zip(kept, torch.autograd.grad(value, list(kept.values())), strict=True):
                found[site].append(grad[0])
        return found

    def content(self, conversations: Sequence[Conversation]) -> list[Bool[Tensor, " _"]]:
        """Which tokens are the user's words, [tokens] a conversation."""
        self.calls["content"] += 1
        masks = []
        for c in conversations:
            turns = [(m.role == "user", len(_words(m.content))) for m in check_turns(c)]
            mask = [here for user, n in turns for here in (False, *[user] * n, False)]
            masks.append(torch.tensor([*mask, *[False] * (len(self.tokens(c)[0]) - len(mask))]))
        return masks
