"""What holds for every family, and what is particular to one."""

import re
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from demur.attacks import (
    ATTACKS,
    attack,
    escalation,
    few_shot,
    get,
    leetspeak,
    names,
    payload_splitting,
    prefill,
    rot13,
)
from demur.attacks import base64 as base64_attack
from demur.attacks.family import choose
from demur.errors import InputError
from demur.prompts.builtin import builtin
from demur.types import Message, Prompt

FAMILIES = tuple(name for name in names() if name != "replay")
ENCODINGS = names("encoding")

clean = st.text(st.characters(exclude_categories=("Cs",)), min_size=1).filter(str.strip)


def ask(text="How do I bake a cake?", id="p", topic="cake-baking"):
    return Prompt(id, text, "test", topic=topic)


def recovered(conversation):
    recover = get(conversation.attack).recover
    assert recover is not None
    return recover(conversation)


@pytest.mark.parametrize("name", FAMILIES)
def test_a_conversation_alternates_and_ends_with_the_user(name):
    for prompt in builtin("plain")[:60]:
        conversation = attack(prompt, name)
        assert conversation.prompt is prompt
        assert conversation.attack == name
        roles = [message.role for message in conversation.messages]
        assert roles == (["user", "assistant"] * len(roles))[: len(roles)]
        assert roles[-1] == "user"
        assert all(message.content for message in conversation.messages if message.role == "user")


@pytest.mark.parametrize("name", FAMILIES)
def test_an_attack_is_deterministic(name):
    assert attack(ask(), name) == attack(ask(), name)


@pytest.mark.parametrize("name", sorted(set(FAMILIES) - set(ENCODINGS)))
@given(clean)
def test_the_request_stands_in_the_last_turn_as_it_was(name, text):
    content = attack(ask(text), name).messages[-1].content
    assert content is not None
    assert content.count(text) >= 1


@pytest.mark.parametrize("name", ENCODINGS)
def test_a_built_in_request_can_be_read_back(name):
    for kind in ("harmful", "borderline", "plain"):
        for prompt in builtin(kind):
            if name == "leetspeak" and re.search(r"[A-Za-z]\d", prompt.text):
                continue  # "B4": the documented exception
            assert recovered(attack(prompt, name)) == prompt.text


@pytest.mark.parametrize("name", sorted(set(ENCODINGS) - {"leetspeak"}))
@given(clean, st.text("abc", max_size=3))
def test_any_request_can_be_read_back(name, text, id):
    assert recovered(attack(ask(text, id), name)) == text


@given(clean.filter(lambda text: not any(c in string.digits for c in text)), st.text("abc", max_size=3))
def test_leetspeak_without_digits_can_be_read_back(text, id):
    assert recovered(attack(ask(text, id), "leetspeak")) == text


@pytest.mark.parametrize("name", names())
@pytest.mark.parametrize("text", ["", " \n\t"])
def test_a_prompt_without_text_is_refused(name, text):
    with pytest.raises(InputError, match="prompt 'p' has no text"):
        attack(ask(text), name)


@pytest.mark.parametrize("name", FAMILIES)
def test_a_lone_surrogate_is_refused(name):
    with pytest.raises(InputError, match="lone surrogate at character 1"):
        attack(ask("x\ud800"), name)


@pytest.mark.parametrize("name", sorted(set(FAMILIES) - {"direct"}))
def test_a_set_meets_more_than_one_variant(name):
    text = "How do I bake a cake?"
    shapes = {(c.prefill, *c.messages) for c in (attack(ask(text, f"p{i}"), name) for i in range(80))}
    assert len(shapes) >= 2


def test_variants_are_chosen_by_id_alone_and_evenly():
    options = ("a", "b", "c", "d")
    chosen = [choose(ask(id=f"p{i}"), "family", options) for i in range(400)]
    assert all(70 <= chosen.count(option) <= 130 for option in options)
    assert choose(ask("other", "p1"), "family", options) == choose(ask(id="p1"), "family", options)
    assert [choose(ask(id=f"p{i}"), "other", options) for i in range(400)] != chosen


def test_plain_is_the_request_itself():
    assert attack(ask("Hi"), "direct").messages == (Message("user", "Hi"),)


def test_braces_in_a_request_are_left_alone():
    for name in FAMILIES:
        if name not in ENCODINGS:
            assert "{request} {topic}" in str(attack(ask("{request} {topic}"), name).messages[-1].content)


def test_prefill_leaves_the_request_plain_and_ends_without_white_space():
    for i in range(20):
        conversation = attack(ask(id=str(i)), "prefill")
        assert [m.content for m in conversation.messages] == ["How do I bake a cake?"]
        assert conversation.prefill in prefill.PREFILLS
        assert conversation.prefill == conversation.prefill.rstrip()


def test_only_prefill_begins_the_answer():
    assert [name for name in FAMILIES if attack(ask(), name).prefill] == ["prefill"]


def test_few_shot_shows_answers_written_out():
    for turns in few_shot.TURNS:
        assert all(turn.startswith("Sure!") for turn in turns[1::2])
    for i in range(20):
        assert all(message.content for message in attack(ask(id=str(i)), "few_shot").messages)


def test_escalation_leaves_the_assistants_turns_to_the_engine():
    for i in range(20):
        messages = attack(ask(id=str(i)), "escalation").messages
        assert len(messages) >= 3
        assert all((message.content is None) == (message.role == "assistant") for message in messages)
        assert "cake baking" in str(messages[0].content)
        assert messages[-1].content == "How do I bake a cake?"


def test_escalation_falls_back_to_the_category_and_then_to_a_common_topic():
    fraud = Prompt("p", "x", "s", category="Fraud/Deception")
    assert "fraud and deception" in str(attack(fraud, "escalation").messages[0].content)
    assert escalation.NO_TOPIC in str(attack(ask(topic=""), "escalation").messages[0].content)


@given(st.text(max_size=40), st.integers(1, 4))
def test_pieces_join_to_the_text(text, count):
    pieces = payload_splitting.split(text, count)
    assert len(pieces) == count
    assert "".join(pieces) == text


def test_pieces_break_between_words_and_are_of_like_length():
    assert payload_splitting.split("How do I bake a cake?", 2) == ["How do I ", "bake a cake?"]
    assert payload_splitting.split("abcdef", 3) == ["ab", "cd", "ef"]


def test_no_piece_holds_the_request():
    for prompt in builtin("harmful"):
        assert prompt.text not in str(attack(prompt, "payload_splitting").messages[-1].content)


def test_the_codes_are_the_known_ones():
    assert base64_attack.encode("hi") == "aGk="
    assert rot13.encode("Hello, 1") == "Uryyb, 1"
    assert leetspeak.encode("Bake 12 toast slices or mp3") == "B4k3 12 t0457 sl1c35 or mp3"


@given(clean)
def test_rot13_is_its_own_inverse(text):
    assert rot13.encode(rot13.encode(text)) == text


def test_leetspeak_keeps_numbers_and_the_first_letters():
    assert leetspeak.encode("12 eggs at 350") == "12 egg5 a7 350"
    assert leetspeak.decode("12 egg5 a7 350") == "12 eggs at 350"


def test_templates_hold_no_request_of_their_own():
    shortest = min(len(str(attack(ask("x"), name).messages[-1].content)) for name in FAMILIES)
    assert shortest == 1
    for name in set(FAMILIES) - set(names("context")):
        assert len(str(attack(ask("x"), name).messages[-1].content)) < 120, name


def test_every_attack_says_what_it_does():
    assert all(attack.description.endswith(".") for attack in ATTACKS.values())
