"""Subspaces: orthonormal directions at a site, and what is left of a vector without them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from demur.errors import BadVector
from demur.types import Site, SteeringVector, Subspace

NEW = 0.05
"""A row of which less than this share is new, after projection, adds no direction."""


def orthonormal(rows: Sequence[Tensor] | Float[Tensor, "k d_model"]) -> Float[Tensor, "j d_model"]:
    """Gram-Schmidt in the order given, float32; rows that (nearly) lie in the span of those before are left out.

    Raises BadVector when nothing is left.
    """
    basis: list[Tensor] = []
    for row in rows:
        row = row.double()
        rest = row.clone()
        for _ in range(2):
            for axis in basis:
                rest -= (rest @ axis) * axis
        if float(rest.norm()) > NEW * float(row.norm()):
            basis.append(rest / rest.norm())
    if not basis:
        raise BadVector("there is no direction among these vectors; give one that is not zero.")
    return torch.stack(basis).float()


def by_category(
    harmful: Mapping[str, Float[Tensor, "n d_model"]], harmless: Float[Tensor, "m d_model"], site: Site, k: int
) -> Subspace:
    """The k leading right singular vectors of the categories' mean differences from the harmless mean.

    Not centred, so the first is close to the overall difference of means. Raises BadVector for k above the number of
    categories.
    """
    if not 1 <= k <= len(harmful):
        raise BadVector(f"k is {k}; {len(harmful)} categories span at most {len(harmful)} directions.")
    base = harmless.double().mean(0)
    rows = torch.stack([part.double().mean(0) - base for part in harmful.values()])
    return leading(rows, site, k, {"method": "SVD of per-category mean differences", "categories": sorted(harmful)})


def leading(rows: Float[Tensor, "n d_model"], site: Site, k: int, origin: Mapping[str, Any]) -> Subspace:
    """The k leading right singular vectors of rows, turned to their mean; not centred, so the first is close to it."""
    found = torch.linalg.svd(rows.double(), full_matrices=False)
    basis = found.Vh[:k]
    basis = basis * torch.where(basis @ rows.double().mean(0) < 0, -1.0, 1.0)[:, None]
    values = [round(float(value), 4) for value in found.S]
    return Subspace(basis.float(), site, {**origin, "singular_values": values})


def first(subspace: Subspace, k: int) -> Subspace:
    """Its first k directions."""
    if not 1 <= k <= len(subspace.basis):
        raise BadVector(f"k is {k}; the subspace has {len(subspace.basis)} directions.")
    return replace(subspace, basis=subspace.basis[:k])


def inside(value: Float[Tensor, " d_model"], basis: Float[Tensor, "k d_model"]) -> Float[Tensor, " d_model"]:
    """The part of a vector that lies in the span of orthonormal rows."""
    return (value.double() @ basis.double().T @ basis.double()).float()


def projected_out(vector: SteeringVector, bases: Mapping[Site, Float[Tensor, "k d_model"]]) -> SteeringVector:
    """The vector without its part in the span at each of its sites (Li et al. 2603.24543: v - (v . r) r).

    bases: orthonormal rows for each of the vector's sites. Raises BadVector when nothing is left of it.
    """
    left = {}
    for site, value in vector.vectors.items():
        basis = bases[site]
        if basis.shape[-1] != len(value):
            raise BadVector(f"the subspace has width {basis.shape[-1]}; the vector at {site} has {len(value)}.")
        rest = value - inside(value, basis)
        if float(rest.norm()) < 1e-5 * float(value.norm()):
            raise BadVector(f"the vector at {site} lies in the subspace; nothing would be left of it.")
        left[site] = rest
    return replace(vector, vectors=left)
