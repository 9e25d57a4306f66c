import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.hashed import rows

from demur.analysis.tables import (
    METRICS,
    accuracy_figures,
    deltas,
    excess,
    find,
    hits,
    in_words,
    requests,
    share,
    shares,
    table_figures,
)
from demur.errors import InputError
from demur.stats import wilson
from demur.types import OUTCOMES, Figure

TABLE = {
    ("unsteered", "harmful"): rows("rrrc"),
    ("ablate", "harmful"): rows("crcc", arm="ablate"),
    ("ablate", "alone"): rows("cc", arm="ablate"),
}


def test_shares_come_first_and_sum_to_one_then_differences_from_the_baseline():
    found = table_figures(TABLE)
    assert [bool(f.versus) for f in found] == [False] * 18 + [True] * 6
    for arm, name in TABLE:
        part = [f for f in found if (f.arm, f.set, f.versus) == (arm, name, "")]
        assert sum(f.value for f in part) == pytest.approx(1)
        assert {f.n for f in part} == {len(TABLE[arm, name])}
    refused = find(found, "unsteered", "harmful", "refusal_rate")
    assert (refused.value, refused.low, refused.high) == (0.75, *wilson(3, 4))
    change = find(found, "ablate", "harmful", "compliance_rate", "unsteered")
    assert (change.value, change.n, change.judge) == (0.5, 4, "hashed")
    assert change.low <= 0.5 <= change.high


@given(st.text(st.sampled_from("rcpo."), min_size=1, max_size=50))
def test_the_shares_of_all_outcomes_sum_to_one(letters: str) -> None:
    found = shares("a", "s", rows(letters))
    assert [f.metric for f in found] == [METRICS[outcome] for outcome in OUTCOMES]
    assert sum(f.value for f in found) == pytest.approx(1.0)
    for figure in found:
        assert figure.low <= figure.value <= figure.high
        assert figure.n == len(letters)


def test_the_figures_carry_the_six_rates():
    assert {f.metric: f.value for f in shares("a", "s", rows("rrcp"))} == {
        "refusal_rate": 0.5,
        "partial_rate": 0.25,
        "compliance_rate": 0.25,
        "off_topic_rate": 0.0,
        "incoherent_rate": 0.0,
        "undecided_rate": 0.0,
    }


def test_answers_to_one_request_widen_the_interval_of_a_share():
    once, twice = shares("a", "s", rows("rc" * 8))[0], shares("a", "s", rows("rrcc" * 8, each=2))[0]
    apart = shares("a", "s", rows("rc" * 16))[0]
    assert (twice.value, twice.n) == (apart.value, apart.n)
    assert twice.high - twice.low > apart.high - apart.low
    assert twice.high - twice.low == pytest.approx(once.high - once.low, abs=0.02)


def test_without_answers_there_is_no_share():
    with pytest.raises(InputError, match="no answers of a on s"):
        shares("a", "s", [])


def test_outcomes_are_counted_together_and_one_by_one():
    some = rows("rc.o")
    assert share(some, "incoherent", "off-topic") == 0.5
    assert hits(some, "incoherent", "off-topic") == [0.0, 0.0, 1.0, 1.0]
    assert requests(rows("rcrc", each=2)) == ["request 0", "request 0", "request 1", "request 1"]


def test_paired_deltas_are_clustered_differences():
    found = {f.metric: f for f in deltas("steered", "unsteered", "s", rows("rrc"), rows("crc"))}
    assert found["refusal_rate"].value == pytest.approx(1 / 3)
    assert found["compliance_rate"].value == pytest.approx(-1 / 3)
    assert found["refusal_rate"].versus == "unsteered"
    with pytest.raises(InputError, match="do not pair up"):
        deltas("x", "y", "s", rows("rrc"), rows("cr"))


def test_differences_are_clustered_by_request():
    a, b = rows("r" * 8 + "c" * 8, arm="add"), rows("c" * 16)
    once = deltas("add", "unsteered", "s", a, b)
    thrice = deltas("add", "unsteered", "s", a * 3, b * 3)
    assert [(f.value, f.low, f.high) for f in once] == [(f.value, f.low, f.high) for f in thrice]
    assert {f.n for f in thrice} == {48}


def test_accuracy_of_every_arm_and_its_change():
    right = {"unsteered": [True, True, False, True], "add": [True, False, False, False]}
    found = accuracy_figures(right, ["a", "b", "c", "d"])
    own, change = find(found, "add", "capability", "accuracy"), found[-1]
    assert (own.value, own.n, own.denominator) == (0.25, 4, "items")
    assert (own.low, own.high) == wilson(1, 4)
    assert (change.arm, change.versus, change.value) == ("add", "unsteered", -0.5)
    assert len(found) == 3
    assert len(accuracy_figures(right, ["a", "b", "c", "d"], baseline="other")) == 2


def test_a_figure_that_was_not_measured_is_named():
    with pytest.raises(KeyError, match=r"no figure accuracy of add \(versus ''\) on harmful"):
        find(table_figures(TABLE), "add", "harmful", "accuracy")


def test_broken_answers_beyond_the_unsteered_ones_count_on_the_set_else_on_the_worst():
    table = {("unsteered", "a"): rows("rrrr"), ("x", "a"): rows("r.oo"), ("unsteered", "b"): rows("rr.."),
             ("x", "b"): rows("rr..")}  # fmt: skip
    found = table_figures(table)
    assert (excess(found, "x", "a"), excess(found, "x", "b")) == (0.75, 0.0)
    assert excess(found, "x", "elsewhere") == 0.75
    assert excess(found, "y", "a") == 0.0


def test_figures_in_words():
    part = Figure("add", "", "s", "refusal_rate", 0.844, 150, "answers", 0.77, 0.891)
    change = Figure("add", "unsteered", "s", "refusal_rate", -0.316, 150, "paired answers", -0.4, 0.021)
    assert in_words(part) == "84% [77, 89], n=150"
    assert in_words(change) == "-32 points [-40, +2], n=150"
