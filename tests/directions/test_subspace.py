import pytest
import torch

from demur.directions.subspace import by_category, first, inside, orthonormal, projected_out
from demur.directions.vectors import steering_vector
from demur.errors import BadVector
from demur.types import Site

SITE = Site(4, "pre")


def axes(*numbers: int, d: int = 8) -> torch.Tensor:
    return torch.eye(d)[list(numbers)]


def test_rows_are_made_orthonormal_in_their_order_and_copies_are_left_out():
    rows = [axes(0)[0] * 3, axes(0)[0] + axes(1)[0], axes(0)[0] * 2 + axes(1)[0], axes(2)[0]]
    basis = orthonormal(rows)
    assert torch.allclose(basis, axes(0, 1, 2), atol=1e-6)


def test_zeros_span_nothing():
    with pytest.raises(BadVector, match="no direction"):
        orthonormal([torch.zeros(8)])


def test_projecting_out_leaves_the_rest_and_nothing_of_the_span():
    basis = orthonormal(torch.randn(3, 8, generator=torch.Generator().manual_seed(0)))
    vector = steering_vector({SITE: torch.arange(1.0, 9.0)})
    left = projected_out(vector, {SITE: basis}).vectors[SITE]
    assert torch.allclose(basis @ left, torch.zeros(3), atol=1e-5)
    again = projected_out(steering_vector({SITE: left}), {SITE: basis}).vectors[SITE]
    assert torch.allclose(again, left, atol=1e-5)
    assert torch.equal(vector.vectors[SITE], torch.arange(1.0, 9.0))


def test_a_vector_inside_the_subspace_cannot_be_cleaned():
    with pytest.raises(BadVector, match="nothing would be left"):
        projected_out(steering_vector({SITE: axes(1)[0]}), {SITE: axes(0, 1)})
    with pytest.raises(BadVector, match="width"):
        projected_out(steering_vector({SITE: torch.ones(5)}), {SITE: axes(0)})


def test_categories_span_their_mean_differences():
    generator = torch.Generator().manual_seed(1)
    base = 0.01 * torch.randn(20, 8, generator=generator)
    shifts = {"a": axes(0)[0] * 3 + axes(1)[0], "b": axes(0)[0] * 3 - axes(1)[0], "c": axes(0)[0] * 3}
    harmful = {name: shift + 0.01 * torch.randn(10, 8, generator=generator) for name, shift in shifts.items()}
    found = by_category(harmful, base, SITE, 2)
    assert abs(float(found.basis[0, 0])) > 0.99 and float(found.basis[0, 0]) > 0
    assert abs(float(found.basis[1, 1])) > 0.99
    assert found.origin["categories"] == ["a", "b", "c"]
    assert torch.equal(first(found, 1).basis, found.basis[:1])
    with pytest.raises(BadVector, match="k is 4"):
        by_category(harmful, base, SITE, 4)
    with pytest.raises(BadVector, match="k is 3"):
        first(found, 3)


def test_the_share_inside_one_direction_is_the_cosine():
    value = torch.tensor([3.0, 4.0] + [0.0] * 6)
    assert float(inside(value, axes(0)).norm() / value.norm()) == pytest.approx(0.6)
    assert float(inside(value, axes(0, 1)).norm() / value.norm()) == pytest.approx(1.0)
