"""What cleaning took away, on tables whose numbers are known."""

import pytest
from tests.hashed import rows

from demur.analysis.mitigation import behaviour_kept, change_removed
from demur.errors import InputError

HALF = "rc" * 20
ENDS = (-1.0, 1.0)


def table(low: str = "r" * 10 + HALF[10:], high: str = HALF):
    """Unsteered, the vector v, and its cleaned self c, whose outcomes at both ends are given."""
    arms = {"unsteered": HALF, "v x-1": "r" * 40, "v x+1": "c" * 40, "c x-1": low, "c x+1": high}
    return {(arm, "attacked"): rows(outcomes) for arm, outcomes in arms.items()}


def removed(some, multipliers=ENDS):
    return change_removed(some, [("v", "c")], multipliers, "attacked", "c")


def test_what_is_left_of_a_change_counts():
    found, _ = removed(table())
    # v changes compliance by -.5 and +.5; c still by -.125 and 0.
    assert found.value == pytest.approx(1 - 0.125 / 1.0)
    assert found.low <= found.value <= found.high < 1.0


def test_of_the_slope_noise_is_no_part_and_an_overdone_cleaning_removes_nothing_of_it_either():
    noise = "r" * 5 + "c" * 35
    change, slope = removed(table(noise, noise))
    assert slope.value == pytest.approx(1.0)
    assert change.value < 0.5
    _, slope = removed(table("c" * 40, "r" * 40))
    assert slope.value == pytest.approx(0.0)


def test_an_overdone_cleaning_removes_nothing():
    change, _ = removed(table("c" * 40), (-1.0,))
    assert change.value == pytest.approx(0.0)


def test_changes_of_different_signs_do_not_cancel():
    change, _ = removed(table("c" * 40, "c" * 40))
    assert change.value == pytest.approx(0.0)


def test_where_cleaning_breaks_answers_nothing_is_removed():
    change, _ = removed(table(HALF.replace("r", ".", 4)), (-1.0,))
    assert change.value == pytest.approx(0.0)
    change, _ = removed(table(HALF.replace("r", ".", 2)), (-1.0,))
    assert change.value > 0.9


def test_a_vector_that_changes_nothing_has_no_share():
    assert removed(dict.fromkeys(table(), rows(HALF))) == []
    assert behaviour_kept([0.0, 0.0], [1.0, 1.0], "c") is None


def test_behaviour_is_kept_in_the_mean_over_pairs():
    found = behaviour_kept([1.0, 2.0, 3.0, 2.0], [0.5, 1.0, 1.5, 1.0], "c")
    assert found is not None
    assert (found.value, found.low, found.high) == pytest.approx((0.5, 0.5, 0.5))
    assert found.n == 4
    with pytest.raises(InputError, match="4 and 3 pairs"):
        behaviour_kept([1.0] * 4, [1.0] * 3, "c")
