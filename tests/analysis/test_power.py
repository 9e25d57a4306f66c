import numpy as np
import pytest
from tests.hashed import rows

from demur.analysis.power import detectable


def coins(random: np.random.Generator, n: int) -> str:
    return "".join("rc"[flip] for flip in random.integers(0, 2, n))


def seen(arm: str, base: str, tests: int = 1, each: int = 1) -> float:
    found = detectable([rows(arm, each)], rows(base, each), "attacked", tests)
    assert found is not None
    return found.value


def test_more_requests_see_smaller_changes_and_more_tests_larger_ones():
    random = np.random.default_rng(0)

    def at(n: int, tests: int) -> float:
        return seen(coins(random, n), coins(random, n), tests)

    assert at(900, 1) < at(100, 1) < at(100, 14)
    # Independent coins: the difference has variance 1/2, so 1.96 + .84 times sqrt(.5 / 900).
    assert at(900, 1) == pytest.approx(2.80 * (0.5 / 900) ** 0.5, rel=0.1)


def test_answers_to_one_request_are_one_observation():
    random = np.random.default_rng(1)
    base, arm = coins(random, 100), coins(random, 100)
    thrice = ["".join(3 * letter for letter in some) for some in (arm, base)]
    assert seen(thrice[0], thrice[1], each=3) == pytest.approx(seen(arm, base), rel=1e-6)


def test_arms_that_change_nothing_see_nothing():
    assert detectable([rows("rcrc")], rows("rcrc"), "attacked", 1) is None
