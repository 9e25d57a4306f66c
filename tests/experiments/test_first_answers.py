from tests.planted import Planted

from demur.engines.mock import MockEngine
from demur.experiments.first_answers import REQUESTS, first_request, steered_answers
from demur.judges.refusal import refusal


class Meek(MockEngine):
    """Refuses nothing."""

    def decide(self, c, steer):
        return "comply"


def kinds(answers):
    return [refusal(answer.text).kind for answer in answers]


def test_a_request_is_shown_that_is_refused_as_it_is_and_answered_under_an_attack():
    engine = Planted()
    found = first_request(engine)
    assert kinds(found.answers) == ["refused", "none"]
    assert [answer.how for answer in found.answers] == ["as it is", f"under {found.attacked.attack}"]
    assert found.bare.prompt == found.attacked.prompt and found.text == found.bare.prompt.text
    assert (found.bare.prompt.kind, found.bare.prompt.use) == ("harmful", "validation")
    assert engine.answered == 5 * REQUESTS


def test_without_its_direction_it_is_answered_and_with_it_the_attack_is_refused():
    engine = Planted()
    found = first_request(engine)
    ablated, added = steered_answers(engine, found, engine.direction)
    assert kinds([ablated, added]) == ["none", "refused"]
    assert ablated.how == "direction ablated"
    assert added.how.startswith(f"under {found.attacked.attack}, direction added at ")


def test_of_a_model_that_refuses_nothing_the_first_request_is_shown():
    found = first_request(Meek())
    assert kinds(found.answers) == ["none", "none"]
