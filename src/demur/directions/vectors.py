"""Steering vectors as values: checked, moved between equal sites, rescaled."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from demur.errors import BadVector
from demur.types import Site, SteeringVector


def steering_vector(
    vectors: Mapping[Site, Tensor],
    origin: Mapping[str, Any] | None = None,
    norms: Mapping[Site, float] | None = None,
    what: str = "this vector",
) -> SteeringVector:
    """A `SteeringVector` of float32 copies. BadVector for none, wrong shapes, unlike widths, NaN, inf, only zeros."""
    if not vectors:
        raise BadVector(f"{what} has no site; give a vector at one site at least.")
    kept: dict[Site, Tensor] = {}
    for site, value in sorted(vectors.items()):
        if value.ndim != 1 or value.numel() < 2:
            raise BadVector(f"{what} at {site} has shape {list(value.shape)}; a vector has one dimension, d_model.")
        value = value.detach().to("cpu", torch.float32).clone()
        if bad := int((~torch.isfinite(value)).sum()):
            raise BadVector(f"{what} at {site}: {bad} of {value.numel()} entries are NaN or infinite; fit it again.")
        if not bool(value.any()):
            raise BadVector(f"{what} at {site}: every entry is zero, so there is no direction; fit it again.")
        kept[site] = value
    widths = {site: len(value) for site, value in kept.items()}
    if len(set(widths.values())) > 1:
        said = ", ".join(f"{site}: {width}" for site, width in widths.items())
        raise BadVector(f"{what} has different widths ({said}); the sites of a vector are of one model.")
    return SteeringVector(kept, dict(norms or {}), dict(origin or {}))


def check_fits(vector: SteeringVector, d_model: int, n_layers: int, model: str) -> None:
    """BadVector unless the vector's width and layers are a model's."""
    for site, value in vector.vectors.items():
        if len(value) != d_model:
            raise BadVector(f"the vector at {site} has width {len(value)}; {model} has {d_model}: give one of {model}.")
        if site.layer >= n_layers:
            raise BadVector(f"the vector stands at {site}; {model} has layers 0 to {n_layers - 1}.")


def as_output(site: Site) -> int | None:
    """The block at whose output the stream is what it is at `site`; None where there is none.

    The input of block l is the output of block l - 1.
    """
    if site.point == "post":
        return site.layer
    return site.layer - 1 if site.point == "pre" and site.layer else None


def as_input(site: Site) -> int | None:
    """The block at whose input the stream is what it is at `site`; None where there is none."""
    if site.point == "pre":
        return site.layer
    return site.layer + 1 if site.point == "post" else None


def rescaled(vector: SteeringVector, lengths: Mapping[Site, float]) -> SteeringVector:
    """The vector with length `lengths[site]` at each of its sites: the common norm of Li et al. (2603.24543)."""
    missing = [str(site) for site in vector.vectors if site not in lengths]
    if missing:
        raise BadVector(f"there is no common length at {', '.join(missing)}; give one for every site of the vector.")
    scaled = {site: value / value.norm() * lengths[site] for site, value in vector.vectors.items()}
    return replace(vector, vectors=scaled)
