"""Contract: positions are absolute. The reference runs the whole sequence anew at each step, without cache."""

import pytest

from demur.engines.base import Request
from demur.engines.rows import row_of
from demur.types import Decoding


@pytest.mark.parametrize("family", ["llama", "mistral", "gpt_neox_serial"])
def test_with_and_without_cache_every_arm_gives_the_same_tokens(world, references, arms_of, family):
    _, recomputed = references
    w = world(family)
    table = arms_of(w.tiny.loaded)
    for request, expected in zip(w.requests, w.expected, strict=True):
        row = row_of(w.tiny.loaded, request.conversation)
        oracle = table[request.arm].oracle
        assert recomputed(w.tiny.plain, row.tokens, row.prompt_length, oracle, 10) == expected, request.arm


@pytest.mark.parametrize("family", ["gemma3_text", "phi3"])
def test_a_long_answer_keeps_its_positions_beyond_the_sliding_window(tiny, talk, references, arms_of, family):
    _, recomputed = references
    one = tiny(family)
    one.plain.generation_config.eos_token_id, ends = [], one.plain.generation_config.eos_token_id
    table = arms_of(one.loaded)
    try:
        for name in ("add at generated", "add at last 3", "nested", "chain", "patch", "multiply"):
            c = talk("Write a poem", prefill="Here is")
            row = row_of(one.loaded, c)
            wanted = recomputed(one.plain, row.tokens, row.prompt_length, table[name].oracle, 30)
            found = one.engine.generate(
                [Request(c, table[name].intervention)], Decoding(max_new_tokens=30, ignore_eos=True)
            )
            assert list(found[0].tokens) == wanted, name
    finally:
        one.plain.generation_config.eos_token_id = ends


def test_a_prefilled_answer_counts_as_generated(tiny, talk, arms_of):
    """Its tokens are not in the answer, and arms `at generated` act on them."""
    one = tiny("llama")
    table = arms_of(one.loaded)
    plain, begun = talk("How do I bake bread?"), talk("How do I bake bread?", prefill="I'm sorry, but")
    rows = [row_of(one.loaded, c) for c in (plain, begun)]
    assert rows[0].prompt_length == rows[1].prompt_length == len(rows[0].tokens) < len(rows[1].tokens)
    asked = [Request(c, table[name].intervention) for c in (plain, begun) for name in ("unsteered", "add at generated")]
    first = one.engine.last_logits([plain]), one.engine.last_logits([plain], asked[1].intervention)
    assert first[0].equal(first[1])
    begun_first = one.engine.last_logits([begun]), one.engine.last_logits([begun], asked[1].intervention)
    assert not begun_first[0].equal(begun_first[1])
    answers = one.engine.generate(asked, Decoding(max_new_tokens=1))
    assert [a.prompt_tokens for a in answers] == [rows[0].prompt_length] * 4
    assert [a.tokens[0] for a in answers] == [int(x.argmax()) for x in (*first, *begun_first)]
