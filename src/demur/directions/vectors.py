"""Steering vectors as values: checked, moved between equal sites, rescaled."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from demur.errors import BadVector, InputError
from demur.types import Direction, Site, SteeringVector

MOST_LAYERS = 1_000_000
LARGEST = 1e7
"""No stream has larger entries (float16 ends at 65504): in a file of others, which has no hash, they are damage."""


def steering_vector(
    vectors: Mapping[Site, Tensor],
    origin: Mapping[str, Any] | None = None,
    norms: Mapping[Site, float] | None = None,
    what: str = "this vector",
) -> SteeringVector:
    """A `SteeringVector` of float32 copies.

    Raises BadVector for none, wrong shapes, unlike widths, NaN, inf, only zeros, a layer below 0.
    """
    if not vectors:
        raise BadVector(f"{what} has no site; give a vector at one site at least.")
    found: dict[Site, Tensor] = {}
    for site, value in sorted(vectors.items()):
        if not 0 <= site.layer < MOST_LAYERS:
            raise BadVector(f"{what} stands at layer {site.layer}; give layers counted from 0, the first block.")
        if value.ndim != 1 or value.numel() < 2:
            raise BadVector(f"{what} at {site} has shape {list(value.shape)}; a vector has one dimension, d_model.")
        value = value.detach().to("cpu", torch.float32).clone()
        if bad := int((~torch.isfinite(value)).sum()):
            raise BadVector(f"{what} at {site}: {bad} of {value.numel()} entries are NaN or infinite; fit it again.")
        if not bool(value.any()):
            raise BadVector(f"{what} at {site}: every entry is zero, so there is no direction; fit it again.")
        found[site] = value
    widths = {site: len(value) for site, value in found.items()}
    if len(set(widths.values())) > 1:
        said = ", ".join(f"{site}: {width}" for site, width in widths.items())
        raise BadVector(f"{what} has different widths ({said}); the sites of a vector are of one model.")
    return SteeringVector(found, dict(norms or {}), dict(origin or {}))


def from_rows(rows: Iterable[tuple[Site, Tensor]], origin: Mapping[str, Any], what: str) -> SteeringVector:
    """The vector of another tool's file: [1, d_model] counts as [d_model], and layers of zeros (padding) as none.

    Raises BadVector for two vectors at one site, more than one row, entries beyond LARGEST, and as `steering_vector`.
    """
    found: dict[Site, Tensor] = {}
    for site, value in rows:
        if value.ndim == 2 and len(value) == 1:
            value = value[0]
        if value.ndim != 1:
            raise BadVector(f"{what}: layer {site.layer} has shape {list(value.shape)}; demur adds one vector a layer.")
        if bool(value.isfinite().all()) and (most := float(value.abs().max())) > LARGEST:
            raise BadVector(f"{what}: layer {site.layer} has an entry of {most:.3g}, more than any stream; the file is "
                            "damaged, or in another unit.")  # fmt: skip
        if site in found:
            raise BadVector(f"{what} has two vectors at {site}; leave one out, or give their sum.")
        found[site] = value
    return steering_vector({s: v for s, v in found.items() if bool(v.any())} or found, origin, what=what)


def as_vector(direction: Direction) -> SteeringVector:
    """The unit vector at the direction's site."""
    norms = {} if math.isnan(direction.norm) else {direction.site: direction.norm}
    return steering_vector({direction.site: direction.vector}, direction.origin, norms)


def as_direction(vector: SteeringVector) -> Direction:
    """The unit direction of a vector of one site; its norm is NaN where the vector does not know it."""
    ((site, value),) = vector.vectors.items()
    return Direction(value / value.norm(), site, vector.norms.get(site, math.nan), vector.origin)


def no_vector(given: object) -> InputError:
    """What to do with a value that is no direction, steering vector or feature set."""
    if isinstance(given, (str, os.PathLike)):
        verb = "load_features" if os.fspath(given).lower().endswith(".json") else "load_vector"
        return InputError(f"{os.fspath(given)!r} is a path, not a vector; read it: demur.{verb}({os.fspath(given)!r}).")
    if isinstance(given, Tensor):
        return InputError(
            f"a tensor of shape {list(given.shape)} does not say where it stands; give it a site: "
            'demur.load_vector(tensor, site="12.pre").'
        )
    return InputError(
        f"a {type(given).__name__} is no vector; give a Direction, a SteeringVector or a FeatureSet "
        "(demur.load_vector makes one of a file, an array or a mapping)."
    )


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
