"""demur's attention function and key-value store, plugged into transformers' attention interface.

transformers passes unknown keyword arguments from the model down to the attention function and
builds no mask for an implementation it does not know. A model keeps its own implementation: demur's is in force
during demur's passes only (`attending`). So one `Pass` object, handed to the forward,
says what each query may see, and one function serves every family.

Rows are right-padded: a causal query never sees the padding that comes after it. In the store each
row begins at column 0, so a column IS the absolute token position.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor
from transformers import AttentionInterface
from transformers.cache_utils import Cache

NAME = "demur"


class Store(Cache):
    """Keys and values of up to `slots` rows, preallocated: [slots, kv_heads, columns, head_dim] a layer.

    Layers are allocated at their first use, because a family may have its own head sizes.
    """

    def __init__(self, slots: int, columns: int):
        super().__init__(layers=[])
        self.slots, self.columns = slots, columns
        self.keys: dict[int, Tensor] = {}
        self.values: dict[int, Tensor] = {}
        self.now: Pass | None = None

    def update(self, key_states: Tensor, value_states: Tensor, layer_idx: int, *_: object, **__: object):
        """Write this pass's keys and values; return all that its queries may look at."""
        now = self.now
        assert now is not None, "a Store is used through a Pass"
        if layer_idx not in self.keys:
            for store, states in ((self.keys, key_states), (self.values, value_states)):
                shape = (self.slots, states.shape[1], self.columns, states.shape[3])
                store[layer_idx] = torch.zeros(shape, dtype=states.dtype, device=states.device)
        keys, values = self.keys[layer_idx], self.values[layer_idx]
        rows, width = now.rows, key_states.shape[2]
        if now.positions is not None:
            index = torch.arange(rows.start, rows.stop, device=keys.device)[:, None]
            columns = now.positions[:, None] + torch.arange(width, device=keys.device)
            keys[index, :, columns] = key_states.transpose(1, 2)
            values[index, :, columns] = value_states.transpose(1, 2)
        else:
            keys[rows, :, now.start : now.start + width] = key_states
            values[rows, :, now.start : now.start + width] = value_states
            if now.start == 0:
                return key_states, value_states
        return keys[rows, :, : now.seen], values[rows, :, : now.seen]

    def get_seq_length(self, layer_idx: int = 0) -> int:
        """Columns seen before this pass (positions are always given, so only a formality)."""
        return self.now.start if self.now else 0

    def get_query_offset(self, layer_idx: int | None = 0) -> int:
        """As `get_seq_length`."""
        return self.get_seq_length()

    def copy_rows(self, sources: Tensor, targets: Tensor, columns: int, layers: range | None = None) -> None:
        """Copy the first `columns` of rows `sources` into rows `targets` (index tensors of one length)."""
        for layer in self.keys if layers is None else layers:
            for store in (self.keys[layer], self.values[layer]):
                store[targets, :, :columns] = store[sources, :, :columns]


@dataclass
class Pass:
    """What the queries of one forward see.

    rows: the store's rows this batch stands in. start: absolute position of the first query column
    (the same for all rows). positions: instead, each row's own, [rows]. tree: which of this pass's columns each of them
    sees, [rows, q, q], where they are no line but a tree; depths: how far behind `positions` each stands, [rows, q].
    """

    rows: slice = field(default_factory=lambda: slice(0, 0))
    start: int = 0
    positions: Tensor | None = None
    seen: int = 0
    depths: Tensor | None = None
    tree: Tensor | None = None
    masks: dict[tuple[int, int, int], Tensor | None] = field(default_factory=dict)

    def mask(self, queries: int, keys: int, window: int, like: Tensor) -> Tensor | None:
        """Additive mask [rows or 1, 1, queries, keys], or None for plain causal from column 0."""
        if (queries, keys, window) not in self.masks:
            self.masks[queries, keys, window] = self._mask(queries, keys, window, like)
        return self.masks[queries, keys, window]

    def _mask(self, queries: int, keys: int, window: int, like: Tensor) -> Tensor | None:
        if self.positions is None and self.start == 0 and (not window or keys <= window):
            return None
        column = torch.arange(keys, device=like.device)
        if self.tree is not None:
            seen = self._branches(column, window)
        else:
            if self.positions is None:
                at = (self.start + torch.arange(queries, device=like.device))[None, None, :, None]
            else:
                at = self.positions[:, None, None, None] + torch.arange(queries, device=like.device)[:, None]
            seen = column <= at
            if window:
                seen = seen & (column > at - window)
        return torch.zeros(seen.shape, dtype=like.dtype, device=like.device).masked_fill_(~seen, float("-inf"))

    def _branches(self, column: Tensor, window: int) -> Tensor:
        """What the columns of a tree see, [rows, 1, queries, keys]: all before the pass, and their own line in it."""
        assert self.positions is not None and self.depths is not None and self.tree is not None
        rows, queries, _ = self.tree.shape
        own = self.positions[:, None] + torch.arange(queries, device=column.device)
        seen = (column < self.positions[:, None])[:, None].repeat(1, queries, 1)
        seen.scatter_(2, own[:, None].expand(rows, queries, queries), self.tree)
        if window:
            at = self.positions[:, None] + self.depths
            place = column.repeat(rows, 1).scatter_(1, own, at)
            seen &= place[:, None] > at[:, :, None] - window
        return seen[:, None]


def attend(
    module: torch.nn.Module,
    query: Float[Tensor, "batch heads q dim"],
    key: Float[Tensor, "batch kv_heads k dim"],
    value: Float[Tensor, "batch kv_heads k dim"],
    attention_mask: Tensor | None = None,
    *,
    seeing: Pass,
    scaling: float | None = None,
    sliding_window: int | None = None,
    softcap: float | None = None,
    **_: object,
) -> tuple[Float[Tensor, "batch q heads dim"], None]:
    """Grouped-query attention: query [batch, heads, q, dim], key and value [batch, kv_heads, k, dim].

    Returns [batch, q, heads, dim] as transformers' attention functions do.
    """
    batch, heads, queries, dim = query.shape
    kv_heads, keys = key.shape[1], key.shape[2]
    scale = dim**-0.5 if scaling is None else scaling
    mask = seeing.mask(queries, keys, sliding_window or 0, query)
    if softcap is None and queries > 1:
        out = F.scaled_dot_product_attention(
            query, key, value, mask, is_causal=mask is None, scale=scale, enable_gqa=heads != kv_heads
        )
        return out.transpose(1, 2), None
    grouped = query.reshape(batch, kv_heads, heads // kv_heads * queries, dim)
    if key.dtype == torch.bfloat16:
        key = key.contiguous()  # the bf16 kernel copies strided keys far slower than this does
    scores = torch.matmul(grouped, key.transpose(2, 3)).mul_(scale)
    if softcap is not None:
        scores = torch.tanh(scores / softcap) * softcap
    if queries > 1 or mask is None:
        scores = scores.view(batch, kv_heads, -1, queries, keys)
        if mask is None:
            mask = torch.full((queries, keys), float("-inf"), dtype=query.dtype, device=query.device).triu_(1)
            scores = scores + mask
        else:
            scores = scores + mask.unsqueeze(2)
        scores = scores.view(batch, kv_heads, -1, keys)
    else:
        scores = scores + mask
    weights = torch.softmax(scores, -1, dtype=torch.float32).to(value.dtype)
    out = torch.matmul(weights, value).view(batch, heads, queries, dim)
    return out.transpose(1, 2), None


AttentionInterface.register(NAME, attend)  # pyright: ignore[reportArgumentType]


@contextmanager
def attending(configs: Sequence[Any]) -> Iterator[None]:
    """demur's attention in force for the modules with these configs; their own again afterwards, whatever happened."""
    before = [config._attn_implementation for config in configs]
    try:
        for config in configs:
            config._attn_implementation = NAME
        yield
    finally:
        for config, own in zip(configs, before, strict=True):
            config._attn_implementation = own
