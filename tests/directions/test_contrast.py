import pytest
import torch

from demur.directions.contrast import contrast, shuffled
from demur.errors import BadVector, InputError, UnknownName


def pairs(n: int = 60, d: int = 16, seed: int = 0):
    """Pairs that differ along e0 by 2 and share a large component of their own."""
    generator = torch.Generator().manual_seed(seed)
    shared = 5 * torch.randn(n, d, generator=generator)
    shift = torch.zeros(d)
    shift[0] = 2.0
    noise = [0.3 * torch.randn(n, d, generator=generator) for _ in range(2)]
    return shared + shift + noise[0], shared + noise[1]


@pytest.mark.parametrize("method", ["mean", "pca", "logistic"])
def test_every_method_finds_the_planted_shift(method):
    if method == "logistic":
        pytest.importorskip("sklearn")
    found = contrast(*pairs(), method)
    assert found.dtype == torch.float32
    assert float(found[0] / found.norm()) > (0.95 if method != "logistic" else 0.6)
    assert float(found[0]) > 0


def test_the_mean_is_the_difference_of_means():
    a, b = pairs()
    assert torch.allclose(contrast(a, b), a.mean(0) - b.mean(0), atol=1e-5)


def test_pca_is_as_long_as_the_mean_difference_along_it():
    a, b = pairs()
    found = contrast(a, b, "pca")
    assert float(found.norm()) == pytest.approx(float((a.mean(0) - b.mean(0)) @ (found / found.norm())), rel=1e-4)


def test_turning_the_sides_round_turns_the_vector_round():
    a, b = pairs()
    for method in ("mean", "pca"):
        assert torch.allclose(contrast(a, b, method), -contrast(b, a, method), atol=1e-4)


def test_shuffled_pairs_lose_the_shift_but_no_row():
    a, b = pairs()
    turned = shuffled(a, b, 3)
    assert float(contrast(*turned).norm()) < 0.3 * float(contrast(a, b).norm())
    assert torch.equal(turned[0] + turned[1], a + b)
    assert int((turned[0] == b).all(-1).sum()) == 30
    assert not torch.equal(shuffled(a, b, 4)[0], turned[0])


def test_equal_sides_have_no_vector():
    a, _ = pairs()
    with pytest.raises(BadVector, match="equal means"):
        contrast(a, a.clone())


def test_what_a_fit_cannot_read_is_named():
    a, b = pairs()
    with pytest.raises(UnknownName, match="logistic, mean, pca"):
        contrast(a, b, "svm")
    with pytest.raises(InputError, match="at least 2"):
        contrast(a[:1], b)
    with pytest.raises(InputError, match="pairs"):
        contrast(a[:5], b, "pca")
    with pytest.raises(InputError, match="turned round"):
        shuffled(a[:5], b, 0)
    assert contrast(a[:5], b).shape == (16,)
