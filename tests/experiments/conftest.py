import pytest
from tests.planted import Planted

from demur.evaluation.judging import fitted_judge
from demur.judges.outcome import OutcomeJudge
from demur.types import Decoding

DECODING = Decoding(max_new_tokens=24)


@pytest.fixture(scope="session")
def decoding() -> Decoding:
    return DECODING


@pytest.fixture(scope="session")
def judge() -> OutcomeJudge:
    """A judge with an engine of its own, so that a bench's engine counts the bench's calls only."""
    return fitted_judge(Planted(), DECODING)
