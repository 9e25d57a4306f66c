"""Contract: every arm's greedy tokens are those of transformers' own generate, however the batch is made up.

demur pads rows on the RIGHT (a causal query never sees what comes after it; a store's column is the
absolute position). The reference pads on the LEFT, in one batch, with attention masks and a cache of
transformers' own. That both give the same tokens is the contract "left-padded or not".
"""

import json
import random
from dataclasses import replace

import pytest

from demur.engines.base import Request
from demur.engines.hf import HFEngine
from demur.interventions import from_spec
from demur.types import Decoding

NEW = Decoding(max_new_tokens=10)


def tokens(engine, requests):
    return [list(answer.tokens) for answer in engine.generate(requests, NEW)]


@pytest.mark.parametrize("slots", [1, 3, 32])
def test_every_arm_answers_as_in_transformers_generate_whatever_the_batch_size(world, model_family, slots):
    w = world(model_family)
    found = tokens(HFEngine(w.tiny.loaded, slots=slots), w.requests)
    wrong = [
        f"{r.conversation.prompt.id}/{r.arm}" for r, a, b in zip(w.requests, found, w.expected, strict=True) if a != b
    ]
    assert not wrong


def test_the_arms_differ_and_end_at_different_steps_so_the_contract_says_something(world, model_family):
    w = world(model_family)
    by_arm: dict[str, list[list[int]]] = {}
    for request, answer in zip(w.requests, w.expected, strict=True):
        by_arm.setdefault(request.arm, []).append(answer)
    for nothing in ("dose 0", "empty chain", "clamp nothing"):
        assert by_arm.pop(nothing) == by_arm["unsteered"]
    assert len({str(answers) for answers in by_arm.values()}) >= 16
    assert len({len(answer) for answer in w.expected}) >= 2


@pytest.mark.parametrize("family", ["llama", "gemma2", "gpt2"])
def test_rows_run_one_by_one_give_the_batch_tokens(world, family):
    w = world(family)
    assert [tokens(w.tiny.engine, [request])[0] for request in w.requests] == w.expected


@pytest.mark.parametrize("family", ["llama", "gemma3_text"])
def test_the_order_of_the_requests_is_the_order_of_the_answers(world, family):
    w = world(family)
    order = list(range(len(w.requests)))
    random.Random(0).shuffle(order)
    answers = HFEngine(w.tiny.loaded, slots=5).generate([w.requests[i] for i in order], NEW)
    assert [list(a.tokens) for a in answers] == [w.expected[i] for i in order]
    assert [a.arm for a in answers] == [w.requests[i].arm for i in order]


def test_a_generation_says_how_it_ended_and_holds_its_text(world):
    w = world("llama")
    ends = w.tiny.plain.generation_config.eos_token_id
    for answer in w.tiny.engine.generate(w.requests, NEW):
        assert answer.finish == ("end" if answer.tokens[-1] in ends else "length")
        assert answer.text == w.tiny.loaded.tokenizer.decode(answer.tokens, skip_special_tokens=True)
        assert not answer.text.startswith("I'm sorry")


def test_equal_interventions_built_apart_give_equal_answers(world, arms_of):
    """Rows are grouped by shape and stacked; identity of the objects must not matter."""
    w = world("llama")
    fresh = [replace(r, intervention=arms_of(w.tiny.loaded)[r.arm].intervention) for r in w.requests]
    assert tokens(w.tiny.engine, fresh) == w.expected


def test_interventions_read_back_from_their_specs_give_equal_answers(world):
    w = world("llama")
    specs = [None if r.intervention is None else json.dumps(r.intervention.spec()) for r in w.requests]
    fresh = [
        replace(r, intervention=spec and from_spec(json.loads(spec))) for r, spec in zip(w.requests, specs, strict=True)
    ]
    assert tokens(w.tiny.engine, fresh) == w.expected


def test_ending_tokens_can_be_ignored(tiny, talk):
    answers = tiny("llama").engine.generate(
        [Request(talk("hello there")), Request(talk("bake"))], Decoding(max_new_tokens=40, ignore_eos=True)
    )
    assert [len(a.tokens) for a in answers] == [40, 40]
    assert {a.finish for a in answers} == {"length"}
