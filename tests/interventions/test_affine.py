import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from jaxtyping import TypeCheckError

from demur.errors import BadSpec, BadVector
from demur.interventions import Context, ablate, add, chain, everywhere, parse_site, scale
from demur.types import Direction, Site, SteeringVector

SITE, OTHER = Site(1), Site(2, "mlp_out")
D = 8
finite = st.floats(-10, 10, width=32)
vectors = st.lists(finite, min_size=D, max_size=D).filter(lambda v: max(map(abs, v)) > 1e-2).map(torch.tensor)
streams = st.integers(0, 1000).map(lambda s: 3 * torch.randn(2, 5, D, generator=torch.Generator().manual_seed(s)))
CONTEXT = Context(torch.arange(5)[None].expand(2, -1), torch.tensor([[3], [4]]))
quick = settings(max_examples=30, deadline=None)


def towards(vector: torch.Tensor, norm: float = 5.0) -> Direction:
    return Direction(vector / vector.norm(), SITE, norm)


def run(intervention, x, site=SITE):
    return intervention.edit(x, site, CONTEXT) if site in intervention.sites else x


def close(a, b):
    torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-4)


@quick
@given(streams, vectors)
def test_ablation_removes_the_projection_and_only_that(x, v):
    r = towards(v)
    new = run(ablate(r, [SITE]), x)
    close(new @ r.vector, torch.zeros(2, 5))
    close(new, x - (x @ r.vector)[..., None] * r.vector)


@quick
@given(streams, vectors)
def test_ablation_is_idempotent_and_equals_scaling_by_zero(x, v):
    once = run(ablate(towards(v), [SITE]), x)
    close(run(ablate(towards(v), [SITE]), once), once)
    assert run(scale(towards(v), 0.0), x).equal(once)


@quick
@given(streams, vectors, st.floats(-3, 3, width=32))
def test_ablating_a_share_scales_the_component_by_the_rest(x, v, dose):
    r = towards(v)
    close(run(ablate(r, [SITE], dose), x) @ r.vector, (1 - dose) * (x @ r.vector))
    close(run(scale(r, dose), x), x + (dose - 1) * (x @ r.vector)[..., None] * r.vector)


@quick
@given(streams, vectors, st.floats(-8, 8, width=32).filter(lambda d: abs(d) > 1e-3))
def test_adding_and_taking_away_is_the_identity(x, v, dose):
    steer = SteeringVector({SITE: v})
    close(run(chain(add(steer, dose), add(steer, -dose)), x), x)
    close(run(add(steer, dose), x), x + dose * v)


@quick
@given(streams, vectors, vectors)
def test_a_chain_acts_in_order(x, v, w):
    r = towards(v)
    added = add(SteeringVector({SITE: w}), 1.0)
    close(run(chain(added, ablate(r, [SITE])), x) @ r.vector, torch.zeros(2, 5))
    close(run(chain(ablate(r, [SITE]), added), x) @ r.vector, (w @ r.vector).expand(2, 5))


def test_a_dose_of_zero_and_a_factor_of_one_have_no_sites():
    r = towards(torch.ones(D))
    nothing = [
        add(r, 0.0),
        add(r, 0.0, relative=True),
        ablate(r, dose=0.0),
        ablate(r, [SITE, OTHER], dose=0.0),
        scale(r, 1.0),
        scale(r, 1.0, [SITE, OTHER]),
    ]
    assert all(not i.sites for i in nothing)
    assert not chain(*nothing).sites
    assert not chain().sites


def test_a_steering_vector_adds_its_own_vector_at_each_site():
    x = torch.randn(2, 5, D)
    steer = add(SteeringVector({SITE: torch.ones(D), OTHER: 2 * torch.ones(D)}), -0.5)
    assert steer.sites == {SITE, OTHER}
    close(run(steer, x), x - 0.5)
    close(run(steer, x, OTHER), x - 1.0)


@quick
@given(vectors, st.floats(0.125, 100, width=32), st.floats(-4, 4, width=32).filter(lambda d: abs(d) > 1e-2))
def test_a_relative_dose_of_one_is_as_long_as_the_median_activation(v, norm, dose):
    steer = SteeringVector({SITE: v}, {SITE: norm})
    delta = run(add(steer, dose, relative=True), torch.zeros(2, 5, D))[0, 0]
    assert float(delta.norm()) == pytest.approx(abs(dose) * norm, rel=1e-4)
    assert float(torch.cosine_similarity(delta, dose * v, 0)) == pytest.approx(1, abs=1e-4)
    close(delta, run(add(towards(v, norm), dose, relative=True), torch.zeros(2, 5, D))[0, 0])


@pytest.mark.parametrize("size", [1e-30, 1e-10, 1e25, 1e38])
def test_a_direction_counts_whatever_its_length_even_when_its_square_leaves_float32(size):
    v = torch.arange(1.0, D + 1)
    v = v / v.norm()
    x = torch.randn(2, 5, D)
    close(run(ablate(Direction(v * size, SITE, 1.0), [SITE]), x), run(ablate(Direction(v, SITE, 1.0), [SITE]), x))
    steer = add(SteeringVector({SITE: v * size}, {SITE: 2.0}), 1.0, relative=True)
    close(run(steer, torch.zeros(2, 5, D))[0, 0], 2 * v)


def test_the_vector_given_is_copied_so_that_changing_it_later_changes_nothing():
    v, r = torch.ones(D), torch.eye(D)[0].clone()
    both = chain(add(SteeringVector({SITE: v}), 1.0), ablate(Direction(r, SITE, 1.0), [SITE]))
    before = run(both, torch.ones(2, 5, D))
    v.mul_(7)
    r.copy_(torch.eye(D)[3])
    assert run(both, torch.ones(2, 5, D)).equal(before)


def test_an_integer_or_half_vector_becomes_float32():
    for dtype in (torch.int64, torch.float16, torch.float64, torch.bfloat16):
        assert add(SteeringVector({SITE: torch.ones(D, dtype=dtype)}), 1.0).deltas[SITE].dtype == torch.float32


BAD = {
    "NaN": torch.tensor([1.0, float("nan")]),
    "infinite": torch.tensor([1.0, float("-inf")]),
    "too large for float32": torch.tensor([1e300, 1.0], dtype=torch.float64),
    "zero": torch.zeros(D),
    "two dimensions": torch.ones(2, D),
    "no dimension": torch.tensor(1.0),
    "one entry": torch.ones(1),
    "no entry": torch.ones(0),
}


@pytest.mark.parametrize("what", BAD)
def test_a_bad_vector_is_refused_naming_its_site(what):
    v = BAD[what]
    with pytest.raises(BadVector, match=r"1\.pre"):
        add(SteeringVector({SITE: v}), 1.0)
    with pytest.raises(BadVector, match=r"1\.pre"):
        add(SteeringVector({SITE: v}), 0.0)
    with pytest.raises(BadVector, match=r"1\.pre"):
        ablate(Direction(v, SITE, 1.0))


@pytest.mark.parametrize("dose", [math.nan, math.inf, -math.inf, 1e39, 10**400, "1", None, True])
def test_a_dose_that_is_no_finite_number_is_refused(dose):
    r = towards(torch.ones(D))
    for make in (lambda: add(r, dose), lambda: ablate(r, dose=dose), lambda: scale(r, dose)):
        with pytest.raises((BadSpec, TypeCheckError), match=r"is not a finite number|Expected type: <class 'float'>"):
            make()


@pytest.mark.parametrize("dose", [1e38, 1e-44])
def test_a_dose_that_leaves_float32_is_refused_as_a_dose(dose):
    with pytest.raises(BadSpec, match="leaves float32's range; choose another dose"):
        add(SteeringVector({SITE: torch.full((D,), 1e3 if dose > 1 else 1e-3)}), dose)


def test_a_relative_dose_needs_a_usable_norm():
    with pytest.raises(BadSpec, match=r"needs the activation norm at 1\.pre"):
        add(SteeringVector({SITE: torch.ones(D)}), 1.0, relative=True)
    with pytest.raises(BadSpec, match=r"activation norm at 1\.pre"):
        add(Direction(torch.ones(D), SITE, math.nan), 1.0, relative=True)


def test_everywhere_is_arditis_three_points_of_every_layer():
    assert everywhere(2) == [Site(layer, p) for layer in (0, 1) for p in ("pre", "attn_out", "mlp_out")]  # pyright: ignore


@pytest.mark.parametrize("text", ["0.pre", "18.mid", "7.post", "123.attn_out", "3.mlp_out"])
def test_a_site_reads_back_as_it_is_written(text):
    assert str(parse_site(text)) == text


@pytest.mark.parametrize(
    "text", ["", "pre", "1", "1.", "1.middle", "-1.pre", "².pre", "1.pre.x", "9" * 5000 + ".pre", "1 .pre"]
)
def test_what_is_no_site_is_refused(text):
    with pytest.raises(BadSpec, match=r"is not a site; write LAYER\.POINT"):
        parse_site(text)
