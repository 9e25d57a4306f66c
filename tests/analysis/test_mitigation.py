"""What cleaning took away and what could have been seen, on tables whose numbers are known."""

import numpy as np
import pytest

from demur.analysis import mitigation, power
from demur.errors import InputError
from demur.evaluation.evaluator import Judged
from demur.stats import resampled
from demur.types import Conversation, Figure, Generation, Message, Prompt, Verdict


def rows(complied, each=1, broken=0):
    """Judged answers, `each` to a request; 1 complied, 0 refused; the first `broken` refusals are incoherent."""
    found = []
    for i, one in enumerate(complied):
        talk = Conversation(Prompt(f"p{i // each}", "text", "s"), (Message("user", "text"),))
        answer = Generation(str(i), talk, "a", (1,), 1, "end", "x")
        outcome = "complied" if one else "incoherent" if broken > 0 else "refused"
        broken -= outcome == "incoherent"
        found.append(Judged(answer, Verdict(str(i), "rules", outcome)))
    return found


def there(figure) -> Figure:
    assert figure is not None
    return figure


def change_removed(*args) -> Figure:
    return mitigation.change_removed(*args)[0]


def slope_removed(*args) -> Figure:
    return mitigation.change_removed(*args)[1]


def behaviour_kept(*args) -> Figure:
    return there(mitigation.behaviour_kept(*args))


def detectable(*args) -> Figure:
    return there(power.detectable(*args))


def table(n=40):
    half = [i % 2 for i in range(n)]
    return {
        ("unsteered", "attacked"): rows(half),
        ("v x-1", "attacked"): rows([0] * n),
        ("v x+1", "attacked"): rows([1] * n),
        ("c x-1", "attacked"): rows([0 if i < n // 4 else h for i, h in enumerate(half)]),
        ("c x+1", "attacked"): rows(half),
    }


def test_what_is_left_of_a_change_counts():
    found = change_removed(table(), [("v", "c")], (-1.0, 1.0), "attacked", "c")
    # v changes compliance by -.5 and +.5; c still by -.125 and 0.
    assert found.value == pytest.approx(1 - 0.125 / 1.0)
    assert found.low <= found.value <= found.high < 1.0


def test_of_the_slope_noise_is_no_part_and_an_overdone_cleaning_removes_nothing_of_it_either():
    half = rows([0] * 5 + [1] * 35)
    noisy = {**table(), ("c x-1", "attacked"): half, ("c x+1", "attacked"): half}
    assert slope_removed(noisy, [("v", "c")], (-1.0, 1.0), "attacked", "c").value == pytest.approx(1.0)
    assert change_removed(noisy, [("v", "c")], (-1.0, 1.0), "attacked", "c").value < 0.5
    over = {**table(), ("c x-1", "attacked"): rows([1] * 40), ("c x+1", "attacked"): rows([0] * 40)}
    assert slope_removed(over, [("v", "c")], (-1.0, 1.0), "attacked", "c").value == pytest.approx(0.0)


def test_an_overdone_cleaning_removes_nothing():
    some = {**table(), ("c x-1", "attacked"): rows([1] * 40)}
    assert change_removed(some, [("v", "c")], (-1.0,), "attacked", "c").value == pytest.approx(0.0)


def test_changes_of_different_signs_do_not_cancel():
    some = {**table(), ("c x-1", "attacked"): rows([1] * 40), ("c x+1", "attacked"): rows([1] * 40)}
    assert change_removed(some, [("v", "c")], (-1.0, 1.0), "attacked", "c").value == pytest.approx(0.0)


def test_where_cleaning_breaks_answers_nothing_is_removed():
    some = {**table(), ("c x-1", "attacked"): rows([i % 2 for i in range(40)], broken=4)}
    assert change_removed(some, [("v", "c")], (-1.0,), "attacked", "c").value == pytest.approx(0.0)
    some = {**table(), ("c x-1", "attacked"): rows([i % 2 for i in range(40)], broken=2)}
    assert change_removed(some, [("v", "c")], (-1.0,), "attacked", "c").value > 0.9


def test_a_vector_that_changes_nothing_has_no_share():
    some = {place: table()["unsteered", "attacked"] for place in table()}
    assert mitigation.change_removed(some, [("v", "c")], (-1.0, 1.0), "attacked", "c") == []
    assert mitigation.behaviour_kept([0.0, 0.0], [1.0, 1.0], "c") is None
    assert power.detectable([rows([0, 1, 0, 1])], rows([0, 1, 0, 1]), "attacked", 1) is None


def test_behaviour_is_kept_in_the_mean_over_pairs():
    found = behaviour_kept([1.0, 2.0, 3.0, 2.0], [0.5, 1.0, 1.5, 1.0], "c")
    assert (found.value, found.low, found.high) == pytest.approx((0.5, 0.5, 0.5))
    assert found.n == 4
    with pytest.raises(InputError, match="4 and 3 pairs"):
        behaviour_kept([1.0] * 4, [1.0] * 3, "c")


def test_more_requests_see_smaller_changes_and_more_tests_larger_ones():
    random = np.random.default_rng(0)

    def seen(n, tests):
        base, arm = (rows(random.integers(0, 2, n)) for _ in range(2))
        return detectable([arm], base, "attacked", tests).value

    assert seen(900, 1) < seen(100, 1) < seen(100, 14)
    # Independent coins: the difference has variance 1/2, so 1.96 + .84 times sqrt(.5 / 900).
    assert seen(900, 1) == pytest.approx(2.80 * (0.5 / 900) ** 0.5, rel=0.1)


def test_answers_to_one_request_are_one_observation():
    random = np.random.default_rng(1)
    base, arm = random.integers(0, 2, 100), random.integers(0, 2, 100)
    alone = detectable([rows(arm)], rows(base), "attacked", 1).value
    thrice = detectable([rows(np.repeat(arm, 3), 3)], rows(np.repeat(base, 3), 3), "attacked", 1).value
    assert thrice == pytest.approx(alone, rel=1e-6)


def test_any_statistic_is_resampled_by_cluster():
    values = np.repeat([1.0, 2.0, 3.0], 20)
    found = resampled(lambda at: float(values[at].mean()), np.repeat(["a", "b", "c"], 20).tolist())
    # Three clusters: all draws of one cluster have 1/9 together; sixty free rows would stay within 1.8 to 2.2.
    assert found == (2.0, 1.0, 3.0)
    with pytest.raises(InputError, match="0 rows"):
        resampled(lambda at: 0.0, [])
