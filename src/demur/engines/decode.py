"""The decoding loop: continuous batching over a preallocated key-value store.

Rows are sorted by length; finished rows leave the batch and waiting ones join. The batch always
stands in the store's first rows, so every step is one dense forward.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
from jaxtyping import Float
from torch import Tensor

from demur.engines.base import Row
from demur.engines.prefill import Prefill, Seat
from demur.engines.rows import check_length
from demur.errors import NonFinite
from demur.interventions import Context, compile_batch
from demur.models.attention import Pass, Store
from demur.models.forward import forward
from demur.models.hooks import sound
from demur.models.load import LoadedModel
from demur.models.rope import regimes
from demur.types import Decoding

Progress = Callable[[int, int], None]
"""Called with (rows finished, new tokens) after each step that finishes rows."""


@dataclass
class Answer:
    """What one row produced."""

    tokens: list[int] = field(default_factory=list)
    finish: str = "length"


def decoded(
    model: LoadedModel, rows: Sequence[Row], decoding: Decoding, slots: int = 96, progress: Progress | None = None
) -> list[Answer]:
    """Answers in the order of the rows; those of another kind of positions run apart (`models/rope.py`)."""
    answers = [Answer() for _ in rows]
    for kind, some in regimes(model, [len(row.tokens) + decoding.max_new_tokens - 1 for row in rows]):
        for i, answer in zip(some, Decoder(kind, decoding, slots).run([rows[i] for i in some], progress), strict=True):
            answers[i] = answer
    return answers


class Decoder:
    """Generates for many rows with one model. `slots` is the largest batch."""

    def __init__(self, model: LoadedModel, decoding: Decoding, slots: int = 96):
        self.model, self.decoding, self.slots = model, decoding, slots
        self.device = model.like.device
        self.ends = frozenset() if decoding.ignore_eos else model.ends

    def run(self, rows: Sequence[Row], progress: Progress | None = None) -> list[Answer]:
        """Answers in the order of the rows."""
        answers = [Answer() for _ in rows]
        if not rows or self.decoding.max_new_tokens < 1:
            return answers
        for row in rows:
            check_length(self.model, row.label, len(row.tokens), self.decoding.max_new_tokens)
        order = sorted(range(len(rows)), key=lambda i: (-len(rows[i].tokens), rows[i].tokens, i))
        waiting = deque(order)
        slots = min(self.slots, len(rows))
        columns = len(rows[order[0]].tokens) + self.decoding.max_new_tokens
        prefill = Prefill(self.model, rows, slots)
        store = Store(slots + prefill.extra_slots, columns)
        seats: list[Seat] = []
        step = _Step(self.model, rows, store)
        # A wave of prompts joins once a quarter of the batch is free, so that prompt passes stay wide.
        while waiting or seats:
            free = slots - len(seats)
            if waiting and (not seats or free >= max(1, slots // 4)):
                wave = [waiting.popleft() for _ in range(min(free, len(waiting)))]
                joined = prefill.run(wave, store, len(seats))
                ready = [seat for seat in joined if seat.logits is not None]
                if ready:
                    logits = torch.stack([seat.logits for seat in ready if seat.logits is not None])
                    self._take(rows, answers, ready, logits)
                seats = self._leave(seats + joined, answers, store, progress)
                step.changed()
                continue
            logits = step.run(seats)
            asking = [i for i, seat in enumerate(seats) if not seat.pending]
            if len(asking) < len(seats):
                self._check(rows, answers, seats, logits.amax(-1))
                logits = logits[asking]
            self._take(rows, answers, [seats[i] for i in asking], logits)
            before = len(seats)
            seats = self._leave(seats, answers, store, progress)
            if len(seats) < before:
                step.changed()
        return answers

    def _take(self, rows: Sequence[Row], answers: list[Answer], seats: Sequence[Seat], logits: Tensor) -> None:
        """Choose the next token of each seat from logits [seats, vocab]."""
        if not seats:
            return
        best, chosen = logits.max(-1)
        self._check(rows, answers, seats, best)
        if self.decoding.temperature > 0:
            picked = [self._sample(seat, rows[seat.row].seed, row) for seat, row in zip(seats, logits, strict=True)]
        else:
            picked = chosen.tolist()
        for seat, token in zip(seats, picked, strict=True):
            answer = answers[seat.row]
            answer.tokens.append(token)
            seat.next = token
            if token in self.ends:
                answer.finish, seat.done = "end", True
            elif self.decoding.stop and self._stopped(answer):
                answer.finish, seat.done = "stop", True
            elif len(answer.tokens) >= self.decoding.max_new_tokens:
                seat.done = True

    def _check(
        self, rows: Sequence[Row], answers: list[Answer], seats: Sequence[Seat], best: Float[Tensor, " seats"]
    ) -> None:
        """NonFinite if a seat's largest logit (best [seats]) is NaN or infinite."""
        fine = torch.isfinite(best)
        if not bool(fine.all()):
            bad = seats[int((~fine).nonzero()[0])]
            raise NonFinite(self._diagnose(rows[bad.row], answers[bad.row].tokens))

    def _sample(self, seat: Seat, seed: int, logits: Tensor) -> int:
        """One token by temperature and top-p, from the row's own random stream."""
        if seat.random is None:
            seat.random = torch.Generator().manual_seed((self.decoding.seed * 1_000_003 + seed) % 2**63)
        logits = logits.float().cpu()
        # Less the largest, which stays 0 at temperatures that no float32 is divided by.
        probabilities = torch.softmax((logits - logits.max()) / max(self.decoding.temperature, 1e-30), -1)
        if self.decoding.top_p < 1:
            ordered, index = probabilities.sort(descending=True)
            ordered[ordered.cumsum(-1) - ordered > self.decoding.top_p] = 0
            return int(index[torch.multinomial(ordered, 1, generator=seat.random)])
        return int(torch.multinomial(probabilities, 1, generator=seat.random))

    def _stopped(self, answer: Answer) -> bool:
        text = self.model.tokenizer.decode(answer.tokens, skip_special_tokens=True)
        return any(stop in text for stop in self.decoding.stop)

    def _leave(self, seats: list[Seat], answers: list[Answer], store: Store, progress: Progress | None) -> list[Seat]:
        """Finished seats leave; the last ones move into the holes."""
        done = [index for index, seat in enumerate(seats) if seat.done]
        if not done:
            return seats
        if progress is not None:
            progress(len(done), sum(len(answers[seats[index].row].tokens) for index in done))
        kept = len(seats) - len(done)
        holes = [index for index in done if index < kept]
        movers = [index for index in range(kept, len(seats)) if not seats[index].done]
        if movers:
            columns = max(seats[index].position for index in movers)
            store.copy_rows(torch.tensor(movers), torch.tensor(holes), columns)
            for hole, mover in zip(holes, movers, strict=True):
                seats[hole] = seats[mover]
        return seats[:kept]

    def _diagnose(self, row: Row, so_far: Sequence[int]) -> str:
        """Run the row again alone, watching every block, and say where it broke."""
        ids = torch.tensor([list(row.tokens) + list(so_far)], device=self.device)
        where = first_broken(self.model, row, ids)
        return (
            f"NaN or infinity {where} on prompt {row.label!r} after {len(so_far)} new tokens; "
            f"lower the dose or use fp32."
        )


def first_broken(model: LoadedModel, row: Row, ids: Tensor) -> str:
    """In words, the first block whose output is not finite for this row (its intervention on)."""
    broken: list[int] = []

    def see(layer: int, output: Tensor) -> None:
        if not bool(sound(output).all()):
            broken.append(layer)

    positions = torch.arange(ids.shape[1], device=ids.device)[None]
    context = Context(positions, torch.tensor([[row.prompt_length]], device=ids.device))
    edits = compile_batch([row.intervention], context, model.like)
    forward(model, ids, edits=edits, see=see)
    return f"in layer {min(broken)}" if broken else "in the output head"


class _Step:
    """One decoding step for the seats; the edits are compiled anew only when the batch changed."""

    def __init__(self, model: LoadedModel, rows: Sequence[Row], store: Store):
        self.model, self.rows, self.store = model, rows, store
        self.like = model.like
        self.settled = [max(row.prompt_length, row.intervention.until if row.intervention else 0) for row in rows]
        self.edits = None

    def changed(self) -> None:
        """The batch is another one now."""
        self.edits = None

    def run(self, seats: Sequence[Seat]) -> Tensor:
        """Feed each seat its next token; logits [seats, vocab]."""
        device = self.like.device
        forced = [seat for seat in seats if seat.pending]
        for seat in forced:
            seat.next = seat.pending.popleft()
        positions = torch.tensor([seat.position for seat in seats], device=device)
        lengths = torch.tensor([[self.rows[seat.row].prompt_length] for seat in seats], device=device)
        only = all(seat.position >= self.settled[seat.row] for seat in seats)
        if self.edits is None or not only:
            context = Context(positions[:, None], lengths, only)
            self.edits = compile_batch([self.rows[seat.row].intervention for seat in seats], context, self.like)
        ids = torch.tensor([[seat.next] for seat in seats], device=device)
        seeing = Pass(slice(0, len(seats)), positions=positions, seen=max(seat.position for seat in seats) + 1)
        hidden = forward(self.model, ids, seeing, self.store, self.edits)
        assert hidden is not None
        if not only:
            self.edits = None
        for seat in seats:
            seat.position += 1
        return self.model.head(hidden[:, 0])
