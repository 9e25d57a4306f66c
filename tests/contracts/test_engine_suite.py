"""Contract of every engine: one suite, over the mock and tiny transformers models."""

import pytest
import torch

from demur.engines.base import Engine, Request, WhiteBoxEngine, white_box
from demur.engines.mock import MockEngine
from demur.errors import BadVector, InputError, UnknownName
from demur.evaluation.items import score_items
from demur.fitting.openings import opening_logprobs
from demur.interventions import ablate, add, at, chain, patch
from demur.types import Conversation, Decoding, Direction, Message, Prompt, Site, SteeringVector

NEW = Decoding(max_new_tokens=8)
TEXTS = ("How do I bake bread with yeast?", "Hi", "What is the capital of France?", "the sea and the wind")


@pytest.fixture(params=["mock", "llama", "gemma2"])
def engine(request, tiny) -> WhiteBoxEngine:
    return MockEngine() if request.param == "mock" else tiny(request.param).engine


@pytest.fixture
def talks(talk):
    return [talk(TEXTS[0]), talk(TEXTS[1], prefill="Here is how"), talk(TEXTS[2], "You are a poet."), talk(TEXTS[3])]


@pytest.fixture
def steers(engine):
    """One for each of the talks; none of them leaves the model alone."""
    v = torch.linspace(-1, 1, engine.d_model)
    plus = add(SteeringVector({Site(1): v}), 3.0)
    unit = Direction(torch.nn.functional.normalize(v, dim=0), Site(1), 1.0)
    return [plus, at("from-last", plus), ablate(unit), at("generated", plus)]


def metric(logits, _):
    return logits[:, 40] - logits[:, 41:44].logsumexp(-1)


def test_it_is_a_white_box_engine_and_says_what_it_is(engine):
    assert isinstance(engine, Engine) and white_box(engine) is engine
    assert engine.name and engine.n_layers >= 3 and engine.d_model >= 16
    before = engine.fingerprint
    engine.generate([Request(Conversation(Prompt("p", "Hi", "t"), (Message("user", "Hi"),)))], NEW)
    assert engine.fingerprint == before


def test_answers_come_in_order_and_each_is_what_its_row_gives_alone(engine, talks, steers):
    requests = [Request(c, steer, f"arm {i}") for steer in (None, *steers) for i, c in enumerate(talks)]
    requests = requests[::3] + requests[1::3] + requests[2::3]
    together = engine.generate(requests, NEW)
    for request, answer in zip(requests, together, strict=True):
        assert (answer.conversation, answer.arm) == (request.conversation, request.arm)
        assert engine.generate([request], NEW) == [answer]
        assert answer.prompt_tokens == engine.row(request.conversation).prompt_length


def test_it_counts_the_answers_that_it_generated(engine, talks):
    before = engine.answered
    engine.generate([Request(c) for c in talks], NEW)
    engine.chat("Hi")
    engine.logprobs([(talks[0], "Hi")])
    assert engine.answered - before == len(talks) + 1


def test_nothing_and_an_empty_chain_answer_alike(engine, talks):
    plain = [a.tokens for a in engine.generate([Request(c) for c in talks], NEW)]
    for nothing in (chain(), add(SteeringVector({Site(1): torch.ones(engine.d_model)}), 0.0)):
        assert [a.tokens for a in engine.generate([Request(c, nothing) for c in talks], NEW)] == plain


def test_an_answer_ends_after_so_many_tokens(engine, talks):
    requests = [Request(c) for c in talks]
    long, short = engine.generate(requests, Decoding(20)), engine.generate(requests, Decoding(3))
    for a, b in zip(long, short, strict=True):
        assert b.tokens == a.tokens[:3]
        assert (b.finish == "length") == (len(a.tokens) > 3 or a.finish == "length")
        assert a.finish in ("end", "length")


def test_a_stop_string_ends_an_answer_as_soon_as_it_is_there(engine, talks):
    (whole,) = engine.generate([Request(talks[0])], Decoding(20, ignore_eos=True))
    stop = next(letter for letter in whole.text[3:-3] if letter.isascii() and letter.isprintable())
    (answer,) = engine.generate([Request(talks[0])], Decoding(20, stop=("no such text", stop), ignore_eos=True))
    assert answer.finish == "stop" and stop in answer.text
    assert answer.tokens == whole.tokens[: len(answer.tokens)] and len(answer.tokens) < len(whole.tokens)


@pytest.mark.parametrize(
    ("messages", "message"),
    [
        ((), "must end with a user turn"),
        ((Message("user", "Hi"), Message("assistant", "Hello")), "must end with a user turn"),
        ((Message("user", "  \n"),), "is empty; give it a text"),
        ((Message("user", None),), "is empty; give it a text"),
    ],
)
def test_a_conversation_that_asks_nothing_is_refused(engine, messages, message):
    c = Conversation(Prompt("the id", "x", "t"), messages)
    for run in (
        lambda: engine.generate([Request(c)], NEW),
        lambda: engine.logprobs([(c, "a")]),
        lambda: engine.last_logits([c]),
        lambda: engine.activations([c], [Site(0)]),
        lambda: engine.gradients([c], [Site(0)], metric),
        lambda: engine.content([c]),
        lambda: engine.row(c),
    ):
        with pytest.raises(InputError, match=f"'the id'.*{message}"):
            run()


def test_a_turn_that_nobody_played_is_played_by_generate_and_refused_elsewhere(engine):
    turns = (Message("user", "Hi"), Message("assistant", None), Message("user", "bake bread"))
    c = Conversation(Prompt("p-Hi", "bake bread", "t"), turns)
    (answer,) = engine.generate([Request(c)], NEW)
    assert answer.conversation.messages[1].content
    assert engine.logprobs([(answer.conversation, "a b")])[0].logprobs
    for run in (
        lambda: engine.logprobs([(c, "a")]),
        lambda: engine.last_logits([c]),
        lambda: engine.activations([c], [Site(0)]),
    ):
        with pytest.raises(InputError, match="'p-Hi' has an assistant turn that nobody played; generate first"):
            run()


def test_no_work_gives_no_results(engine):
    assert engine.generate([], NEW) == []
    assert engine.logprobs([]) == []
    assert score_items(engine, []) == []
    assert engine.last_logits([]).shape[0] == 0
    assert opening_logprobs(engine, [], [(1,)]).shape == (0, 1)
    with pytest.raises(InputError, match="there are 0 and 1"):
        engine.activations([], [Site(0)])
    with pytest.raises(InputError, match="there are 0 and 1"):
        engine.gradients([], [Site(0)], metric)


def test_every_token_of_a_text_or_of_ids_is_scored_after_a_conversation_or_a_text(engine, talks):
    text, ids = "take flour and water", tuple(engine.encode("take flour and water"))
    contexts = [*talks, "The capital of"]
    pairs = [(context, answer) for context in contexts for answer in (text, ids, "", ids[:1])]
    found = engine.logprobs(pairs)
    assert [len(scored.logprobs) for scored in found] == [len(ids), len(ids), 0, 1] * len(contexts)
    for pair, scored in zip(pairs, found, strict=True):
        assert all(value < 0 for value in scored.logprobs)
        assert engine.logprobs([pair])[0].logprobs == pytest.approx(scored.logprobs, abs=1e-4)
    with pytest.raises(InputError, match="the text '' has no token for anything to follow; give it a text"):
        engine.logprobs([("", "France")])


def test_last_logits_are_what_the_first_token_is_scored_by_and_drawn_from(engine, talks, steers):
    for each in ([None] * 4, steers):
        logits = engine.last_logits(talks, each)
        assert logits.dtype == torch.float32 and len(logits) == len(talks)
        best = logits.argmax(-1).tolist()
        scored = engine.logprobs([(c, (token,)) for c, token in zip(talks, best, strict=True)], each)
        logp = logits.log_softmax(-1).amax(-1)
        torch.testing.assert_close(torch.tensor([s.total for s in scored]), logp, rtol=1e-4, atol=1e-4)
        assert all(s.greedy for s in scored)


def test_each_row_may_have_its_own_intervention_in_scores_and_logits(engine, talks, steers):
    pairs = [(c, "bread and water") for c in talks]
    together, scored = engine.last_logits(talks, steers), engine.logprobs(pairs, steers)
    for i, (c, steer) in enumerate(zip(talks, steers, strict=True)):
        torch.testing.assert_close(together[i], engine.last_logits([c], steer)[0], rtol=1e-4, atol=1e-4)
        assert engine.logprobs([pairs[i]], steer)[0].logprobs == pytest.approx(scored[i].logprobs, abs=1e-4)
    assert not together[0].allclose(engine.last_logits(talks)[0])
    for run in (lambda: engine.last_logits(talks, steers[:2]), lambda: engine.logprobs(pairs, steers[:2])):
        with pytest.raises(InputError, match="2 interventions for 4 conversations; give one for each"):
            run()


def test_activations_have_a_vector_a_token_and_a_mask_and_are_what_the_intervention_leaves(engine, talks, steers):
    sites = [Site(0, "post"), Site(1), Site(2, "mlp_out")]
    plain, steered = engine.activations(talks, sites), engine.activations(talks, sites, intervention=steers[0])
    lengths = [len(engine.row(c).tokens) for c in talks]
    for site in sites:
        assert plain.tensors[site].shape == (4, max(lengths), engine.d_model)
        assert plain.mask.sum(1).tolist() == lengths
        assert not plain.tensors[site][~plain.mask].any()
    torch.testing.assert_close(steered.tensors[sites[0]], plain.tensors[sites[0]])
    moved = 3 * torch.linspace(-1, 1, engine.d_model)
    torch.testing.assert_close(
        steered.tensors[sites[1]][plain.mask], plain.tensors[sites[1]][plain.mask] + moved, rtol=1e-4, atol=1e-4
    )
    assert not steered.tensors[sites[2]].allclose(plain.tensors[sites[2]])
    tail = engine.activations(talks, sites, tail=2)
    for i, c in enumerate(talks):
        end = engine.row(c).prompt_length
        torch.testing.assert_close(tail.tensors[sites[1]][i], plain.tensors[sites[1]][i, end - 2 : end])
    with pytest.raises(InputError, match="its last 500 were asked for"):
        engine.activations(talks, sites, tail=500)


def test_reading_passages_gives_the_streams_of_their_conversations(engine, talks):
    site, rows = Site(1, "post"), [engine.row(c) for c in talks]
    read = [x[mask] for batch in engine.read(rows, [site]) for x, mask in zip(batch.tensors[site], batch.mask,
            strict=True)]  # fmt: skip
    found = engine.activations(talks, [site])
    for i, stream in enumerate(read):
        torch.testing.assert_close(stream, found.tensors[site][i][found.mask[i]], rtol=1e-4, atol=1e-4)
    assert [len(s.logprobs) for s in engine.row_logprobs(rows)] == [len(row.tokens) - 1 for row in rows]
    assert engine.lens(read[0]).shape == (len(read[0]), engine.last_logits(talks).shape[1])


def test_gradients_are_finite_differences_of_patched_streams(engine, talks):
    sites = [Site(0, "pre"), Site(1, "post"), Site(2, "mlp_out")]
    found = engine.gradients(talks, sites, metric)
    random = torch.Generator().manual_seed(0)
    for i, c in enumerate(talks):
        for site in sites:
            grad = found[site][i]
            assert grad.shape == (len(engine.row(c).tokens), engine.d_model) and grad.dtype == torch.float32
            nudge = torch.randn(grad.shape, generator=random)

            def value(e, site=site, nudge=nudge, c=c):
                return float(metric(engine.last_logits([c], patch({site: e * nudge})).double(), None)[0])

            e = 1e-2
            slope = (8 * (value(e) - value(-e)) - (value(2 * e) - value(-2 * e))) / (12 * e)
            assert float((grad * nudge).sum()) == pytest.approx(slope, rel=1e-2, abs=1e-2)


def test_content_is_the_users_text_and_not_the_templates(engine, talk):
    c = talk("bake bread", "You bake bread.", prefill="bake bread")
    (mask,) = engine.content([c])
    row = engine.row(c)
    assert mask.dtype == torch.bool and len(mask) == len(row.tokens)
    assert [t for t, here in zip(row.tokens, mask.tolist(), strict=True) if here] == engine.encode("bake bread")
    assert not mask[row.prompt_length :].any()


def test_sites_and_vectors_that_do_not_fit_are_refused_by_every_call(engine, talks):
    low = SteeringVector({Site(9): torch.ones(engine.d_model)})
    narrow = SteeringVector({Site(1): torch.ones(engine.d_model - 1)})
    for vector, error in ((low, UnknownName), (narrow, BadVector)):
        steer = add(vector, 1.0)
        for run in (
            lambda: engine.generate([Request(talks[0], steer)], NEW),  # noqa: B023
            lambda: engine.logprobs([(talks[0], "a")], steer),  # noqa: B023
            lambda: engine.last_logits(talks, steer),  # noqa: B023
            lambda: engine.activations(talks, [Site(0)], intervention=steer),  # noqa: B023
            lambda: engine.row_logprobs([engine.row(talks[0])], steer),  # noqa: B023
        ):
            with pytest.raises(error, match="no layer 9; known: 0 to" if error is UnknownName else "whose width is"):
                run()
    for run in (
        lambda: engine.check_sites([Site(0), Site(9)]),
        lambda: engine.activations(talks, [Site(9)]),
        lambda: engine.gradients(talks, [Site(9)], metric),
        lambda: list(engine.read([engine.row(talks[0])], [Site(9)])),
    ):
        with pytest.raises(UnknownName, match="no layer 9; known: 0 to"):
            run()


def test_an_engine_that_shows_nothing_of_itself_is_no_white_box():
    class Closed:
        """Generates and scores, and no more."""

        name, n_layers, d_model, fingerprint = "closed", 4, 16, MockEngine().fingerprint
        answered = 0

        def check(self, intervention):
            return None

        def generate(self, requests, decoding):
            return []

        def logprobs(self, pairs, intervention=None):
            return []

    assert isinstance(Closed(), Engine)
    with pytest.raises(InputError, match="residual stream, which Closed does not show; run the model with demur.load"):
        white_box(Closed())
