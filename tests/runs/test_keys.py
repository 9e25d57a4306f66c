from dataclasses import replace
from itertools import product

import pytest

from demur.errors import BadSpec
from demur.runs.keys import batch_salt, canonical, digest, generation_key, score_key, verdict_key
from demur.types import Conversation, Decoding, EngineFingerprint, Item, Message, Prompt, Site

ENGINE = EngineFingerprint("hf", "w1", "t1", "c1", "float32")
ASKED = Conversation(Prompt("p1", "How?", "set-a"), (Message("user", "How?"),))
SPEC = {"op": "add", "site": Site(3, "post"), "dose": 2.0, "vector": "ab" * 32}
GREEDY = Decoding()


def key(engine=ENGINE, asked=ASKED, spec=SPEC, decoding=GREEDY, sources="s1", batch=""):
    return generation_key(engine, asked, spec, decoding, sources, batch=batch)


def test_equal_values_have_one_canonical_text():
    assert canonical({"b": 1.0, "a": (1, 2)}) == canonical({"a": [1.0, 2], "b": 1}) == '{"a":[1,2],"b":1}'
    assert digest(-0.0) == digest(0)


def test_a_bool_is_no_number():
    assert digest(True) != digest(1)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), b"x", {1, 2}, object(), {"a": {1: 0, "1": 0}}])
def test_what_has_no_canonical_text_is_refused_with_its_place(value):
    with pytest.raises(BadSpec, match=r"spec\.vector"):
        digest({"vector": value})


def test_lone_surrogates_can_be_hashed():
    assert digest("\ud800") != digest("\ud801")


@pytest.mark.parametrize(
    "changed",
    [
        *[{"engine": replace(ENGINE, **{name: "other"})} for name in vars(ENGINE)],
        {"asked": replace(ASKED, messages=(Message("user", "Why?"),))},
        {"asked": replace(ASKED, messages=(Message("system", "How?"),))},
        {"asked": replace(ASKED, prefill="Sure")},
        *[{"spec": {**SPEC, name: 7}} for name in SPEC],
        {"decoding": Decoding(seed=1)},
        {"decoding": Decoding(max_new_tokens=24)},
        {"sources": "s2"},
        {"batch": "b"},
    ],
)
def test_whatever_decides_an_answer_changes_its_key(changed):
    assert key(**changed) != key()


def test_prompt_id_set_and_attack_name_leave_the_key_alone():
    other = replace(ASKED, prompt=Prompt("p2", "How?", "set-b", kind="harmful"), attack="roleplay")
    assert key(asked=other) == key()


def test_two_models_two_vectors_two_dtypes_never_share_a_key():
    keys = {
        key(engine=replace(ENGINE, weights=weights, dtype=dtype), spec={**SPEC, "vector": vector})
        for weights, vector, dtype in product(["w1", "w2"], ["v1", "v2"], ["float32", "bfloat16"])
    }
    assert len(keys) == 8


def test_a_verdict_key_holds_generation_and_judge():
    keys = {verdict_key(g, j) for g, j in product(["g1", "g2"], [{"judge": "a"}, {"judge": "a", "version": 2}])}
    assert len(keys) == 4


def test_a_score_key_holds_what_is_scored_and_not_what_is_right():
    item = Item("i1", "The sky is", (" blue", " red"), 0, "lambada")
    same = replace(item, id="i2", gold=1, set="other")
    assert score_key(ENGINE, item, {}, "s") == score_key(ENGINE, same, {}, "s")
    assert score_key(ENGINE, item, {}, "s") != score_key(ENGINE, replace(item, choices=(" blue",)), {}, "s")


def test_a_batch_salt_knows_rows_and_their_order():
    assert len({batch_salt(["a", "b"]), batch_salt(["b", "a"]), batch_salt(["ab"]), batch_salt([])}) == 4
