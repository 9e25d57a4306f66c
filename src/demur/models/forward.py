"""Running a loaded model on right-padded rows: the only calls of its forward."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack

import torch
from jaxtyping import Float, Int
from torch import Tensor

from demur.models.attention import Pass, Store, attending
from demur.models.hooks import Edit, guarding, hooked, resuming, stopping_at, watching
from demur.models.load import LoadedModel
from demur.models.placement import at_home, split
from demur.models.rope import stretched, switch_length
from demur.models.steering import refuse_steered
from demur.models.wrap import check_mode
from demur.types import Site


def padded(
    rows: Sequence[Sequence[int]], device: torch.device | str = "cpu"
) -> tuple[Int[Tensor, "n longest"], Int[Tensor, " n"]]:
    """Token rows padded on the right with 0: ids [n, longest] and lengths [n]."""
    lengths = torch.tensor([len(row) for row in rows])
    ids = torch.zeros(len(rows), int(lengths.max()), dtype=torch.long)
    for index, row in enumerate(rows):
        ids[index, : len(row)] = torch.as_tensor(row)
    return ids.to(device), lengths.to(device)


def forward(
    model: LoadedModel,
    ids: Int[Tensor, "batch seq"],
    seeing: Pass | None = None,
    store: Store | None = None,
    edits: Mapping[Site, Edit] | None = None,
    resume: tuple[int, Tensor] | None = None,
    stop: int | None = None,
    see: Callable[[int, Tensor], None] | None = None,
) -> Float[Tensor, "batch seq d_model"] | None:
    """Last hidden state [batch, seq, d_model] after the final norm, or None when stopped early.

    ids [batch, seq]: tokens, right-padded. seeing/store: which keys the queries see (default: plain
    causal, nothing kept). edits: functions at sites. resume=(layer, hidden): skip the blocks below.
    stop: end after this block. see: called with (layer, output) of every block, edits included.

    A row whose stream overflows is NaN in the result (`hooks.guarding`): callers check for it. Raises InputError for a
    model in training mode, or inside `steering`.
    """
    refuse_steered(model.model)
    check_mode(model.model)
    seeing = Pass() if seeing is None else seeing
    if seeing.positions is not None:
        behind = torch.arange(ids.shape[1], device=ids.device) if seeing.depths is None else seeing.depths
        position_ids = seeing.positions[:, None] + behind
    else:
        position_ids = torch.arange(seeing.start, seeing.start + ids.shape[1], device=ids.device)[None]
        position_ids = position_ids.expand(ids.shape[0], -1)
    if store is not None:
        store.now = seeing
    own: dict[str, Tensor] = {}
    if model.family.masked:
        keys = seeing.keys(ids.shape[1], store is not None)
        own["attention_mask"] = seeing.written(ids.shape[1], keys, model.like)
    hidden: Tensor | None = None
    with ExitStack() as stack:
        if edits:
            if split(model.model):
                edits = {site: at_home(edit, ids.device) for site, edit in edits.items()}
            stack.enter_context(hooked(model.blocks, model.family, edits))
        if resume is not None and resume[0] > 0:
            stack.enter_context(resuming(model.blocks, *resume, model.family.masked))
        # After the edits, for hooks run in the order of registration.
        if see is not None:
            stack.enter_context(watching(model.blocks, see))
        stack.enter_context(guarding(model.blocks))
        if stop is not None:
            stack.enter_context(stopping_at(model.blocks, stop))
        if model.stretched:
            stack.enter_context(stretched(model.body, switch_length(model.config) or 0))
        stack.enter_context(attending(model.configs, seeing))
        hidden = model.body(
            input_ids=ids,
            position_ids=position_ids,
            past_key_values=store,
            use_cache=store is not None,
            **own,
        ).last_hidden_state
    return None if hidden is None else hidden.to(ids.device)
