import pytest
from tests.hashed import rows

from demur.analysis.controls import against_controls, pooled_controls
from demur.analysis.tables import find

SETS = ["random suppress 0", "random suppress 1"]


def proved(*controls: str):
    """Unsteered refuses eight; suppressing complies with six; and what control sets do."""
    table = {("unsteered", "harmful"): rows("r" * 8), ("suppress", "harmful"): rows("ccccccrr")}
    return table | {(arm, "harmful"): rows(some) for arm, some in zip(SETS, controls, strict=True)}


def pooled(table, worst=float, metrics=("compliance_rate",)):
    return pooled_controls(table, SETS, "random suppress", "harmful", worst, metrics)


def against(table):
    return against_controls(table, "suppress", SETS, "random suppress", "harmful", "compliance_rate")


def test_an_arm_is_set_against_the_mean_and_the_worst_of_random_sets():
    table = proved("rrrrrrrr", "ccrrrrrr")
    found = pooled(table) + against(table)
    assert find(found, "random suppress", "harmful", "compliance_rate").value == pytest.approx(1 / 8)
    assert find(found, "random suppress", "harmful", "compliance_rate", "unsteered").value == pytest.approx(1 / 8)
    assert find(found, "suppress", "harmful", "compliance_rate", "random suppress").value == pytest.approx(5 / 8)
    assert find(found, "random suppress", "harmful", "largest_compliance_rate", "unsteered").value == 0.25
    beaten = "sets_at_least_as_large_compliance_rate"
    assert find(found, "suppress", "harmful", beaten, "random suppress").value == 0


def test_a_random_set_that_does_as_much_is_counted():
    found = against(proved("rrcccccc", "rrrrrrrr"))
    beaten = find(found, "suppress", "harmful", "sets_at_least_as_large_compliance_rate", "random suppress")
    assert (beaten.value, beaten.n) == (1, 2)


def test_the_worst_single_arm_is_the_largest_either_way_or_the_one_that_raises_most():
    table = {("unsteered", "s"): rows("rrcc"), ("a", "s"): rows("rrrr"), ("b", "s"): rows("rccc")}

    def worst(how):
        found = pooled_controls(table, ["a", "b"], "random", "s", how)
        return find(found, "random", "s", "largest_compliance_rate", "unsteered").value

    assert (worst(abs), worst(float)) == (-0.5, 0.25)


def test_random_arms_are_pooled_and_the_worst_seed_is_reported_with_its_sign():
    table = {("unsteered", "harmful"): rows("rrrr"), ("a", "harmful"): rows("rrrr"), ("b", "harmful"): rows("rccc")}
    found = pooled_controls(table, ["a", "b"], "random", "harmful")
    assert {f.arm for f in found} == {"random"}
    own = find(found, "random", "harmful", "refusal_rate")
    assert (own.value, own.n) == (5 / 8, 8)
    change = find(found, "random", "harmful", "refusal_rate", "unsteered")
    assert (change.value, change.n) == (-3 / 8, 8)
    worst = find(found, "random", "harmful", "largest_refusal_rate", "unsteered")
    assert (worst.value, worst.n, worst.denominator) == (-0.75, 4, "paired answers, one of 2 controls")
    assert find(found, "random", "harmful", "largest_compliance_rate", "unsteered").value == 0.75


def test_without_random_arms_there_is_nothing_to_pool():
    table = {("unsteered", "s"): rows("r"), ("add", "s"): rows("c"), ("a", "elsewhere"): rows("r")}
    assert pooled_controls(table, [], "random", "s") == pooled_controls(table, ["a"], "random", "s") == []
