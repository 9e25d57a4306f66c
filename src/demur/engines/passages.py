"""Passes over passages: the stream, log-probabilities of all tokens, and the logit lens on vectors of the stream."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from demur.activations.store import Activations
from demur.engines.base import Row, Scored
from demur.engines.collect import activations
from demur.engines.prefill import TOKENS
from demur.engines.score import Continuation, score
from demur.interventions import Intervention
from demur.models.forward import forward
from demur.models.load import LoadedModel
from demur.types import Site


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


@torch.inference_mode()
def row_logprobs(model: LoadedModel, rows: Sequence[Row], intervention: Intervention | None = None) -> list[Scored]:
    """Log-probability of every token of each passage but its first, given those before it."""
    # A continuation's prompt ends `prefill` tokens before its context does; here it ends after the context.
    wanted = [
        Continuation(row.tokens[:1], row.tokens[1:], row.label, 1 - row.prompt_length, intervention) for row in rows
    ]
    return score(model, wanted)


@torch.inference_mode()
def lens(model: LoadedModel, vectors: Float[Tensor, "n d_model"]) -> Float[Tensor, "n vocab"]:
    """The logit lens: final norm and head on vectors of the stream, logits float32 (nostalgebraist, 2020)."""
    like = model.like
    ids = torch.zeros(len(vectors), 1, dtype=torch.long, device=like.device)
    hidden = forward(model, ids, resume=(model.n_layers, vectors.to(like)[:, None]))
    assert hidden is not None
    return model.head(hidden[:, 0]).float().cpu()
