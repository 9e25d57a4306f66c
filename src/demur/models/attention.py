"""demur's attention function and key-value store, plugged into transformers' attention interface.

transformers builds no mask for an implementation it does not know. A model keeps its own implementation: demur's is
in force during demur's passes only (`attending`), which also says, in one `Pass` object, what each query may see. So
one function serves every family; those older than the interface take the same mask as an argument (`Pass.written`).

Rows are right-padded: a causal query never sees the padding that comes after it. In the store each
row begins at column 0, so a column IS the absolute token position.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor
from transformers import AttentionInterface
from transformers.cache_utils import Cache

from demur.errors import BadSpec

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
            columns = now.positions.to(keys.device)[:, None] + torch.arange(width, device=keys.device)
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
    masks: dict[object, Tensor | None] = field(default_factory=dict)

    def mask(self, queries: int, keys: int, window: int, chunk: int, like: Tensor) -> Tensor | None:
        """Additive mask [rows or 1, 1, queries, keys], or None for plain causal from column 0.

        window: how many columns back a query sees, itself included; chunk: columns to a chunk, outside of which it
        sees nothing; 0 for no such bound.
        """
        plain = self.positions is None and self.start == 0 and keys <= (window or keys) and keys <= (chunk or keys)
        return None if plain else self.written(queries, keys, like, window, chunk)

    def written(self, queries: int, keys: int, like: Tensor, window: int = 0, chunk: int = 0) -> Tensor:
        """As `mask`, but written out for plain causal too."""
        key = queries, keys, window, chunk, like.device
        if (known := self.masks.get(key)) is None:
            seen = self._seen(queries, keys, window, chunk, like.device)
            known = torch.zeros(seen.shape, dtype=like.dtype, device=like.device).masked_fill_(~seen, float("-inf"))
            self.masks[key] = known
        return known

    def keys(self, width: int, stored: bool) -> int:
        """How many keys the attention of this pass of so many columns gets (see `Store.update`)."""
        return width if not stored or (self.positions is None and self.start == 0) else self.seen

    def _seen(self, queries: int, keys: int, window: int, chunk: int, device: torch.device) -> Tensor:
        column = torch.arange(keys, device=device)
        own = torch.arange(queries, device=device)
        if self.positions is None:
            at = (self.start + own)[None, :, None]
            seen, place = column <= at, column
        elif self.tree is None:
            at = self.positions.to(device)[:, None, None] + own[:, None]
            seen, place = column <= at, column
        else:
            at, seen, place = self._branches(own, column)
        if window:
            seen = seen & (place > at - window)
        if chunk:
            seen = seen & (place // chunk == at // chunk)
        return seen[:, None]

    def _branches(self, own: Tensor, column: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Of the columns of a tree: where they stand [rows, queries, 1]; what they see, all before the pass and their
        own line in it [rows, queries, keys]; and where the keys stand [rows, 1, keys]."""
        assert self.positions is not None and self.depths is not None and self.tree is not None
        rows, queries, _ = self.tree.shape
        start, tree = self.positions.to(own.device), self.tree.to(own.device)
        own = start[:, None] + own
        seen = (column < start[:, None])[:, None].repeat(1, queries, 1)
        seen.scatter_(2, own[:, None].expand(rows, queries, queries), tree)
        at = start[:, None] + self.depths.to(own.device)
        return at[:, :, None], seen, column.repeat(rows, 1).scatter_(1, own, at)[:, None]


_SEEING: ContextVar[Pass] = ContextVar("seeing")
"""The pass that runs in this thread."""

_IDLE = frozenset({
    *("dropout", "position_ids", "use_cache", "output_attentions", "output_hidden_states", "output_router_logits"),
    *("return_dict", "cache_position", "logits_to_keep"),
})  # fmt: skip
"""What families hand to their attention function that changes nothing in it when a model evaluates."""


def attend(
    module: torch.nn.Module,
    query: Float[Tensor, "batch heads q dim"],
    key: Float[Tensor, "batch kv_heads k dim"],
    value: Float[Tensor, "batch kv_heads k v_dim"],
    attention_mask: Tensor | None = None,
    *,
    scaling: float | None = None,
    sliding_window: int | None = None,
    softcap: float | None = None,
    s_aux: Tensor | None = None,
    is_causal: bool | None = None,
    **more: object,
) -> tuple[Float[Tensor, "batch q heads v_dim"], None]:
    """Grouped-query attention of the pass in force.

    query [batch, heads, q, dim], key [batch, kv_heads, k, dim], value [batch, kv_heads, k, v_dim]. s_aux [heads]:
    attention sinks, a further score of each head that takes weight and has no value. Returns [batch, q, heads, v_dim],
    as transformers' attention functions do. Raises BadSpec for what a family asks of attention beyond this.
    """
    unmet = sorted(name for name, value in more.items() if value is not None and name not in _IDLE)
    if unmet or is_causal is False:
        raise BadSpec(
            f"the model asks its attention for {', '.join(unmet) or 'looking ahead'}, which demur's does not have; "
            f"add it to demur/models/attention.py."
        )
    batch, heads, queries, dim = query.shape
    kv_heads, keys = key.shape[1], key.shape[2]
    scale = dim**-0.5 if scaling is None else scaling
    mask = _SEEING.get().mask(queries, keys, sliding_window or 0, _chunk(module), query)
    if softcap is None and s_aux is None and queries > 1:
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
    if s_aux is not None:
        sinks = s_aux.to(scores.dtype).view(kv_heads, -1, 1).expand(-1, -1, queries).reshape(1, kv_heads, -1, 1)
        scores = torch.cat([scores, sinks.expand(batch, -1, -1, -1)], -1)
    weights = torch.softmax(scores, -1, dtype=torch.float32)[..., :keys].to(value.dtype)
    out = torch.matmul(weights, value).view(batch, heads, queries, -1)
    return out.transpose(1, 2), None


def _chunk(module: torch.nn.Module) -> int:
    """Columns to a chunk where this layer's attention stays inside one, else 0: families tell it to their mask only."""
    config: Any = getattr(module, "config", None)
    kinds = getattr(config, "layer_types", None)
    return config.attention_chunk_size if kinds and kinds[module.layer_idx] == "chunked_attention" else 0  # pyright: ignore[reportArgumentType, reportCallIssue]


AttentionInterface.register(NAME, attend)  # pyright: ignore[reportArgumentType]


@contextmanager
def attending(configs: Sequence[Any], seeing: Pass) -> Iterator[None]:
    """demur's attention in force for the modules with these configs, in this pass; their own again afterwards, whatever
    happened."""
    before = [config._attn_implementation for config in configs]
    token = _SEEING.set(seeing)
    try:
        for config in configs:
            config._attn_implementation = NAME
        yield
    finally:
        _SEEING.reset(token)
        for config, own in zip(configs, before, strict=True):
            config._attn_implementation = own
