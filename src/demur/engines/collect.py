"""Activations and gradients at sites, with a correct mask: rows are right-padded and causal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from demur.activations.store import Activations, joined
from demur.engines.base import Metric
from demur.engines.decode import first_broken
from demur.engines.prefill import TOKENS
from demur.engines.rows import Row, check_length
from demur.errors import InputError, NonFinite
from demur.interventions import Context, compile_batch
from demur.models.forward import forward, padded
from demur.models.load import LoadedModel
from demur.types import Site


def _batches(model: LoadedModel, rows: Sequence[Row]) -> list[list[int]]:
    for row in rows:
        check_length(model, row.label, len(row.tokens))
    order = sorted(range(len(rows)), key=lambda i: (-len(rows[i].tokens), i))
    batches: list[list[int]] = []
    for row in order:
        if batches and (len(batches[-1]) + 1) * len(rows[batches[-1][0]].tokens) <= TOKENS:
            batches[-1].append(row)
        else:
            batches.append([row])
    return batches


def activations(model: LoadedModel, rows: Sequence[Row], sites: Sequence[Site], tail: int | None) -> Activations:
    """The stream at `sites`, float32, rows in order. `tail` keeps the last k prompt tokens only.

    The forward ends after the deepest site's block. Raises NonFinite naming layer and prompt.
    """
    if not rows or not sites:
        raise InputError(f"activations need conversations and sites; there are {len(rows)} and {len(sites)}.")
    device = next(model.model.parameters()).device
    parts: list[Activations] = []
    order: list[int] = []
    for batch in _batches(model, rows):
        ids, lengths = padded([rows[i].tokens for i in batch], device)
        kept: dict[Site, Tensor] = {}

        def keep(site: Site, kept: dict[Site, Tensor] = kept):
            def edit(stream: Tensor) -> None:
                kept[site] = stream.detach()

            return edit

        forward(model, ids, edits={site: keep(site) for site in sites}, stop=max(s.layer for s in sites))
        if tail is not None:
            for i in batch:
                if not 1 <= tail <= rows[i].prompt_length:
                    raise InputError(
                        f"prompt {rows[i].label!r} has {rows[i].prompt_length} tokens; its last {tail} were asked for."
                    )
            starts = torch.tensor([rows[i].prompt_length for i in batch], device=device) - tail
            columns = starts[:, None] + torch.arange(tail, device=device)
            mask = torch.ones_like(columns, dtype=torch.bool)
        else:
            columns = torch.arange(ids.shape[1], device=device)[None].expand(len(batch), -1)
            mask = columns < lengths[:, None]
        picked = {}
        for site, x in kept.items():
            index = columns[..., None].expand(-1, -1, x.shape[-1])
            picked[site] = x.gather(1, index).float().masked_fill(~mask[..., None], 0.0).cpu()
            _check(picked[site], site, [rows[i] for i in batch])
        parts.append(Activations(picked, mask.cpu()))
        order += batch
    whole = joined(parts)
    back = torch.argsort(torch.tensor(order))
    return Activations({site: x[back] for site, x in whole.tensors.items()}, whole.mask[back])


def _check(x: Tensor, site: Site, rows: Sequence[Row], what: str = "the stream") -> None:
    fine = torch.isfinite(x).flatten(1).all(1)
    if not bool(fine.all()):
        label = rows[int((~fine).nonzero()[0])].label
        raise NonFinite(f"NaN or infinity in {what} in layer {site.layer} ({site}) on prompt {label!r}; use fp32.")


def gradients(
    model: LoadedModel, rows: Sequence[Row], sites: Sequence[Site], metric: Metric
) -> Mapping[Site, list[Tensor]]:
    """d metric(logits at the last token) / d stream at each site, [tokens, d_model] a row, in order.

    The gradient at a site is that of the stream AT the site, later sites depending on it.
    """
    device = next(model.model.parameters()).device
    found: dict[Site, list[Tensor]] = {site: [torch.empty(0)] * len(rows) for site in sites}
    for batch in _batches(model, rows):
        ids, lengths = padded([rows[i].tokens for i in batch], device)
        kept: dict[Site, Tensor] = {}

        def leaf(site: Site, kept: dict[Site, Tensor] = kept):
            def edit(x: Tensor) -> Tensor:
                kept[site] = x if x.requires_grad else x.detach().requires_grad_()
                return kept[site]

            return edit

        with torch.enable_grad():
            hidden = forward(model, ids, edits={site: leaf(site) for site in sites})
            assert hidden is not None
            logits = model.head(hidden[torch.arange(len(batch)), lengths - 1]).float()
            grads = torch.autograd.grad(metric(logits).sum(), [kept[site] for site in sites])
        for site, grad in zip(sites, grads, strict=True):
            _check(grad, site, [rows[i] for i in batch], "a gradient")
            for position, row in enumerate(batch):
                found[site][row] = grad[position, : int(lengths[position])].float().cpu()
    return found


def last_logits(model: LoadedModel, rows: Sequence[Row]) -> Float[Tensor, "n vocab"]:
    """Logits at the last token of each row [n, vocab], float32, each row's intervention on."""
    like = next(model.model.parameters())
    found: list[Tensor] = [torch.empty(0)] * len(rows)
    for batch in _batches(model, rows):
        ids, lengths = padded([rows[i].tokens for i in batch], like.device)
        positions = torch.arange(ids.shape[1], device=like.device)[None].expand(len(batch), -1)
        starts = torch.tensor([[rows[i].prompt_length] for i in batch], device=like.device)
        edits = compile_batch([rows[i].intervention for i in batch], Context(positions, starts), like)
        hidden = forward(model, ids, edits=edits)
        assert hidden is not None
        logits = model.head(hidden[torch.arange(len(batch)), lengths - 1]).float().cpu()
        for position, row in enumerate(batch):
            found[row] = logits[position]
            if not bool(torch.isfinite(logits[position].amax())):
                where = first_broken(model, rows[row], ids[position : position + 1, : int(lengths[position])])
                raise NonFinite(f"NaN or infinity {where} on prompt {rows[row].label!r}; lower the dose or use fp32.")
    return torch.stack(found) if found else torch.empty(0, model.head(torch.zeros(1, model.d_model).to(like)).shape[-1])
