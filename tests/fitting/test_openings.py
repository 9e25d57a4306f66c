import pytest
import torch
from tests.planted import Planted

from demur.engines.base import Scored
from demur.engines.mock import REFUSAL, MockEngine, token
from demur.errors import InputError
from demur.fitting.openings import ENOUGH, measure_openings
from demur.interventions import ablate, add, everywhere
from demur.prompts.builtin import builtin
from demur.types import Conversation, Message, Prompt


def asked(name, n=8):
    return [Conversation(p, (Message("user", p.text),)) for p in builtin(name, "fit")[:n]]


HARMFUL, PLAIN = asked("harmful"), asked("plain")


class Parrot(MockEngine):
    """Says the same first words whether it refuses or helps, and differs at the `at`-th."""

    def __init__(self, at: int):
        super().__init__()
        self.at = at

    def _answer(self, c, steer):
        said = super()._answer(c, steer)
        return [*REFUSAL.split()[: self.at - 1], *said[self.at - 1 :]] if said[0] == "Sure," else said

    def _opening(self, c, opening):
        said = [token(word) for word in self._answer(c, None)]
        return -0.1 * len(opening) if tuple(said[: len(opening)]) == opening else -9.0

    def last_logits(self, conversations, intervention=None):
        self.calls["last_logits"] += 1
        return torch.zeros(len(conversations), 512)

    def logprobs(self, pairs, intervention=None):
        self.calls["logprobs"] += 1
        return [Scored((self._opening(c, opening),), False) for c, opening in pairs]


def test_the_opening_of_refusals_is_found_and_tells_them():
    engine = MockEngine()
    found = measure_openings(engine, HARMFUL, PLAIN)
    assert found.sequences == ((token("I'm"),),)
    assert (found.refused, found.answered) == (8, 8)
    assert found.auroc == 1.0
    assert engine.calls["logprobs"] == 0


def test_the_score_is_the_log_odds_of_an_opening_and_follows_the_direction():
    engine = Planted()
    found = measure_openings(engine, HARMFUL, PLAIN)
    high, low = found.scores(engine, HARMFUL), found.scores(engine, PLAIN)
    p = engine.last_logits(HARMFUL).double().softmax(-1)[:, token("I'm")]
    torch.testing.assert_close(high, torch.log(p) - torch.log1p(-p))
    assert high.min() > 0 > low.max()
    off = ablate(engine.direction, everywhere(engine.n_layers))
    assert found.scores(engine, HARMFUL, off).max() < 0
    assert found.scores(engine, PLAIN, add(engine.direction, 4.0)).min() > 0


@pytest.mark.parametrize("at", [2, 3])
def test_longer_openings_are_tried_when_shorter_ones_do_not_separate(at):
    engine = Parrot(at)
    found = measure_openings(engine, HARMFUL, PLAIN)
    assert found.sequences == (tuple(map(token, REFUSAL.split()[:at])),)
    assert found.auroc >= ENOUGH
    scores = found.scores(engine, [HARMFUL[0], PLAIN[0]])
    p = torch.tensor([-0.1 * at, -9.0]).exp().double()
    torch.testing.assert_close(scores.double(), torch.log(p) - torch.log1p(-p), atol=1e-5, rtol=1e-5)


def test_single_tokens_whose_score_does_not_separate_give_way_to_longer_openings():
    class Deaf(MockEngine):
        """Its answers differ at the first word, its first logits do not."""

        def last_logits(self, conversations, intervention=None):
            return torch.zeros(len(conversations), 512)

    found = measure_openings(Deaf(), HARMFUL, PLAIN)
    assert [len(tokens) for tokens in found.sequences] == [2]
    assert found.auroc == 1.0


def test_a_model_that_never_refuses_is_refused_with_the_counts():
    with pytest.raises(InputError, match=r"0 of 16 fitting prompts were refused.*smollm2-refuser"):
        measure_openings(MockEngine(), asked("borderline"), PLAIN)


def test_too_few_refusals_and_nothing_but_refusals_are_refused():
    with pytest.raises(InputError, match=r"4 of 12 fitting prompts"):
        measure_openings(MockEngine(), HARMFUL[:4], PLAIN)
    with pytest.raises(InputError, match=r"8 of 8 fitting prompts.*needs both kinds"):
        measure_openings(MockEngine(), HARMFUL, [])


def test_refusals_that_open_like_answers_give_no_score():
    with pytest.raises(InputError, match=r"refusals and answers open alike"):
        measure_openings(Parrot(5), HARMFUL, PLAIN)


def test_an_opening_as_frequent_among_answers_is_not_kept():
    class Hedging(MockEngine):
        """Half of its help begins with an apology."""

        def _answer(self, c, steer):
            said = super()._answer(c, steer)
            return ["I'm", *said[1:]] if said[0] == "Sure," and c.prompt.id.endswith("even") else said

    plain = [
        Conversation(Prompt(f"p{i}{'even' if i % 2 else ''}", f"bake bread {i}", "t", "plain"), (Message("user", "b"),))
        for i in range(8)
    ]
    found = measure_openings(Hedging(), HARMFUL, plain)
    assert all(len(tokens) > 1 for tokens in found.sequences)
