"""Prompt passes that share what can be shared.

- The prefix that all prompts have in common (system prompt, few-shot turns) is computed once.
- Arms of one prompt that act only from the last prompt token on share the pass over the rest.
- Other arms of one prompt share the blocks below the first layer that any of them touches.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from demur.engines.base import Row
from demur.interventions import Context, Intervention, compile_batch
from demur.models.attention import Pass, Store
from demur.models.forward import forward, padded
from demur.models.load import LoadedModel
from demur.types import Site

TOKENS = 4096
"""Prompt tokens in one forward, at most (a longer single prompt still runs)."""
SHORTEST_PREFIX = 8
PREFIXES = 4
"""Prefixes kept at once: one a distinct intervention that acts on the prompt."""


@dataclass
class Seat:
    """A row's place in the batch; its index in the list of seats is its row in the store."""

    row: int
    position: int
    """Where the next token goes."""
    next: int = 0
    pending: deque[int] = field(default_factory=deque)
    """Prompt tokens still to be fed one by one."""
    logits: Tensor | None = None
    """Logits for the first new token, when the prompt pass gave them."""
    done: bool = False
    random: torch.Generator | None = None


class Prefill:
    """Fills the store for waves of rows."""

    def __init__(self, model: LoadedModel, rows: Sequence[Row], slots: int):
        self.model, self.rows, self.slots = model, rows, slots
        self.like = model.like
        self.prefix = _common_prefix(rows)
        wanted = {_prompt_key(row) for row in rows}
        self.prefixed = wanted if self.prefix and len(wanted) <= PREFIXES else set()
        self.extra_slots = len(self.prefixed)
        self.held: dict[object, int] = {}

    def run(self, wave: Sequence[int], store: Store, base: int) -> list[Seat]:
        """Fill store rows base, base+1, ... with the wave's prompts; returns their seats in that order."""
        forked: dict[object, list[int]] = {}
        early: dict[object, list[int]] = {}
        for index in wave:
            row = self.rows[index]
            # A prefilled answer may spell what another prompt says: the length tells them apart.
            (forked if late(row.intervention) else early).setdefault((row.tokens, row.prompt_length), []).append(index)
        alone = [row for kind in (forked, early) for same in kind.values() if len(same) == 1 for row in same]
        alone.sort(key=lambda row: (-len(self.rows[row].tokens), row))
        seats: list[Seat] = []
        for batch in _batches(alone, self.rows):
            seats += self._plain(batch, store, base + len(seats))
        for kind, fork in ((forked, self._fork_late), (early, self._fork_early)):
            groups = [same for same in kind.values() if len(same) > 1]
            for some in _grouped(groups, self.rows):
                seats += fork(some, store, base + len(seats))
        return seats

    def last(self, rows: Sequence[int]) -> list[Seat]:
        """Seats of different prompts, with their logits, in a store that is not kept."""
        self.held.clear()
        self.slots = len(rows)
        longest = max(len(self.rows[row].tokens) for row in rows)
        return self._plain(rows, Store(self.slots + self.extra_slots, longest) if self.prefixed else None, 0)

    def _edits(self, rows: Sequence[int], start: int, width: int):
        chosen = [self.rows[row] for row in rows]
        if not any(row.intervention for row in chosen):
            return {}
        positions = torch.arange(start, start + width, device=self.like.device)[None].expand(len(rows), -1)
        lengths = torch.tensor([[row.prompt_length] for row in chosen], device=self.like.device)
        return compile_batch([row.intervention for row in chosen], Context(positions, lengths), self.like)

    def _plain(self, rows: Sequence[int], store: Store | None, base: int) -> list[Seat]:
        """Different prompts, each with its own intervention: one forward after the common prefix."""
        start = 0
        if self.prefixed:
            assert store is not None
            start = len(self.prefix)
            sources = torch.tensor([self._hold(row, store) for row in rows])
            store.copy_rows(sources, torch.arange(base, base + len(rows)), start)
        ids, lengths = padded([self.rows[row].tokens[start:] for row in rows], self.like.device)
        width = ids.shape[1]
        seeing = Pass(slice(base, base + len(rows)), start, seen=start + width)
        hidden = forward(self.model, ids, seeing, store, self._edits(rows, start, width))
        assert hidden is not None
        logits = self.model.head(hidden[torch.arange(len(rows)), lengths - 1])
        return [Seat(row, len(self.rows[row].tokens), logits=logits[i]) for i, row in enumerate(rows)]

    def _hold(self, row: int, store: Store) -> int:
        """The store row that holds the common prefix as this row's intervention leaves it."""
        key = _prompt_key(self.rows[row])
        if key not in self.held:
            slot = self.slots + len(self.held)
            ids = torch.tensor([self.prefix], device=self.like.device)
            seeing = Pass(slice(slot, slot + 1), 0, seen=len(self.prefix))
            forward(self.model, ids, seeing, store, self._edits([row], 0, len(self.prefix)))
            self.held[key] = slot
        return self.held[key]

    def _fork_late(self, groups: Sequence[Sequence[int]], store: Store, base: int) -> list[Seat]:
        """Arms that act from the last prompt token on: one pass over all before it, then copies."""
        firsts = [self.rows[same[0]] for same in groups]
        ids, _ = padded([row.tokens[: row.prompt_length - 1] for row in firsts], self.like.device)
        forward(self.model, ids, Pass(slice(base, base + len(groups)), 0, seen=ids.shape[1]), store)
        sources = [base + g for g, same in enumerate(groups) for _ in same]
        order = [row for same in groups for row in same]
        store.copy_rows(torch.tensor(sources), torch.arange(base, base + len(order)), ids.shape[1])
        seats = []
        for row in order:
            tail = self.rows[row].prompt_length - 1
            seats.append(Seat(row, tail, pending=deque(self.rows[row].tokens[tail:])))
        return seats

    def _fork_early(self, groups: Sequence[Sequence[int]], store: Store, base: int) -> list[Seat]:
        """Arms that act on the whole prompt: the blocks below their first layer run once a prompt."""
        order = [row for same in groups for row in same]
        layer = min(_first_layer(self.rows[row].intervention) for row in order)
        firsts = [self.rows[same[0]].tokens for same in groups]
        ids, _ = padded(firsts, self.like.device)
        width = ids.shape[1]
        each = torch.tensor([g for g, same in enumerate(groups) for _ in same])
        resume = None
        if layer > 0:
            kept: list[Tensor] = []
            seeing = Pass(slice(base, base + len(groups)), 0, seen=width)
            watch = {Site(layer - 1, "post"): kept.append}
            forward(self.model, ids, seeing, store, watch, stop=layer - 1)  # pyright: ignore[reportArgumentType]
            store.copy_rows(base + each, torch.arange(base, base + len(order)), width, range(layer))
            resume = (layer, kept[0][each])
        seeing = Pass(slice(base, base + len(order)), 0, seen=width)
        hidden = forward(self.model, ids[each], seeing, store, self._edits(order, 0, width), resume)
        assert hidden is not None
        lengths = torch.tensor([len(self.rows[row].tokens) for row in order])
        logits = self.model.head(hidden[torch.arange(len(order)), lengths - 1])
        return [Seat(row, len(self.rows[row].tokens), logits=logits[i]) for i, row in enumerate(order)]


def late(intervention: Intervention | None) -> bool:
    """Whether it leaves everything before the last prompt token alone."""
    return intervention is None or not intervention.sites or intervention.reach != "all"


def _first_layer(intervention: Intervention | None) -> int:
    assert intervention is not None
    return min(site.layer for site in intervention.sites)


def _prompt_key(row: Row) -> object:
    """Rows of equal key leave the common prefix alike."""
    if row.intervention is None or late(row.intervention):
        return 0
    return id(row.intervention), row.prompt_length if row.intervention.counts_back else 0


def _common_prefix(rows: Sequence[Row]) -> tuple[int, ...]:
    """The tokens all prompts begin with, when they are worth sharing; never a whole prompt."""
    if len(rows) < 4:
        return ()
    first, last = min(row.tokens for row in rows), max(row.tokens for row in rows)
    length = next((i for i, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), min(len(first), len(last)))
    length = min(length, min(row.prompt_length for row in rows) - 1)
    return first[:length] if length >= SHORTEST_PREFIX else ()


def _batches(order: Sequence[int], rows: Sequence[Row]) -> list[list[int]]:
    """Rows in order, cut so that padded tokens stay under TOKENS."""
    batches: list[list[int]] = []
    for row in order:
        if batches and (len(batches[-1]) + 1) * len(rows[batches[-1][0]].tokens) <= TOKENS:
            batches[-1].append(row)
        else:
            batches.append([row])
    return batches


def _grouped(groups: Sequence[list[int]], rows: Sequence[Row]) -> list[list[list[int]]]:
    """Groups of arms of one prompt, cut so that forked tokens stay under TOKENS."""
    cut: list[list[list[int]]] = []
    total = 0
    for same in groups:
        size = len(same) * len(rows[same[0]].tokens)
        if cut and total + size <= TOKENS:
            cut[-1].append(list(same))
            total += size
        else:
            cut.append([list(same)])
            total = size
    return cut
