"""Log-likelihood of continuations, with the context's pass shared by all continuations of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from demur.engines.base import Scored
from demur.engines.decode import first_broken
from demur.engines.prefill import TOKENS
from demur.engines.rows import Row, check_length
from demur.errors import NonFinite
from demur.interventions import Context, Intervention, compile_batch
from demur.models.attention import Pass, Store
from demur.models.forward import forward, padded
from demur.models.load import LoadedModel

HEAD = 128
"""Positions whose logits are held at once: few enough to stay in the CPU's cache between the passes over them."""
SHARE_FROM = 3
"""Continuations of one context from which its pass is kept apart; fewer run context and all."""


@dataclass(frozen=True)
class Continuation:
    """`answer` tokens after `context` tokens."""

    context: tuple[int, ...]
    answer: tuple[int, ...]
    label: str
    prefill: int = 0
    """The context's last tokens that are a prefilled answer, which counts as generated."""

    @property
    def start(self) -> int:
        """Where the prompt ends."""
        return len(self.context) - self.prefill


def score(
    model: LoadedModel, continuations: Sequence[Continuation], intervention: Intervention | None = None
) -> list[Scored]:
    """Score each continuation, in order; equal ones once. Raises NonFinite with layer and label."""
    first: dict[tuple[tuple[int, ...], tuple[int, ...], int], int] = {}
    same = [first.setdefault((c.context, c.answer, c.prefill), i) for i, c in enumerate(continuations)]
    results: list[Scored | None] = [None] * len(continuations)
    by_context: dict[tuple[tuple[int, ...], int], list[int]] = {}
    for index, continuation in enumerate(continuations):
        check_length(model, continuation.label, len(continuation.context) + len(continuation.answer))
        if same[index] != index:
            continue
        if continuation.answer:
            by_context.setdefault((continuation.context, continuation.start), []).append(index)
        else:
            results[index] = Scored((), True)
    whole: list[int] = []
    shared: list[list[int]] = []
    for (context, _), members in by_context.items():
        if len(members) < SHARE_FROM or len(context) < 2:
            whole += members
        else:
            shared.append(members)
    shared.sort(key=lambda members: -len(continuations[members[0]].context))
    for some in _cut(range(len(shared)), [len(continuations[members[0]].context) for members in shared]):
        _after(model, continuations, [shared[i] for i in some], intervention, results)
    whole.sort(key=lambda i: -len(continuations[i].context) - len(continuations[i].answer))
    sizes = [len(continuations[i].context) + len(continuations[i].answer) for i in whole]
    for batch in _cut(whole, sizes):
        _together(model, [continuations[i] for i in batch], intervention, batch, results)
    found = [results[index] for index in same]
    assert all(result is not None for result in found)
    return [result for result in found if result is not None]


def _cut(order: Sequence[int], sizes: Sequence[int]) -> list[list[int]]:
    batches: list[list[int]] = []
    widest = 0
    for index, size in zip(order, sizes, strict=True):
        if batches and (len(batches[-1]) + 1) * widest <= TOKENS:
            batches[-1].append(index)
        else:
            batches.append([index])
            widest = max(size, 1)
    return batches


def _edits(model: LoadedModel, intervention: Intervention | None, prompts: Sequence[int], starts: Tensor, width: int):
    """prompts[i]: where row i's prompt ends; starts [rows]: the position of its first column."""
    if intervention is None:
        return {}
    like = next(model.model.parameters())
    positions = starts.to(like.device)[:, None] + torch.arange(width, device=like.device)
    lengths = torch.tensor([[prompt] for prompt in prompts], device=like.device)
    return compile_batch([intervention] * len(prompts), Context(positions, lengths), like)


def _together(
    model: LoadedModel,
    batch: Sequence[Continuation],
    intervention: Intervention | None,
    indices: Sequence[int],
    results: list[Scored | None],
) -> None:
    """Context and continuation in one row each; the last token need not be fed."""
    ids, _ = padded([(*c.context, *c.answer)[:-1] for c in batch], next(model.model.parameters()).device)
    edits = _edits(
        model, intervention, [c.start for c in batch], torch.zeros(len(batch), dtype=torch.long), ids.shape[1]
    )
    hidden = forward(model, ids, edits=edits)
    assert hidden is not None
    parts = [hidden[row, len(c.context) - 1 :][: len(c.answer)] for row, c in enumerate(batch)]
    for index, scored in zip(indices, _scored(model, parts, batch, intervention), strict=True):
        results[index] = scored


def _after(
    model: LoadedModel,
    continuations: Sequence[Continuation],
    groups: Sequence[Sequence[int]],
    intervention: Intervention | None,
    results: list[Scored | None],
) -> None:
    """Continuations grouped by context: each context runs once, its last token with each continuation."""
    device = next(model.model.parameters()).device
    contexts = [continuations[members[0]].context[:-1] for members in groups]
    order = sorted(((g, i) for g, members in enumerate(groups) for i in members),
                   key=lambda pair: -len(continuations[pair[1]].answer))  # fmt: skip
    cuts = _cut(range(len(order)), [len(continuations[i].answer) for _, i in order])
    ids, lengths = padded(contexts, device)
    longest = ids.shape[1]
    widest = max(len(continuations[i].answer) for _, i in order)
    store = Store(len(groups) + max(len(cut) for cut in cuts), longest + widest)
    prompts = [continuations[members[0]].start for members in groups]
    edits = _edits(model, intervention, prompts, torch.zeros_like(lengths), longest)
    forward(model, ids, Pass(slice(0, len(groups)), 0, seen=longest), store, edits)
    for cut in cuts:
        rows = [order[at] for at in cut]
        batch = [continuations[i] for _, i in rows]
        sources = torch.tensor([g for g, _ in rows])
        here = slice(len(groups), len(groups) + len(rows))
        store.copy_rows(sources, torch.arange(here.start, here.stop), longest)
        ids, _ = padded([(c.context[-1], *c.answer[:-1]) for c in batch], device)
        starts = lengths[sources.to(device)]
        edits = _edits(model, intervention, [c.start for c in batch], starts, ids.shape[1])
        hidden = forward(model, ids, Pass(here, positions=starts, seen=longest + ids.shape[1]), store, edits)
        assert hidden is not None
        parts = [hidden[row, : len(c.answer)] for row, c in enumerate(batch)]
        for (_, index), scored in zip(rows, _scored(model, parts, batch, intervention), strict=True):
            results[index] = scored


def _scored(
    model: LoadedModel, parts: Sequence[Tensor], batch: Sequence[Continuation], intervention: Intervention | None
) -> list[Scored]:
    """parts[i] [len(answer), d_model] predicts batch[i]'s answer -> its log-probabilities.

    All rows go through the head together, in slices: the vocabulary is the widest tensor there is.
    """
    hidden = torch.cat(list(parts))
    answers = torch.tensor([token for c in batch for token in c.answer], device=hidden.device)
    scored = [_chosen(model.head(hidden[i : i + HEAD]), answers[i : i + HEAD]) for i in range(0, len(hidden), HEAD)]
    logp, top = (torch.cat(part) for part in zip(*scored, strict=True))
    if not bool(torch.isfinite(logp).all()):
        raise NonFinite(_where(model, logp, batch, intervention))
    sizes = [len(c.answer) for c in batch]
    pieces = zip(logp.split(sizes), top.split(sizes), strict=True)
    return [Scored(tuple(values.tolist()), bool(best.all())) for values, best in pieces]


def _chosen(logits: Tensor, answers: Tensor) -> tuple[Tensor, Tensor]:
    """logits [n, vocab], answers [n] -> float32 log-probabilities [n], and which are what greedy decoding takes [n]."""
    chosen, highest = logits.gather(1, answers[:, None]), logits.amax(-1, keepdim=True)
    top = (chosen == highest)[:, 0]
    # Of equal logits greedy decoding takes the first; finding it for all rows costs more than the rest.
    top[top.clone()] = logits[top].argmax(-1) == answers[top]
    mass = logits.float().sub_(highest.float()).exp_().sum(-1)
    return (chosen.float() - highest.float())[:, 0] - mass.log(), top


def _where(model: LoadedModel, logp: Tensor, batch: Sequence[Continuation], intervention: Intervention | None) -> str:
    """The message for the first row that is not finite."""
    bad = next(c for c, part in zip(batch, logp.split([len(c.answer) for c in batch]), strict=True)
               if not bool(torch.isfinite(part).all()))  # fmt: skip
    row = Row((*bad.context, *bad.answer), bad.start, bad.label, intervention)
    where = first_broken(model, row, torch.tensor([row.tokens], device=logp.device))
    return f"NaN or infinity {where} on {bad.label!r}; lower the dose or use fp32."
