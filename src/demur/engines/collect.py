"""Activations and gradients at sites, with a correct mask: rows are right-padded and causal."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from demur.activations.store import Activations, joined
from demur.engines.base import Metric, Row, Streams
from demur.engines.decode import first_broken
from demur.engines.prefill import TOKENS, Prefill
from demur.engines.rows import check_length
from demur.errors import InputError, NonFinite
from demur.interventions import Context, compile_batch
from demur.models.forward import forward, padded
from demur.models.hooks import FLOW, Edit
from demur.models.load import LoadedModel
from demur.models.rope import regimes
from demur.types import Site

GRADIENT_TOKENS = 1024
"""Tokens in one forward and backward: every block's activations are kept, some 30 kB a token and block at width 600."""


def _batches(model: LoadedModel, rows: Sequence[Row], tokens: int) -> list[tuple[LoadedModel, list[int]]]:
    """Numbers of rows, the longest first, cut so that padded tokens stay under `tokens`; with the model that runs them
    (`models/rope.py`)."""
    for row in rows:
        check_length(model, row.label, len(row.tokens))
    batches: list[tuple[LoadedModel, list[int]]] = []
    for kind, some in regimes(model, [len(row.tokens) for row in rows]):
        last: list[int] = []
        for row in sorted(some, key=lambda i: (-len(rows[i].tokens), i)):
            if not last or (len(last) + 1) * len(rows[last[0]].tokens) > tokens:
                batches.append((kind, last := []))
            last.append(row)
    return batches


def activations(model: LoadedModel, rows: Sequence[Row], sites: Sequence[Site], tail: int | None) -> Activations:
    """The stream at `sites`, float32, rows in order, each row's intervention on. `tail` keeps the last k prompt tokens.

    Where a row is edited at a site itself, the edited stream is what is read. The forward ends after the deepest
    site's block. Raises NonFinite naming layer and prompt.
    """
    if not rows or not sites:
        raise InputError(f"activations need conversations and sites; there are {len(rows)} and {len(sites)}.")
    like = model.like
    device = like.device
    deepest = max(site.layer for site in sites)
    parts: list[Activations] = []
    order: list[int] = []
    for kind, batch in _batches(model, rows, TOKENS):
        ids, lengths = padded([rows[i].tokens for i in batch], device)
        kept: dict[Site, Tensor] = {}
        steering = _steering(rows, batch, ids, like)

        def keep(
            site: Site, kept: dict[Site, Tensor] = kept, steering: dict[Site, Callable[[Tensor], Tensor]] = steering
        ) -> Edit:
            def edit(stream: Tensor) -> Tensor | None:
                new = steering[site](stream) if site in steering else None
                kept[site] = (stream if new is None else new).detach()
                return new

            return edit

        forward(kind, ids, edits={**steering, **{site: keep(site) for site in sites}}, stop=deepest)
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


def _steering(
    rows: Sequence[Row], batch: Sequence[int], ids: Tensor, like: Tensor
) -> dict[Site, Callable[[Tensor], Tensor]]:
    """The edits of a batch of whole rows, each under its own intervention."""
    positions = torch.arange(ids.shape[1], device=like.device)[None].expand(len(batch), -1)
    starts = torch.tensor([[rows[i].prompt_length] for i in batch], device=like.device)
    return compile_batch([rows[i].intervention for i in batch], Context(positions, starts), like)


def _check(x: Tensor, site: Site, rows: Sequence[Row], what: str = "the stream") -> None:
    fine = torch.isfinite(x).flatten(1).all(1)
    if not bool(fine.all()):
        label = rows[int((~fine).nonzero()[0])].label
        raise NonFinite(f"NaN or infinity in {what} in layer {site.layer} ({site}) on prompt {label!r}; use fp32.")


def gradients(
    model: LoadedModel, rows: Sequence[Row], sites: Sequence[Site], metric: Metric, streams: Streams | None = None
) -> Mapping[Site, list[Tensor]]:
    """d metric(logits at the last token, row numbers) / d stream at each site, [tokens, d_model] a row, in order.

    The gradient at a site is that of the stream AT the site, later sites depending on it. streams: one mapping a
    row; at its sites the stream x is replaced by value + x - x.detach(), which has the value given and passes
    gradients on. Blocks below the first site whose value is given for all rows do not run.
    Raises InputError for streams that do not fit the rows, NonFinite naming layer and prompt.
    """
    if not rows or not sites:
        raise InputError(f"gradients need conversations and sites; there are {len(rows)} and {len(sites)}.")
    _check_streams(model, rows, streams)
    like = model.like
    found: dict[Site, list[Tensor]] = {site: [torch.empty(0)] * len(rows) for site in sites}
    for kind, batch in _batches(model, rows, GRADIENT_TOKENS):
        ids, lengths = padded([rows[i].tokens for i in batch], like.device)
        fixed = _fixed(model, batch, lengths, streams, like)
        kept: dict[Site, Tensor] = {}

        def at(site: Site, kept: dict[Site, Tensor] = kept, fixed: dict[Site, _Fixed] = fixed) -> Edit:
            def edit(x: Tensor) -> Tensor:
                if site in fixed:
                    value, where = fixed[site]
                    x = torch.where(where, value + (x - x.detach()), x)
                if site in sites:
                    kept[site] = x = x if x.requires_grad else x.detach().requires_grad_()
                return x

            return edit

        with torch.enable_grad():
            edits = {site: at(site) for site in {*sites, *fixed}}
            hidden = forward(kind, ids, edits=edits, resume=_entry(edits, fixed, lengths))
            assert hidden is not None
            logits = model.head(hidden[torch.arange(len(batch)), lengths - 1]).float()
            values = metric(logits, torch.tensor(batch, device=like.device))
            grads = torch.autograd.grad(values.sum(), [kept[site] for site in sites])
        for site, grad in zip(sites, grads, strict=True):
            _check(grad, site, [rows[i] for i in batch], "a gradient")
            for position, row in enumerate(batch):
                found[site][row] = grad[position, : int(lengths[position])].float().cpu()
    return found


_Fixed = tuple[Tensor, Tensor]
"""Values [batch, seq, d_model], and where they stand in for the stream's own [batch, seq, 1]."""


def _check_streams(model: LoadedModel, rows: Sequence[Row], streams: Streams | None) -> None:
    if streams is None:
        return
    if len(streams) != len(rows):
        raise InputError(f"there are {len(streams)} streams for {len(rows)} conversations; give one mapping for each.")
    for row, some in zip(rows, streams, strict=True):
        for site, value in some.items():
            if value.shape != (len(row.tokens), model.d_model):
                raise InputError(
                    f"the stream at {site} for prompt {row.label!r} has shape {list(value.shape)}; its tokens and the "
                    f"model's width make it {[len(row.tokens), model.d_model]}: take it from activations of it."
                )


def _fixed(
    model: LoadedModel, batch: Sequence[int], lengths: Tensor, streams: Streams | None, like: Tensor
) -> dict[Site, _Fixed]:
    """The given values as padded tensors, new ones: those given may come from inference mode."""
    found: dict[Site, _Fixed] = {}
    width = int(lengths.max())
    for position, row in enumerate(batch if streams is not None else ()):
        assert streams is not None
        for site, value in streams[row].items():
            if site not in found:
                values = torch.zeros(len(batch), width, model.d_model, dtype=like.dtype, device=like.device)
                found[site] = values, torch.zeros(len(batch), width, 1, dtype=torch.bool, device=like.device)
            found[site][0][position, : len(value)] = value
            found[site][1][position, : len(value)] = True
    return found


def _entry(edits: Mapping[Site, Edit], fixed: Mapping[Site, _Fixed], lengths: Tensor) -> tuple[int, Tensor] | None:
    """Where the forward may begin: the block whose input, the first site of all, is given for every token."""
    first = min(edits, key=lambda site: (site.layer, FLOW.index(site.point)))
    if first not in fixed or first.point not in ("pre", "post") or int(fixed[first][1].sum()) < int(lengths.sum()):
        return None
    if first.point == "pre":
        return first.layer, fixed[first][0]
    # The block that would end here does not run, nor do its hooks: its edit is made now.
    stream = edits[first](fixed[first][0])
    assert stream is not None
    return first.layer + 1, stream


def last_logits(model: LoadedModel, rows: Sequence[Row]) -> Float[Tensor, "n vocab"]:
    """Logits at the last token of each row [n, vocab], float32, each row's intervention on."""
    like = model.like
    found: list[Tensor] = [torch.empty(0)] * len(rows)
    for kind, some in regimes(model, [len(row.tokens) for row in rows]):
        alike = [rows[i] for i in some]
        shared = Prefill(kind, alike, slots=0)
        for _, batch in _batches(kind, alike, TOKENS):
            for seat in shared.last(batch):
                assert seat.logits is not None
                logits = found[some[seat.row]] = seat.logits.float().cpu()
                if not bool(torch.isfinite(logits.amax())):
                    row = alike[seat.row]
                    where = first_broken(kind, row, torch.tensor([row.tokens], device=like.device))
                    raise NonFinite(f"NaN or infinity {where} on prompt {row.label!r}; lower the dose or use fp32.")
    return torch.stack(found) if found else torch.empty(0, model.head(torch.zeros(1, model.d_model).to(like)).shape[-1])
