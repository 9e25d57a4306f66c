"""Vectors from contrasts: activations of answers that show a behaviour, and of answers that do not.

mean: difference of means (CAA, Rimsky et al. 2312.06681). pca: the first principal direction of the pairs' differences
(RepE, Zou et al. 2310.01405). logistic: the normal of a logistic regression (needs scikit-learn). The last two give a
direction; they are made as long as the mean difference's component along it, and point the way it points.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from demur.errors import BadVector, InputError, MissingExtra, unknown

METHODS = ("logistic", "mean", "pca")


def contrast(
    matching: Float[Tensor, "n d_model"], other: Float[Tensor, "m d_model"], method: str = "mean"
) -> Float[Tensor, " d_model"]:
    """The vector from `other` to `matching`, float32; pca needs pairs (row i of one belongs to row i of the other).

    Raises BadVector when the means are equal, InputError for too few rows, UnknownName for another method.
    """
    if method not in METHODS:
        raise unknown("way of fitting a vector", method, METHODS)
    matching, other = matching.double(), other.double()
    if min(len(matching), len(other)) < 2:
        raise InputError(f"{len(matching)} and {len(other)} rows make no contrast; give at least 2 of each.")
    mean = matching.mean(0) - other.mean(0)
    if float(mean.norm()) <= 1e-6 * float(matching.norm(dim=-1).mean()):
        raise BadVector("the two sides have equal means; use pairs that differ.")
    if method == "mean":
        return mean.float()
    axis = _principal(matching, other) if method == "pca" else _normal(matching, other)
    along = float(mean @ axis)
    if abs(along) <= 1e-9:
        raise BadVector(f"the {method} direction is at right angles to the mean difference; use more pairs, or mean.")
    return (along * axis).float()


def shuffled(
    matching: Float[Tensor, "n d_model"], other: Float[Tensor, "m d_model"], seed: int
) -> tuple[Tensor, Tensor]:
    """The same pairs with a random half of them turned round: what a fit finds where there is nothing to find."""
    if matching.shape != other.shape:
        raise InputError(f"only pairs can be turned round; there are {len(matching)} and {len(other)} rows.")
    order = torch.randperm(len(matching), generator=torch.Generator().manual_seed(seed))
    turn = torch.zeros(len(matching), dtype=torch.bool)
    turn[order[: len(matching) // 2]] = True
    turn = turn[:, None]
    return torch.where(turn, other, matching), torch.where(turn, matching, other)


def _principal(matching: Tensor, other: Tensor) -> Tensor:
    if matching.shape != other.shape:
        raise InputError(f"pca reads pairs; there are {len(matching)} and {len(other)} rows.")
    return torch.linalg.svd(matching - other, full_matrices=False).Vh[0]


def _normal(matching: Tensor, other: Tensor) -> Tensor:
    try:
        from sklearn.linear_model import LogisticRegression
    except ImportError as error:
        raise MissingExtra(
            "a logistic fit needs scikit-learn; install it with: pip install 'demur[probes]'."
        ) from error
    rows = torch.cat([matching, other])
    scale = float(rows.norm(dim=-1).mean())
    labels = [1] * len(matching) + [0] * len(other)
    weights = LogisticRegression(max_iter=2000).fit((rows / scale).numpy(), labels).coef_[0]
    axis = torch.tensor(weights, dtype=torch.float64)
    return axis / axis.norm()
