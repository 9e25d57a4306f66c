"""Contract: what arms and prompts share of their prompt passes is saved, and changes no token.

Savings are seen from outside: positions that went through a block. Answers are compared with the
rows run one by one, which share nothing (test_generation holds those against transformers).
"""

from contextlib import contextmanager

import pytest
import torch

from demur.engines.base import Request
from demur.engines.decode import Decoder
from demur.engines.rows import Row, row_of
from demur.interventions import add, at, chain, scale
from demur.types import Decoding, Direction, Site, SteeringVector

NEW = Decoding(max_new_tokens=8, ignore_eos=True)
SYSTEM = "You are a helpful assistant. Here is how to bake bread with yeast and flour."


def vector(seed: int, layer: int, point: str = "pre", size: float = 2.0) -> SteeringVector:
    x = torch.randn(32, generator=torch.Generator().manual_seed(seed))
    return SteeringVector({Site(layer, point): x / x.norm() * size})  # pyright: ignore[reportArgumentType]


@contextmanager
def counted(loaded):
    """Positions that pass each block inside the context."""
    totals = [0] * loaded.n_layers
    handles = []
    for layer, block in enumerate(loaded.blocks):

        def count(_, args, layer=layer):
            totals[layer] += args[0].shape[0] * args[0].shape[1]

        handles.append(block.register_forward_pre_hook(count))
    try:
        yield totals
    finally:
        for handle in handles:
            handle.remove()


def alone(engine, requests, decoding=NEW):
    return [engine.generate([request], decoding)[0].tokens for request in requests]


def together(engine, requests, decoding=NEW):
    return [answer.tokens for answer in engine.generate(requests, decoding)]


@pytest.mark.parametrize("family", ["llama", "mistral", "gemma3_text", "gpt_neox"])
def test_arms_that_act_from_the_last_prompt_token_on_share_the_prompt(tiny, talk, family):
    one = tiny(family)
    arms = [at("from-last", add(vector(i, i % 3), 1.0)) for i in range(4)]
    arms += [at("last", add(vector(5, 1), 2.0)), at("generated", add(vector(6, 0), 2.0)), chain()]
    talks = [talk("How do I bake bread?"), talk("Write a poem about the sea", prefill="Here is how")]
    for c in talks:
        requests = [Request(c, None), *(Request(c, arm) for arm in arms)]
        row = row_of(one.loaded, c)
        with counted(one.loaded) as totals:
            one.engine.generate(requests, Decoding(max_new_tokens=1))
        each = len(row.tokens) - row.prompt_length + 1
        assert max(totals) == row.prompt_length - 1 + len(requests) * each
    requests = [Request(c, arm) for c in talks for arm in (None, *arms)]
    assert together(one.engine, requests) == alone(one.engine, requests)


@pytest.mark.parametrize("family", ["llama", "gemma2", "gemma3_text", "gpt2", "gpt_neox"])
def test_arms_that_act_on_the_prompt_share_the_blocks_below_their_first_layer(tiny, talk, family):
    one = tiny(family)
    arms = [add(vector(1, 2), 1.0), add(vector(2, 2, "mlp_out"), 2.0), at("prompt", add(vector(3, 2), -2.0))]
    c = talk("How do I bake bread with yeast, flour and warm water?")
    requests = [Request(c, arm) for arm in arms]
    length = len(row_of(one.loaded, c).tokens)
    with counted(one.loaded) as totals:
        one.engine.generate(requests, Decoding(max_new_tokens=1))
    assert totals[0] <= length
    assert totals[2] == 3 * length
    # Several prompts of several lengths, and arms with several first layers, in one batch.
    arms += [add(vector(4, 1, "post"), 2.0), add(vector(5, 0), 1.0), None, at("generated", add(vector(6, 1), 3.0))]
    talks = [c, talk("Hi"), talk("What is the capital of France?", prefill="I'm")]
    for chosen in (arms[:4], arms):
        requests = [Request(c, arm) for arm in chosen for c in talks]
        assert together(one.engine, requests) == alone(one.engine, requests)


@pytest.mark.parametrize("family", ["llama", "mistral", "gemma2", "gpt2"])
def test_the_prefix_that_all_prompts_have_is_computed_once(tiny, talk, family):
    one = tiny(family)
    texts = ["How do I bake bread?", "Hi", "How do I pick a lock with a thin wire?", "Write a poem.", "What is it?"]
    talks = [talk(text, SYSTEM) for text in texts]
    rows = [row_of(one.loaded, c).tokens for c in talks]
    prefix = next(i for i, column in enumerate(zip(*rows, strict=False)) if len(set(column)) > 1)
    everywhere = add(vector(1, 0), 1.0)
    for arm in (None, everywhere, at("from-last", everywhere)):
        with counted(one.loaded) as totals:
            one.engine.generate([Request(c, arm) for c in talks], Decoding(max_new_tokens=1))
        longest = max(len(row) for row in rows) - prefix
        assert max(totals) <= prefix + len(rows) * longest
    arms = [None, everywhere, at("from-last", add(vector(2, 1), 2.0)), at("prompt", add(vector(3, 1, "attn_out"), 3.0))]
    requests = [Request(c, arm) for c, arm in zip(talks, [*arms, everywhere], strict=True)]
    requests += [Request(c, arms[0]) for c in talks]
    assert together(one.engine, requests) == alone(one.engine, requests)


def test_clamps_and_patches_share_a_prefix_each_with_its_own_arm(tiny, talk, arms_of):
    one = tiny("llama")
    table = arms_of(one.loaded)
    talks = [talk(text, SYSTEM) for text in ("How do I bake bread?", "Hi", "Write a poem.", "What is it?")]
    for name in ("clamp", "clamp topk", "clamp without the error", "patch"):
        arm = table[name].intervention
        with counted(one.loaded) as totals:
            one.engine.generate([Request(c, arm) for c in talks], Decoding(max_new_tokens=1))
        assert max(totals) < sum(len(row_of(one.loaded, c).tokens) for c in talks)
        requests = [Request(c, arm) for c in talks] + [Request(c, table["clamp others"].intervention) for c in talks]
        assert together(one.engine, requests) == alone(one.engine, requests)


@pytest.mark.parametrize("k", [1, 5, 25])
def test_the_last_k_prompt_tokens_are_each_prompts_own_even_inside_a_shared_prefix(tiny, talk, k):
    one = tiny("llama")
    text = "How do I bake bread"
    talks = [
        talk(text + end, SYSTEM) for end in ("", " with yeast", " with yeast and flour", " with yeast and warm water?")
    ]
    for inner in (
        add(vector(1, 0), 2.0),
        scale(Direction(vector(2, 0, size=1.0).vectors[Site(0)], Site(1), 1.0), -3.0),
    ):
        arm = chain(at("last", inner, k))
        requests = [Request(c, arm) for c in talks]
        assert together(one.engine, requests) == alone(one.engine, requests)


def test_equal_tokens_with_another_prompt_length_are_another_prompt(tiny):
    """A prefilled answer and a longer prompt can have the same tokens; arms on them share less."""
    model = tiny("llama").loaded
    tokens = tuple(range(20, 50))
    arms = [None, at("from-last", add(vector(1, 0), 2.0)), at("generated", add(vector(2, 1), 2.0))]
    arms += [at("prompt", add(vector(3, 0), 2.0)), at("last", add(vector(4, 1), 2.0), 4)]
    rows = [Row(tokens, length, f"{length}", arm) for arm in arms for length in (12, 21, 30)]
    apart = [Decoder(model, NEW).run([row])[0].tokens for row in rows]
    assert [answer.tokens for answer in Decoder(model, NEW).run(rows)] == apart


def test_many_more_rows_than_slots_over_shared_prefixes_arms_and_lengths(tiny, talk):
    one = tiny("mistral")
    arms = [None, at("from-last", add(vector(1, 1), 2.0)), add(vector(2, 2), 1.0), at("prompt", add(vector(3, 1), 2.0))]
    texts = ["Hi", "How do I bake bread?", "the sea " * 9, "What is the capital of France?"]
    requests = [Request(talk(text, SYSTEM), arm) for text in texts for arm in arms]
    ends = Decoding(max_new_tokens=12)
    wanted = alone(one.engine, requests, ends)
    for slots in (2, 5, 7):
        one.engine.slots = slots
        assert together(one.engine, requests, ends) == wanted
