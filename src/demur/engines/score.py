"""Log-likelihood of continuations, with the passes over a context and over what continuations begin with shared."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from demur.engines.base import Row, Scored
from demur.engines.decode import first_broken
from demur.engines.prefill import TOKENS, late
from demur.engines.rows import check_length
from demur.engines.trees import Tree, lines, trees
from demur.errors import NonFinite
from demur.interventions import Context, Intervention, compile_batch
from demur.models.attention import Pass, Store
from demur.models.forward import forward, padded
from demur.models.load import LoadedModel
from demur.models.rope import regimes

HEAD = 128
"""Positions whose logits are held at once: few enough to stay in the CPU's cache between the passes over them."""
COLUMNS = 4 * TOKENS
"""Columns of the store in use at once: a context's are copied for every tree."""
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
    intervention: Intervention | None = None

    @property
    def start(self) -> int:
        """Where the prompt ends."""
        return len(self.context) - self.prefill

    @property
    def before(self) -> Intervention | None:
        """The intervention, as far as it acts on the context without its last token."""
        return None if late(self.intervention) and self.prefill <= 0 else self.intervention


def score(model: LoadedModel, continuations: Sequence[Continuation]) -> list[Scored]:
    """Score each continuation, in order; equal ones once. Raises NonFinite with layer and label."""
    results: list[Scored | None] = [None] * len(continuations)
    for kind, some in regimes(model, [len(c.context) + len(c.answer) - 1 for c in continuations]):
        for i, scored in zip(some, _score(kind, [continuations[i] for i in some]), strict=True):
            results[i] = scored
    return [result for result in results if result is not None]


def _score(model: LoadedModel, continuations: Sequence[Continuation]) -> list[Scored]:
    first: dict[object, int] = {}
    same = [first.setdefault((c.context, c.answer, c.prefill, id(c.intervention)), i) for i, c in
            enumerate(continuations)]  # fmt: skip
    results: list[Scored | None] = [None] * len(continuations)
    by_context: dict[object, list[int]] = {}
    for index, continuation in enumerate(continuations):
        check_length(model, continuation.label, len(continuation.context) + len(continuation.answer))
        if same[index] != index:
            continue
        if continuation.answer:
            key = continuation.context, continuation.start, id(continuation.before)
            by_context.setdefault(key, []).append(index)
        else:
            results[index] = Scored((), True)
    whole: list[int] = []
    shared: list[list[int]] = []
    for members in by_context.values():
        if len(members) < SHARE_FROM or len(continuations[members[0]].context) < 2:
            whole += members
        else:
            shared.append(members)
    shared.sort(key=lambda members: -len(continuations[members[0]].context))
    for some in _cut(range(len(shared)), [len(continuations[members[0]].context) for members in shared]):
        _after(model, continuations, [shared[i] for i in some], results)
    whole.sort(key=lambda i: -len(continuations[i].context) - len(continuations[i].answer))
    sizes = [len(continuations[i].context) + len(continuations[i].answer) for i in whole]
    for batch in _cut(whole, sizes):
        _together(model, [continuations[i] for i in batch], batch, results)
    found = [results[index] for index in same]
    assert all(result is not None for result in found)
    return [result for result in found if result is not None]


def _cut(order: Sequence[int], sizes: Sequence[int], before: int = 0) -> list[list[int]]:
    """Rows in order, the longest first, cut so that padded tokens stay under TOKENS; and under COLUMNS the columns that
    they take in the store, each with so many before it."""
    batches: list[list[int]] = []
    widest = 0
    for index, size in zip(order, sizes, strict=True):
        n = len(batches[-1]) + 1 if batches else 0
        if batches and n * widest <= TOKENS and n * (before + widest) <= COLUMNS:
            batches[-1].append(index)
        else:
            batches.append([index])
            widest = max(size, 1)
    return batches


def _edits(model: LoadedModel, interventions: Sequence[Intervention | None], prompts: Sequence[int], positions: Tensor):
    """prompts[i]: where row i's prompt ends; positions [rows, width] of its columns."""
    if not any(interventions):
        return {}
    like = model.like
    lengths = torch.tensor([[prompt] for prompt in prompts], device=like.device)
    return compile_batch(interventions, Context(positions.to(like.device), lengths), like)


def _together(
    model: LoadedModel, batch: Sequence[Continuation], indices: Sequence[int], results: list[Scored | None]
) -> None:
    """Context and continuation in one row each; the last token need not be fed."""
    ids, _ = padded([(*c.context, *c.answer)[:-1] for c in batch], model.like.device)
    positions = torch.arange(ids.shape[1]).expand(len(batch), -1)
    edits = _edits(model, [c.intervention for c in batch], [c.start for c in batch], positions)
    hidden = forward(model, ids, edits=edits)
    assert hidden is not None
    places = [[(row, len(c.context) - 1 + i, token) for i, token in enumerate(c.answer)] for row, c in enumerate(batch)]
    for index, scored in zip(indices, _scored(model, hidden, places, batch), strict=True):
        results[index] = scored


def _after(
    model: LoadedModel,
    continuations: Sequence[Continuation],
    groups: Sequence[Sequence[int]],
    results: list[Scored | None],
) -> None:
    """Continuations grouped by context: each context runs once, and what several continuations begin with once an
    intervention. A tree's columns are no line: interventions act on each position by itself."""
    device = model.like.device
    firsts = [continuations[members[0]] for members in groups]
    grown = [(g, tree) for g, members in enumerate(groups) for tree in _trees(continuations, members)]
    grown.sort(key=lambda pair: -len(pair[1].tokens))
    ids, lengths = padded([first.context[:-1] for first in firsts], device)
    longest = ids.shape[1]
    cuts = _cut(range(len(grown)), [len(tree.tokens) for _, tree in grown], longest)
    store = Store(len(groups) + max(len(cut) for cut in cuts), longest + len(grown[0][1].tokens))
    positions = torch.arange(longest).expand(len(groups), -1)
    edits = _edits(model, [first.before for first in firsts], [first.start for first in firsts], positions)
    forward(model, ids, Pass(slice(0, len(groups)), 0, seen=longest), store, edits)
    for cut in cuts:
        sources, some = zip(*(grown[at] for at in cut), strict=True)
        here = slice(len(groups), len(groups) + len(some))
        store.copy_rows(torch.tensor(sources), torch.arange(here.start, here.stop), longest)
        ids, _ = padded([tree.tokens for tree in some], device)
        starts = lengths[torch.tensor(sources, device=device)]
        depths, seen = (part.to(device) for part in lines(some))
        steers = [continuations[next(iter(tree.paths))].intervention for tree in some]
        edits = _edits(model, steers, [firsts[g].start for g in sources], starts[:, None] + depths)
        seeing = Pass(here, positions=starts, seen=longest + ids.shape[1], depths=depths, tree=seen)
        hidden = forward(model, ids, seeing, store, edits)
        assert hidden is not None
        members = [(i, row) for row, tree in enumerate(some) for i in tree.paths]
        batch = [continuations[i] for i, _ in members]
        places = [
            [(row, node, token) for node, token in zip(some[row].paths[i], continuations[i].answer, strict=True)]
            for i, row in members
        ]
        for (i, _), scored in zip(members, _scored(model, hidden, places, batch), strict=True):
            results[i] = scored


def _trees(continuations: Sequence[Continuation], members: Sequence[int]) -> list[Tree]:
    """Trees of the continuations of one context, each under one intervention."""
    by_steer: dict[int, list[int]] = {}
    for i in members:
        by_steer.setdefault(id(continuations[i].intervention), []).append(i)
    last = continuations[members[0]].context[-1]
    return [tree for same in by_steer.values() for tree in trees(last, [(i, continuations[i].answer) for i in same])]


def _scored(
    model: LoadedModel,
    hidden: Tensor,
    places: Sequence[Sequence[tuple[int, int, int]]],
    batch: Sequence[Continuation],
) -> list[Scored]:
    """hidden [rows, width, d_model]; places[i]: (row, column, the token it has to predict) of each token of batch[i]'s
    answer -> its log-probabilities. Logits are made once a column, in slices: the vocabulary is the widest tensor."""
    wanted: dict[tuple[int, int], dict[int, int]] = {}
    for row, column, token in (place for some in places for place in some):
        wanted.setdefault((row, column), {}).setdefault(token, 0)
    columns = list(wanted)
    edge = 0
    for tokens in wanted.values():
        for token in tokens:
            tokens[token] = edge
            edge += 1
    chosen = hidden[torch.tensor([row for row, _ in columns]), torch.tensor([column for _, column in columns])]
    parts = []
    for start in range(0, len(columns), HEAD):
        here = columns[start : start + HEAD]
        owners = torch.tensor([i for i, column in enumerate(here) for _ in wanted[column]], device=hidden.device)
        tokens = torch.tensor([token for column in here for token in wanted[column]], device=hidden.device)
        parts.append(_chosen(model.head(chosen[start : start + HEAD]), owners, tokens))
    logp, top = (torch.cat(part).tolist() for part in zip(*parts, strict=True))
    edges = [[wanted[row, column][token] for row, column, token in some] for some in places]
    found = [Scored(tuple(logp[e] for e in some), all(top[e] for e in some)) for some in edges]
    if bad := [c for one, c in zip(found, batch, strict=True) if not all(map(math.isfinite, one.logprobs))]:
        raise NonFinite(_where(model, bad))
    return found


def _chosen(logits: Tensor, owners: Tensor, tokens: Tensor) -> tuple[Tensor, Tensor]:
    """logits [n, vocab]; owners [m]: rows of them, tokens [m] -> float32 log-probability of each token in its row [m],
    and whether greedy decoding takes it there [m]."""
    highest = logits.amax(-1)
    chosen = logits[owners, tokens]
    top = chosen == highest[owners]
    # Of equal logits greedy decoding takes the first; finding it for all rows costs more than the rest.
    top[top.clone()] = logits[owners[top]].argmax(-1) == tokens[top]
    mass = logits.float().sub_(highest.float()[:, None]).exp_().sum(-1)
    return (chosen.float() - highest[owners].float()) - mass.log()[owners], top


def _where(model: LoadedModel, bad: Sequence[Continuation]) -> str:
    """The message for rows that are not finite. One that breaks takes the others of its tree along."""
    device, text = model.like.device, ""
    for one in bad:
        row = Row((*one.context, *one.answer), one.start, one.label, one.intervention)
        where = first_broken(model, row, torch.tensor([row.tokens], device=device))
        if not text or "layer" in where:
            text = f"NaN or infinity {where} on {one.label!r}; lower the dose or use fp32."
        if "layer" in where:
            break
    return text
