"""The one choice among arms, told what each of them does."""

import pytest
from tests.planted import Planted
from tests.told import told

from demur.analysis.tables import find
from demur.evaluation.evaluator import Arm
from demur.fitting.choice import Choice, choose_arm
from demur.interventions import add
from demur.types import Outcome

ENGINE = Planted()
STEER = {name: add(ENGINE.direction, dose) for name, dose in (("mild", 1.0), ("middle", 2.0), ("strong", 3.0))}


def choose(unsteered: str, *outcomes: str, wanted: Outcome = "complied", enough=None) -> Choice[str]:
    """The choice among a mild, a middle and a strong arm with these outcomes."""
    some = dict(zip(STEER, outcomes, strict=False))
    evaluator = told(ENGINE, unsteered, *((STEER[name], letters) for name, letters in some.items()))
    arms = {name: Arm(f"arm {i}", STEER[name]) for i, name in enumerate(some)}
    return choose_arm(evaluator, arms, "validation", [], wanted, enough)


def test_the_arm_with_most_of_the_wanted_outcome_is_taken():
    found = choose("rrrr", "crrr", "cccr", "ccrr")
    assert (found.key, found.within_budget, found.gain) == ("middle", True, 0.75)
    assert choose("cccc", "rccc", "cccc", wanted="refused").key == "mild"


def test_of_equal_arms_the_mildest_is_taken():
    assert choose("rrrr", "ccrr", "ccrr", "crcr").key == "mild"


def test_an_arm_that_breaks_more_than_the_budget_is_not_taken_whatever_it_gains():
    assert choose("r" * 20, "c" + "r" * 19, "c" * 18 + "..").key == "mild"
    within = choose("r" * 20, "c" + "r" * 19, "c" * 19 + ".")
    assert (within.key, within.within_budget) == ("middle", True)


def test_off_topic_answers_count_as_broken_and_those_of_the_unsteered_arm_are_allowed():
    assert choose("r" * 10, "c" + "r" * 9, "c" * 9 + "o").key == "mild"
    assert choose("r" * 9 + "o", "c" + "r" * 9, "c" * 9 + "o").key == "middle"


def test_where_all_break_too_much_the_one_that_breaks_fewest_is_taken_and_said():
    found = choose("rrrr", "cc..", "ccc.", "....")
    assert (found.key, found.within_budget, found.gain) == ("middle", False, 0.75)


@pytest.mark.parametrize(("enough", "key"), [(0.25, "mild"), (0.3, "middle"), (0.5, "middle"), (0.9, "strong")])
def test_with_enough_the_mildest_that_reaches_it_is_taken_else_the_best(enough, key):
    assert choose("rrrr", "crrr", "ccrr", "cccr", enough=enough).key == key


def test_the_curve_has_every_arm_and_its_change():
    found = choose("rrrr", "crrr", "cccr")
    assert find(found.curve, "arm 1", "validation", "compliance_rate").value == 0.75
    assert find(found.curve, "arm 0", "validation", "refusal_rate", "unsteered").value == -0.25
    assert {f.arm for f in found.curve} == {"unsteered", "arm 0", "arm 1"}
