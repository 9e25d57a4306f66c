"""What is read off an audit's table: geometry on figures that are given, behaviours and cleaning on a tiny model."""

import pytest
from tests.hashed import Hashed, rows
from tests.planted import Planted

from demur.analysis.tables import find
from demur.directions.difference import random_like
from demur.directions.vectors import steering_vector
from demur.evaluation.behaviour import behaviour_scores
from demur.evaluation.evaluator import Evaluator
from demur.experiments.audit_figures import (
    MIN_CLUSTERS,
    behaviours_seen,
    geometry_figures,
    geometry_scatter,
    mitigation_figures,
)
from demur.fitting.subjects import as_it_is, subject
from demur.fitting.vectors import fit_vector
from demur.interventions import add
from demur.prompts.pairs import behaviour
from demur.types import Decoding, Figure, Site, arm_name

AXIS = Planted().direction
ENDS = (-1.0, 1.0)
HALF = rows("rc" * 4)


def across(seed: int):
    noise = random_like(AXIS.vector, seed)
    return noise - (noise @ AXIS.vector) * AXIS.vector


def rates(**slopes: float) -> list[Figure]:
    """Compliance rates: unsteered a half, and each vector's so much more or less at its ends."""
    values = {"unsteered": 0.5, **{arm_name(name, m): 0.5 + m * slope for name, slope in slopes.items() for m in ENDS}}
    return [Figure(arm, "", "attacked", "compliance_rate", value, 100, "answers", value, value)
            for arm, value in values.items()]  # fmt: skip


def at_axis(name: str, value):
    return subject(name, steering_vector({AXIS.site: value}))


TWO = [at_axis("planted", AXIS.vector), at_axis("noise", across(5))]


def test_cosine_and_slope_stand_beside_each_other():
    found = geometry_figures(rates(planted=-0.2, noise=0.1), TWO, ENDS, AXIS)
    assert find(found, "planted", "geometry", "cosine_to_refusal").value == pytest.approx(1.0)
    assert abs(find(found, "noise", "geometry", "cosine_to_refusal").value) < 1e-5
    assert find(found, "planted", "geometry", "compliance_slope").value == pytest.approx(-0.2)
    assert find(found, "noise", "geometry", "compliance_slope").value == pytest.approx(0.1)
    assert geometry_figures(rates(), [as_it_is("spec", add(AXIS, 1.0))], ENDS, AXIS) == []


def test_what_moves_refusal_at_the_site_is_set_beside_the_refusal_direction():
    basis = [steering_vector({AXIS.site: value / value.norm()}) for value in (AXIS.vector, across(9))]
    given = rates(planted=-0.2, noise=0.1)
    found = geometry_figures(given, TWO, ENDS, AXIS, (), basis)
    for metric in ("cosine_to_gradient", "share_in_subspace"):
        assert find(found, "planted", "geometry", metric).value == pytest.approx(1.0)
    near = find(found, "noise", "geometry", "cosine_to_gradient").value
    assert abs(near) < 1e-5 < find(found, "noise", "geometry", "share_in_subspace").value
    assert not any(f.metric == "cosine_to_gradient" for f in geometry_figures(given, TWO, ENDS, AXIS))
    without = geometry_figures(given, TWO, ENDS, None, (), basis)
    assert [f for f in found if f.metric != "cosine_to_refusal"] == without


def test_a_line_needs_five_behaviours_and_takes_vectors_of_one_for_a_cluster():
    some = [at_axis(f"v{i}", AXIS.vector * (i - 2.5) + random_like(AXIS.vector, i)) for i in range(6)]
    given = rates(**{f"v{i}": -0.02 * (i - 2.5 + 0.3 * (i % 2)) for i in range(6)})

    def line(metric: str, **behaviours: str) -> Figure:
        found = geometry_figures(given, some, ENDS, AXIS, behaviours=behaviours)
        return find(found, "all vectors", "geometry", metric)

    r_squared = line("r_squared")
    assert r_squared.value > 0.9 and r_squared.low < r_squared.value <= r_squared.high
    assert r_squared.n == 6 > MIN_CLUSTERS
    with pytest.raises(KeyError):
        line("r_squared", v0="a", v1="a", v2="b", v3="b")
    one, other = line("slope_on_cosine"), line("slope_on_cosine", v0="a", v5="a")
    assert one.value == other.value and (one.low, one.high) != (other.low, other.high)


def test_cleaned_vectors_are_left_out_of_the_line_and_of_its_picture():
    some = [at_axis(f"v{i}", 2 * AXIS.vector * (i - 2) + random_like(AXIS.vector, i)) for i in range(5)]
    given = rates(**{f"v{i}": -0.02 * (i - 2) for i in range(5)})
    found = geometry_figures(given, some, ENDS, AXIS)
    (picture,) = geometry_scatter(found)
    assert [name for name, _, _ in picture.points] == [s.name for s in some] and picture.line is not None
    found = geometry_figures(given, some, ENDS, AXIS, cleaned={"v4"})
    assert not any(f.arm == "all vectors" for f in found)
    (picture,) = geometry_scatter(found, {"v4"})
    assert [name for name, _, _ in picture.points] == ["v0", "v1", "v2", "v3"] and picture.line is None
    assert geometry_scatter([]) == []


@pytest.fixture(scope="module")
def engine(build):
    return build("llama", 3, max_position_embeddings=4096).engine


@pytest.fixture(scope="module")
def pair(engine):
    """A vector for warmth, and half of it, as what cleaning left."""
    site = Site(1)
    value = fit_vector(engine, behaviour("warmth", "fit")[:8], [site], shuffles=0).vector.vectors[site]
    return [subject("warm", steering_vector({site: value})), subject("warm, half", steering_vector({site: value / 2}))]


@pytest.fixture(scope="module")
def seen(engine, pair):
    evaluator = Evaluator(engine, Hashed(), Decoding(5))
    told = dict.fromkeys((s.name for s in pair), "warmth")
    return behaviours_seen(evaluator, [*pair, subject("other", pair[0].vector)], told, ENDS, 4)


def test_a_behaviour_is_measured_on_the_arms_of_its_subjects_alone(engine, pair, seen):
    scores, figures, sides = seen
    assert list(scores) == ["warmth"]
    arms = ["unsteered", *(arm_name(s.name, m) for s in pair for m in ENDS)]
    assert list(scores["warmth"]) == arms
    (alone,) = behaviour_scores(engine, behaviour("warmth", "test"), [pair[0].steer(1.0)])
    assert scores["warmth"]["warm x+1"].log_odds == pytest.approx(alone.log_odds, abs=1e-4)
    change = find(figures, "warm x+1", "behaviour warmth", "log_odds", "unsteered")
    base, up = (scores["warmth"][arm].log_odds for arm in ("unsteered", "warm x+1"))
    assert change.value == pytest.approx(sum(up) / len(up) - sum(base) / len(base))
    assert find(figures, "warm x-1", "behaviour warmth", "open_share").n == 4
    probed = 2 * len(behaviour("warmth", "validation"))
    assert find(figures, "probe of answers", "behaviour warmth", "open_accuracy").n == probed
    assert {side.set for side in sides} == {"behaviour warmth"}


def test_what_is_left_of_the_behaviour_is_the_ratio_of_the_spans(seen):
    scores, figures, _ = seen
    told = {"warm": "warmth", "warm, half": "warmth"}
    found = mitigation_figures({(arm, "attacked"): HALF for arm in scores["warmth"]}, {"warm, half": "warm"}, told,
                               scores, ENDS)  # fmt: skip
    ends = {name: [find(figures, arm_name(name, m), "behaviour warmth", "log_odds", "unsteered").value for m in ENDS]
            for name in ("warm", "warm, half")}  # fmt: skip
    spans = {name: high - low for name, (low, high) in ends.items()}
    # The table changes nothing, so that nothing can be said of what was removed.
    (kept,) = found
    assert (kept.arm, kept.metric) == ("warm, half", "behaviour_kept")
    assert kept.value == pytest.approx(spans["warm, half"] / spans["warm"], rel=1e-4)
    assert 0.3 < kept.value < 0.7
