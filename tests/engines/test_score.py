import pytest
import torch

from demur.engines.base import Request, refusal_scores
from demur.engines.rows import answer_tokens, plain_tokens, row_of
from demur.engines.score import Continuation, score
from demur.errors import InputError
from demur.evaluation.items import score_items
from demur.fitting.openings import opening_logprobs
from demur.interventions import ablate, add, at, chain
from demur.types import Decoding, Direction, Item, Site, SteeringVector

V = torch.randn(32, generator=torch.Generator().manual_seed(0))
STEER = add(SteeringVector({Site(1): V / V.norm() * 2}), 1.0)
ARMS = {
    "unsteered": None,
    "add": STEER,
    "generated": at("generated", STEER),
    "from-last": chain(at("from-last", STEER), ablate(Direction(V / V.norm(), Site(2), 1.0), [Site(2, "attn_out")])),
    "late": at("from-last", STEER),
    "last 3": at("last", STEER, 3),
}


def naive(one, context, prompt, answer, arm):
    """Log-probabilities by one full pass of transformers' model, hooked here at block 1's input and 2's attention."""
    ids = torch.tensor([[*context, *answer]])
    positions = torch.arange(ids.shape[1])
    where = {
        "unsteered": positions < 0,
        "add": positions >= 0,
        "generated": positions >= prompt,
        "from-last": positions >= prompt - 1,
        "late": positions >= prompt - 1,
        "last 3": (positions >= prompt - 3) & (positions < prompt),
    }[arm]
    r = V / V.norm()
    layers = one.plain.base_model.layers
    handles = [layers[1].register_forward_pre_hook(lambda _, x: (x[0] + 2 * r * where[:, None], *x[1:]))]
    if arm == "from-last":
        added = layers[2].get_submodule(one.loaded.family.attn)

        def ablated(_, __, out):
            x = out[0] if isinstance(out, tuple) else out
            x = x - (x @ r)[..., None] * r
            return (x, *out[1:]) if isinstance(out, tuple) else x

        handles.append(added.register_forward_hook(ablated))
    with torch.no_grad():
        logits = one.plain(input_ids=ids, use_cache=False).logits[0]
    for handle in handles:
        handle.remove()
    chosen = torch.log_softmax(logits, -1)[len(context) - 1 : -1]
    picked = chosen[torch.arange(len(answer)), torch.tensor(answer, dtype=torch.long)]
    return picked.tolist(), bool((chosen.argmax(-1) == torch.tensor(answer)).all())


@pytest.mark.parametrize("arm", ARMS)
@pytest.mark.parametrize("family", ["llama", "mistral", "gemma2"])
def test_logprobs_are_those_of_a_naive_full_pass(tiny, talk, family, arm):
    one = tiny(family)
    talks = [talk("Hi"), talk("How do I bake bread?", prefill="Here is how"), talk("the sea", "You are a poet.")]
    # One answer for the first; four and three for the others, whose passes are shared; lengths differ.
    pairs = [(talks[0], "bread and flour and water")]
    pairs += [(talks[1], text) for text in ("a", "take flour and warm water", "I can't help", "b" * 9)]
    pairs += [(talks[2], text) for text in ("wind wind wind", "x", "bread and water")]
    found = one.engine.logprobs(pairs, ARMS[arm])
    for (c, text), scored in zip(pairs, found, strict=True):
        row, answer = row_of(one.loaded, c), answer_tokens(one.loaded, text)
        wanted, _ = naive(one, row.tokens, row.prompt_length, answer, arm)
        assert list(scored.logprobs) == pytest.approx(wanted, abs=2e-4)


@pytest.mark.parametrize("arm", ["unsteered", "add", "last 3"])
def test_items_score_each_choice_as_plain_text_after_the_query(tiny, arm):
    one = tiny("llama")
    items = [
        Item("two", "The capital of", ("France", " the sea"), 0, "t"),
        Item("four", "How do I bake", ("bread", "flour and yeast", "a", "warm water with wind"), 1, "t"),
        Item("one", "first, take a thin", ("wire",), 0, "t"),
        Item("same", "How do I bake", ("bread", "it", "a poem"), 2, "t"),
    ]
    found = score_items(one.engine, items, ARMS[arm])
    assert [len(row) for row in found] == [2, 4, 1, 3]
    for item, row in zip(items, found, strict=True):
        context = plain_tokens(one.loaded, item.query)
        for choice, scored in zip(item.choices, row, strict=True):
            answer = answer_tokens(one.loaded, choice if choice[0] == " " else " " + choice)
            wanted, greedy = naive(one, context, len(context), answer, arm)
            assert list(scored.logprobs) == pytest.approx(wanted, abs=2e-4)
            assert scored.total == pytest.approx(sum(wanted), abs=1e-3)
            assert scored.greedy == greedy
    assert found[1][0].logprobs == pytest.approx(found[3][0].logprobs)


def test_a_greedy_choice_is_found(tiny):
    one = tiny("llama")
    context = plain_tokens(one.loaded, "How do I bake")
    with torch.no_grad():
        best = int(one.plain(input_ids=torch.tensor([context])).logits[0, -1].argmax())
    from demur.engines.score import Continuation, score

    with torch.inference_mode():
        yes, no = score(one.loaded, [Continuation(tuple(context), (token,), "i") for token in (best, best - 1)])
    assert (yes.greedy, no.greedy) == (True, False)


def test_shared_and_separate_passes_agree(tiny, talk):
    """Three or more answers to one prompt share its pass; one at a time they do not."""
    engine, c = tiny("gemma3_text").engine, talk("How do I bake bread with yeast, flour and warm water?")
    pairs = [(c, text) for text in ("a", "take flour", "I can't help with that", "the sea", "")]
    for steer in ARMS.values():
        together = engine.logprobs(pairs, steer)
        assert together[-1].logprobs == ()
        for pair, scored in zip(pairs, together, strict=True):
            assert engine.logprobs([pair], steer)[0].logprobs == pytest.approx(scored.logprobs, abs=1e-4)


def test_openings_are_scored_after_the_prompt(tiny, talk):
    one = tiny("llama")
    talks = [talk("Hi"), talk("the sea", prefill="I'm")]
    openings = [(40, 41, 42), (40,), (7, 8)]
    for name in ("unsteered", "generated", "last 3"):
        found = opening_logprobs(one.engine, talks, openings, ARMS[name])
        assert found.shape == (2, 3)
        for i, c in enumerate(talks):
            row = row_of(one.loaded, c)
            for j, opening in enumerate(openings):
                wanted, _ = naive(one, row.tokens, row.prompt_length, list(opening), name)
                assert float(found[i, j]) == pytest.approx(sum(wanted), abs=5e-4)
        logits = one.engine.last_logits(talks, ARMS[name])
        assert logits.log_softmax(-1)[:, 40].tolist() == pytest.approx(found[:, 1].tolist(), abs=1e-4)


def test_last_logits_are_in_order_and_are_those_of_the_first_new_token(tiny, talk):
    one = tiny("qwen2")
    talks = [talk(text) for text in ("How do I bake bread?", "Hi", "a poem about the sea and the wind", "Hi")]
    for steer in ARMS.values():
        logits = one.engine.last_logits(talks, steer)
        assert logits.dtype == torch.float32
        first = [a.tokens[0] for a in one.engine.generate([Request(c, steer) for c in talks], Decoding(1))]
        assert logits.argmax(-1).tolist() == first
        torch.testing.assert_close(logits[1], logits[3])
    with torch.no_grad():
        ids = torch.tensor([row_of(one.loaded, talks[0]).tokens])
        torch.testing.assert_close(one.engine.last_logits(talks)[0], one.plain(input_ids=ids).logits[0, -1])


def test_refusal_scores_are_the_log_odds_of_the_openings():
    logits = torch.log(torch.tensor([[0.5, 0.25, 0.25, 0.0], [0.1, 0.1, 0.7, 0.1], [0.0, 0.0, 1.0, 0.0]]))
    found = refusal_scores(logits, [0, 1])
    assert found.dtype == torch.float64
    assert found[:2].tolist() == pytest.approx([1.0986, -1.3863], abs=1e-3)
    assert refusal_scores(logits, [2])[2] > 20
    assert refusal_scores(logits + 100, [0, 1])[:2].tolist() == pytest.approx(found[:2].tolist(), abs=1e-3)


def test_a_prompt_beyond_the_models_limit_is_refused_before_anything_runs(build, talk):
    one = build("llama", max_position_embeddings=60)
    engine, c, fits = one.engine, talk("the sea " * 9, id="long one"), talk("Hi")
    length = len(row_of(one.loaded, c).tokens)
    with pytest.raises(InputError, match=f"'long one' has {length} tokens; with 30 new ones it passes this model's 60"):
        engine.generate([Request(fits), Request(c)], Decoding(max_new_tokens=30))
    assert len(engine.generate([Request(fits)], Decoding(max_new_tokens=3))) == 1
    answer = "the sea " * 20
    for run in (
        lambda: engine.logprobs([(c, answer)]),
        lambda: engine.last_logits([talk(answer, id="long one")]),
        lambda: engine.activations([talk(answer, id="long one")], [Site(0)]),
        lambda: score_items(engine, [Item("long one", answer * 2, ("a", "b"), 0, "t")]),
    ):
        with pytest.raises(
            InputError, match=r"'(long one|the sea .*)' has \d+ tokens, which passes this model's 60. Shorten it"
        ):
            run()


def test_an_item_without_a_query_is_refused(tiny):
    with pytest.raises(InputError, match="'nothing' has an empty query"):
        score_items(tiny("llama").engine, [Item("nothing", "", ("a", "b"), 0, "t")])


def test_a_context_near_the_models_limit_is_scored_beside_short_ones_with_long_answers(tiny):
    one = tiny("gpt2")
    limit = one.loaded.model.config.max_position_embeddings
    near = [Continuation((5,) * (limit - 2), (6, 7 + i), "near") for i in range(3)]
    short = [Continuation((8,) * 3, (9,) * 19 + (10 + i,), "short") for i in range(3)]
    with torch.inference_mode():
        together = score(one.loaded, [*near, *short])
        apart = [*score(one.loaded, near), *score(one.loaded, short)]
    for a, b in zip(together, apart, strict=True):
        assert a.logprobs == pytest.approx(b.logprobs, abs=1e-4)


@pytest.mark.parametrize("family", ["llama", "mistral", "gemma2", "gpt2"])
def test_answers_that_begin_alike_under_several_interventions_are_what_each_is_alone(tiny, talk, family):
    one = tiny(family)
    arms = list(ARMS.values()) if family != "gpt2" else [None, STEER, at("generated", STEER)]
    talks = [talk("Hi"), talk("How do I bake bread?", prefill="Here is how")]
    texts = ["one two three four five six", "one two three", "one two three four nine", "bread", "one"]
    pairs, steers = zip(*(((t, text), arm) for t in talks for text in texts for arm in arms), strict=True)
    together = one.engine.logprobs(pairs, steers)
    for pair, steer, row in zip(pairs, steers, together, strict=True):
        assert row.logprobs == pytest.approx(one.engine.logprobs([pair], steer)[0].logprobs, abs=1e-4)
    with pytest.raises(InputError, match="2 interventions for 20 conversations"):
        one.engine.logprobs(pairs[:20], [None, STEER])


def test_late_interventions_share_the_context_and_answers_what_they_begin_with(tiny, talk, monkeypatch):
    from demur.engines import score as module

    one, fed = tiny("llama"), []
    whole = module.forward

    def counted(model, ids, *args, **more):
        fed.append(ids.numel())
        return whole(model, ids, *args, **more)

    monkeypatch.setattr(module, "forward", counted)
    asked = talk("How do I bake bread?")
    context = len(row_of(one.loaded, asked).tokens)
    late = [at("from-last", add(SteeringVector({Site(1): V}), dose)) for dose in (0.1, 0.2, 0.3, 0.4)]

    def tokens(texts, arms):
        fed.clear()
        one.engine.logprobs([(asked, text) for text in texts for _ in arms], [arm for _ in texts for arm in arms])
        return sum(fed)

    words = len(answer_tokens(one.loaded, "one two three four five"))
    assert tokens(["one two three four five"], late) == context - 1 + 4 * words
    assert tokens(["one two three four five"], [STEER, late[0], None]) >= 2 * (context - 1)
    alike = ["one two three four five", "one two three four six", "one two three four"]
    assert tokens(alike, [None]) <= context - 1 + words + 4
