"""Rotary positions that the library makes by the longest row of a batch: each row gets those it has alone.

A longrope model (phi3) turns all positions of a row by other factors once the row is longer than a switch length.
transformers decides that for a whole forward; rows of either kind therefore run apart, and every pass of a long row,
also one over its beginning, is told so.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from demur.models.hooks import between
from demur.models.load import LoadedModel


def switch_length(config: Any) -> int | None:
    """The longest row that a longrope model turns by its short factors; None for a model without the two kinds."""
    settings = getattr(config, "rope_parameters", None) or {}
    # One mapping for all layers, or one for each type of layer.
    for one in (settings, *(inner for inner in settings.values() if isinstance(inner, dict))):
        if one.get("rope_type") == "longrope":
            return one["original_max_position_embeddings"]
    return None


def longest_row(config: Any) -> int | None:
    """The most tokens of a row for which a model's positions are right; None where there is no bound.

    A dynamic rope changes beyond `max_position_embeddings`, by what ran before; a llama4 model scales the queries of
    layers without rope by positions in the batch, which begins to matter at `floor_scale`.
    """
    bounds = [getattr(config, "max_position_embeddings", None)]
    if getattr(config, "attn_temperature_tuning", False):
        bounds.append(config.floor_scale - 1)
    return min((bound for bound in bounds if bound is not None), default=None)


def regimes(model: LoadedModel, fed: Sequence[int]) -> list[tuple[LoadedModel, list[int]]]:
    """Rows (fed[i]: the tokens of row i that are ever fed) by kind of factors, with the model as it runs them."""
    switch, every = switch_length(model.config), range(len(fed))
    if switch is None:
        return [(model, list(every))]
    long = [i for i in every if fed[i] > switch]
    short = [i for i in every if fed[i] <= switch]
    return [(kind, rows) for kind, rows in ((model, short), (replace(model, stretched=True), long)) if rows]


@contextmanager
def stretched(body: nn.Module, switch: int) -> Iterator[None]:
    """The long factors in every forward inside the context: each is given one position beyond the switch length."""

    def further(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        x, positions, *rest = (*args, *(kwargs.pop(name) for name in ("x", "position_ids") if name in kwargs))
        beyond = torch.full_like(positions[:, :1], switch)
        return (x, torch.cat([positions, beyond], 1), *rest), kwargs

    def back(_: nn.Module, __: Any, output: Any) -> tuple[Tensor, ...]:
        return tuple(part[:, :-1] for part in output)

    with between([module for module in body.modules() if hasattr(module, "rope_type")], further, back):
        yield
