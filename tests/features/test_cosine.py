import pytest
import torch

from demur.errors import BadVector, InputError
from demur.features import cosine, cosines
from demur.saes import SAE
from demur.types import Direction, Site


def towards(d=32, seed=9):
    vector = torch.randn(d, generator=torch.Generator().manual_seed(seed))
    return Direction(vector / vector.norm(), Site(1), 1.0)


def planted(one, rows, direction):
    """A copy whose rows {index: factor} are that multiple of the direction."""
    weights = {name: tensor.clone() for name, tensor in one.weights.items()}
    for index, factor in rows.items():
        weights["W_dec"][index] = factor * direction.vector
    return SAE(one.kind, weights, one.site, source=one.source)


def test_it_finds_the_planted_row_whatever_its_length(sae):
    direction = towards()
    one = planted(sae(Site(2)), {17: 0.01, 30: -5.0}, direction)
    found = cosine({Site(2): one}, direction, k=1)
    assert [(f.site, f.index) for f in found.features] == [(Site(2), 17)]
    assert found.features[0].score == pytest.approx(1.0, abs=1e-5)
    assert cosines(one, direction)[30] == pytest.approx(-1.0, abs=1e-5)
    assert 30 not in {f.index for f in cosine({Site(2): one}, direction, k=47).features}


def test_scores_are_signed_cosines_best_first(sae):
    direction, one = towards(), sae(Site(0))
    found = cosine({Site(0): one}, direction, k=48)
    rows = one.weights["W_dec"]
    for feature in found.features:
        wanted = float(rows[feature.index] @ direction.vector / rows[feature.index].norm())
        assert feature.score == pytest.approx(wanted, abs=1e-5)
    scores = [f.score for f in found.features]
    assert scores == sorted(scores, reverse=True)
    assert scores[-1] < 0


def test_each_site_has_its_own_k_or_all_share_one(sae):
    direction = towards()
    near = planted(sae(Site(2), seed=1), dict.fromkeys(range(6), 1.0), direction)
    saes = {Site(2): near, Site(0): sae(Site(0))}
    each, together = cosine(saes, direction, 4), cosine(saes, direction, 4, per_site=False)
    assert sorted(f.site for f in each.features) == [Site(0)] * 4 + [Site(2)] * 4
    assert [(f.site, f.index) for f in together.features] == [(Site(2), i) for i in range(4)]
    assert each.saes == {site: one.sha256 for site, one in saes.items()}
    assert together.saes == {Site(2): near.sha256}
    assert each.origin["saes"] == {"0.pre": "random-0", "2.pre": "random-1"}
    assert (each.origin["k"], each.origin["per_site"], together.origin["per_site"]) == (4, True, False)
    assert each.origin["direction"]["sha256"] != cosine(saes, towards(seed=3), 4).origin["direction"]["sha256"]


def test_a_row_of_zeros_points_nowhere(sae):
    direction = towards()
    assert cosines(planted(sae(Site(0)), {5: 0.0}, direction), direction)[5] == 0


def test_a_direction_of_another_width_or_a_k_that_is_not_there_is_refused(sae):
    saes = {Site(0): sae(Site(0))}
    with pytest.raises(
        BadVector, match=r"direction at 1.pre has shape \[16\]; the SAE at 0.pre .* width 32: fit it on"
    ):
        cosine(saes, towards(16))
    for k in (0, 49, True):
        with pytest.raises(InputError, match=f"k is {k}, but the SAE at 0.pre has 48 latents; give a k from 1 to 48"):
            cosine(saes, towards(), k)
