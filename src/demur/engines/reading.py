"""Reading text that exists already: plain text in windows, conversations with their answers.

What SAEs are trained and measured on. A passage is a `Row` of tokens; nothing is generated.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from demur.activations.store import Activations
from demur.engines.base import Scored
from demur.engines.collect import activations
from demur.engines.prefill import TOKENS
from demur.engines.rows import Row, answer_tokens, plain_tokens, row_of
from demur.engines.score import Continuation, score
from demur.errors import InputError
from demur.interventions import Intervention
from demur.models.forward import forward
from demur.models.load import LoadedModel
from demur.types import Conversation, Site

WINDOW = 128
"""Tokens of plain text read at once."""
SHORTEST = 16
"""Windows of fewer tokens are left out: little can be predicted in them."""


def text_rows(model: LoadedModel, text: str, label: str, window: int = WINDOW, begin: str | None = None) -> list[Row]:
    """Plain text cut into windows of `window` tokens, each begun with `begin` (None: as the tokenizer begins a text).

    A model that has no token of its own to begin with gives its massive activations to an early token of the window,
    now this one, now that (Sun et al. 2402.17762), and few such tokens outweigh all others in a mean square. `begin`
    keeps them on the first token, which everything here leaves out. Raises InputError when there is not one window of
    at least `SHORTEST` tokens.
    """
    if window < SHORTEST:
        raise InputError(f"a window of {window} tokens is too short to read; give at least {SHORTEST}.")
    first = plain_tokens(model, "") if begin is None else answer_tokens(model, begin)
    width = window - len(first)
    if width < SHORTEST:
        raise InputError(f"{begin!r} has {len(first)} tokens and leaves {width} of {window}; begin with less.")
    tokens = [token for part in _paragraphs(text) for token in answer_tokens(model, part)]
    cuts = [tokens[at : at + width] for at in range(0, len(tokens), width)]
    rows = [Row((*first, *cut), 0, f"{label}, window {i}") for i, cut in enumerate(cuts) if len(cut) >= SHORTEST]
    if not rows:
        raise InputError(f"{label} has {len(tokens)} tokens; give a text of at least {SHORTEST}.")
    return rows


def _paragraphs(text: str, size: int = 20_000) -> Iterator[str]:
    """Pieces that end at a line's end: tokenizers are slow on megabytes at once."""
    piece: list[str] = []
    length = 0
    for line in text.splitlines(keepends=True):
        piece.append(line)
        length += len(line)
        if length >= size:
            yield "".join(piece)
            piece, length = [], 0
    if piece:
        yield "".join(piece)


def chat_row(model: LoadedModel, conversation: Conversation, answer: str) -> Row:
    """The templated conversation with its answer behind it, prefilled part included."""
    row = row_of(model, conversation)
    return Row((*row.tokens, *answer_tokens(model, answer)), row.prompt_length, row.label)


@torch.inference_mode()
def read(model: LoadedModel, rows: Sequence[Row], sites: Sequence[Site]) -> Iterator[Activations]:
    """The stream at `sites`, a batch of passages at a time, in the order given (padding apart, see `mask`)."""
    start = 0
    while start < len(rows):
        stop, widest = start, 0
        while stop < len(rows) and (stop + 1 - start) * max(widest, len(rows[stop].tokens)) <= TOKENS:
            widest = max(widest, len(rows[stop].tokens))
            stop += 1
        stop = max(stop, start + 1)
        yield activations(model, rows[start:stop], sites, None)
        start = stop


def tokens_of(batch: Activations, site: Site, skip: int = 1) -> Tensor:
    """The stream of all real tokens of a batch [tokens, d_model], the first `skip` of each passage left out."""
    keep = batch.mask.clone()
    keep[:, :skip] = False
    return batch.tensors[site][keep]


@torch.inference_mode()
def passage_logprobs(model: LoadedModel, rows: Sequence[Row], intervention: Intervention | None = None) -> list[Scored]:
    """Log-probability of every token of each passage but its first, given those before it."""
    # A continuation's prompt ends `prefill` tokens before its context does; here it ends after the context.
    wanted = [
        Continuation(row.tokens[:1], row.tokens[1:], row.label, 1 - row.prompt_length, intervention) for row in rows
    ]
    return score(model, wanted)


@torch.inference_mode()
def lens(model: LoadedModel, vectors: Float[Tensor, "n d_model"]) -> Float[Tensor, "n vocab"]:
    """The logit lens: final norm and head on vectors of the stream, logits float32 (nostalgebraist, 2020)."""
    like = next(model.model.parameters())
    ids = torch.zeros(1, len(vectors), dtype=torch.long, device=like.device)
    hidden = forward(model, ids, resume=(model.n_layers, vectors.to(like)[None]))
    assert hidden is not None
    return model.head(hidden[0]).float().cpu()
