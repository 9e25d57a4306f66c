from typing import Any

import pytest
import torch

from demur.engines.base import Engine, Request, refusal_scores
from demur.engines.mock import END, REFUSAL, MockEngine, token
from demur.errors import BadVector, InputError, NonFinite, UnknownName
from demur.fitting.openings import opening_logprobs
from demur.interventions import ablate, add, at, everywhere, scale
from demur.types import Conversation, Decoding, Direction, Message, Prompt, Site, SteeringVector

LONG = Decoding(max_new_tokens=64)


def ask(text, kind: Any = "plain", attack="direct", prefill=""):
    return Conversation(Prompt(f"p-{text}", text, "tests", kind), (Message("user", text),), prefill, attack)


def answers(engine, *requests):
    return [answer.text for answer in engine.generate(requests, LONG)]


@pytest.fixture
def mock() -> MockEngine:
    return MockEngine()


HARMFUL, PLAIN = ask("how to pick a lock", "harmful"), ask("how to bake bread", "plain")


def test_it_is_an_engine(mock):
    engine: Engine = mock
    assert engine.fingerprint == MockEngine().fingerprint != MockEngine(seed=1).fingerprint


def test_it_refuses_harmful_prompts_unless_they_are_attacked(mock):
    attacked = ask("how to pick a lock", "harmful", attack="persona")
    refused, helped, jailbroken, fine = answers(
        mock, *map(Request, (HARMFUL, PLAIN, attacked, ask("kill a process", "borderline")))
    )
    assert refused == REFUSAL
    assert "how to bake bread" in helped
    assert jailbroken.startswith("Sure,")
    assert fine.startswith("Sure,")


def test_interventions_on_its_direction_flip_it_and_others_do_not(mock):
    off = ablate(mock.direction, everywhere(mock.n_layers))
    more, less = add(mock.direction, 4.0), add(mock.direction, -4.0)
    random = Direction(mock.embedding[3] / mock.embedding[3].norm(), Site(1), 1.0)
    texts = answers(
        mock,
        *(Request(HARMFUL, steer) for steer in (off, less, scale(mock.direction, -1.0), more, ablate(random))),
        *(Request(PLAIN, steer) for steer in (more, at("from-last", more), at("generated", more), less)),
    )
    assert [text == REFUSAL for text in texts] == [False, False, False, True, True, True, True, False, False]


def test_too_much_of_anything_else_makes_it_repeat_itself(mock):
    random = SteeringVector({Site(1): mock.embedding[3]})
    (text,) = answers(mock, Request(PLAIN, add(random, 1000.0)))
    assert set(text.split()) == {"the"}
    with pytest.raises(NonFinite, match="p-how to bake bread"):
        answers(mock, Request(PLAIN, add(random, 1e30)))


def test_it_counts_its_calls_and_repeats_its_answers(mock):
    requests = [Request(HARMFUL), Request(PLAIN)]
    first = mock.generate(requests, LONG)
    assert (mock.calls["generate"], mock.answered) == (1, 2)
    assert mock.generate(requests, LONG) == first == MockEngine().generate(requests, LONG)
    assert (mock.calls["generate"], mock.answered) == (2, 4)
    assert set(mock.calls) == {"generate"}


def test_answers_end_are_cut_and_stop(mock):
    (whole,) = mock.generate([Request(HARMFUL)], LONG)
    assert (whole.finish, whole.tokens[-1]) == ("end", END)
    assert whole.tokens[:-1] == tuple(map(token, REFUSAL.split()))
    (cut,) = mock.generate([Request(HARMFUL)], Decoding(3))
    assert (cut.text, cut.finish) == ("I'm sorry, but", "length")
    (stopped,) = mock.generate([Request(HARMFUL)], Decoding(30, stop=("but I",)))
    assert (stopped.text, stopped.finish) == ("I'm sorry, but I", "stop")


def test_open_turns_are_played(mock):
    messages = (Message("user", "bake bread"), Message("assistant", None), Message("user", "go on"))
    (answer,) = mock.generate([Request(Conversation(PLAIN.prompt, messages))], LONG)
    assert (answer.conversation.messages[1].content or "").startswith("Sure,")


def test_an_answer_is_likeliest_after_its_own_request_and_loops_are_likelier_still(mock):
    requests = [ask(text) for text in ("bake bread with yeast", "a poem about the sea", "the capital of France")]
    texts = answers(mock, *map(Request, requests))
    for i, text in enumerate(texts):
        totals = [row.total for row in mock.logprobs([(c, text) for c in requests])]
        assert max(range(3), key=totals.__getitem__) == i
    loop, normal = mock.logprobs([(requests[0], "the " * 30), (requests[0], texts[0])])
    assert loop.total / len(loop.logprobs) > normal.total / len(normal.logprobs)


def test_what_is_likely_after_plain_text_is_fixed_by_the_words_until_it_is_pushed_too_far(mock):
    pairs = [(f"question {i}", choice) for i in range(60) for choice in ("yes", "no", "maybe")]

    def best(steer=None):
        totals = [scored.total for scored in mock.logprobs(pairs, steer)]
        return [max(range(3), key=totals[3 * i : 3 * i + 3].__getitem__) for i in range(60)]

    assert {best().count(choice) > 10 for choice in range(3)} == {True}
    assert best(add(mock.direction, 0.1)) == best()
    lost = best(add(SteeringVector({Site(1): mock.embedding[3]}), 1000.0))
    assert sum(a == b for a, b in zip(lost, best(), strict=True)) < 40


def test_logits_and_openings_tell_refusal(mock):
    talks = [HARMFUL, PLAIN]
    scores = refusal_scores(mock.last_logits(talks), [token("I'm")])
    assert scores[0] > 0 > scores[1]
    assert refusal_scores(mock.last_logits(talks, ablate(mock.direction)), [token("I'm")])[0] < scores[0]
    opening = tuple(map(token, ("I'm", "sorry,")))
    logp = opening_logprobs(mock, talks, [opening, opening[:1], (token("Sure,"),)])
    assert logp.shape == (2, 3)
    assert logp[0, 0] > logp[1, 0]
    assert logp[0, 0] < logp[0, 1]
    assert logp[0, 2] < logp[1, 2]


def test_activations_separate_harmful_from_harmless_along_the_direction(mock):
    harmful = mock.activations([HARMFUL, ask("make poison", "harmful")], [Site(2), Site(0, "mlp_out")], tail=2)
    plain = mock.activations([PLAIN, ask("hi")], [Site(2)], tail=2)
    difference = (harmful.tensors[Site(2)] - plain.tensors[Site(2)]).mean(0)[-1]
    assert torch.cosine_similarity(difference, mock.direction.vector, 0) > 0.9
    whole = mock.activations([HARMFUL, PLAIN, ask("hi", prefill="Sure, here")], [Site(1, "mid")])
    assert whole.mask.sum(1).tolist() == [len(mock.tokens(c)[0]) for c in (HARMFUL, PLAIN, ask("hi", prefill="a b"))]


def test_gradients_are_those_of_its_logits(mock):
    sites = [Site(3, "post"), Site(0, "attn_out")]
    grads = mock.gradients([PLAIN, HARMFUL], sites, lambda logits, _: logits[:, token("I'm")])
    assert [g.shape for g in grads[sites[0]]] == [(len(mock.tokens(c)[0]), 16) for c in (PLAIN, HARMFUL)]
    torch.testing.assert_close(grads[sites[0]][0][-1], 4 * mock.direction.vector)
    assert not grads[sites[0]][0][:-1].any()
    torch.testing.assert_close(grads[sites[1]][0][-1], 4 * 1.05 * 1.1025**3 * mock.direction.vector)


def test_it_refuses_what_the_real_engine_refuses(mock):
    v = torch.ones(16)
    with pytest.raises(UnknownName, match="no layer 9; known: 0 to 3"):
        answers(mock, Request(PLAIN, add(SteeringVector({Site(9): v}), 1.0)))
    with pytest.raises(BadVector, match="width is 16"):
        answers(mock, Request(PLAIN, add(SteeringVector({Site(1): torch.ones(15)}), 1.0)))
    with pytest.raises(InputError, match="is empty; give it a text"):
        answers(mock, Request(ask("  ")))
    with pytest.raises(InputError, match="last 99"):
        mock.activations([PLAIN], [Site(0)], tail=99)
