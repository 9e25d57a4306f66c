import pytest

from demur.analysis.geometry import bootstrap_line, dose_slope, gain_over_zero, left_out, line
from demur.errors import InputError


def test_a_slope_is_in_points_a_unit_of_dose():
    assert dose_slope({-1.0: 0.1, 0.0: 0.2, 1.0: 0.3}) == pytest.approx(0.1)
    with pytest.raises(InputError, match="got 1"):
        dose_slope({0.0: 0.2})


def test_a_line_and_what_it_predicts_for_a_vector_it_never_saw():
    x, y = [-0.6, -0.2, 0.1, 0.4, 0.6], [0.31, 0.11, -0.05, -0.2, -0.3]
    found = line(x, y)
    assert found.gradient == pytest.approx(-0.5, abs=0.02) and found.r_squared > 0.99
    predicted = left_out(x, y, list("abcde"))
    assert predicted == pytest.approx(y, abs=0.03)
    assert gain_over_zero(predicted, y) > 0.9
    # A vector of its own group is left out with it.
    assert left_out(x, [9.0, 9.0, *y[2:]], list("aabcd"))[0] == pytest.approx(0.3, abs=0.05)
    with pytest.raises(InputError, match="needs 3"):
        line(x[:2], y[:2])


def test_a_line_is_as_certain_as_the_groups_of_its_vectors_are_many():
    x, y = [-0.6, -0.4, -0.2, 0.1, 0.4, 0.6], [0.31, 0.1, 0.12, -0.05, -0.1, -0.3]
    gradient, explained = bootstrap_line(x, y, list("abcdef"))
    assert gradient.value == pytest.approx(line(x, y).gradient) and explained.value == line(x, y).r_squared
    assert gradient.low < gradient.value < gradient.high < 0 < explained.low < explained.value <= explained.high <= 1
    twice = bootstrap_line(x * 2, y * 2, list("abcdef") * 2)
    assert twice[0] == pytest.approx(gradient) and twice[1] == pytest.approx(explained)
    apart = bootstrap_line(x * 2, y * 2, list("abcdefghijkl"))[0]
    assert apart.high - apart.low < gradient.high - gradient.low
    with pytest.raises(InputError, match="needs 3"):
        bootstrap_line(x[:2], y[:2], list("ab"))


def test_a_useless_prediction_gains_nothing():
    assert gain_over_zero([0.0, 0.0], [1.0, -1.0]) == 0
    assert gain_over_zero([-1.0, 1.0], [1.0, -1.0]) < 0
