import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from demur.errors import BadSpec
from demur.runs import codec
from demur.types import OUTCOMES, USES, Conversation, Generation, Message, Prompt, Verdict

words = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
cells = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | words
prompts = st.builds(
    Prompt,
    words,
    words,
    words,
    st.sampled_from(["harmful", "borderline", "plain", "unknown"]),
    words,
    words,
    st.sampled_from([None, *USES]),
    words,
    st.lists(st.tuples(words, cells), max_size=3).map(tuple),
)
messages = st.builds(Message, st.sampled_from(["system", "user", "assistant"]), st.none() | words)
conversations = st.builds(Conversation, prompts, st.lists(messages, max_size=4).map(tuple), words, words)
generations = st.builds(
    Generation,
    words,
    conversations,
    words,
    st.lists(st.integers(0, 300_000), max_size=8).map(tuple),
    st.integers(0, 5000),
    st.sampled_from(["end", "length", "stop"]),
    words,
    words,
)
values = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | words
details = st.dictionaries(words, st.recursive(values, lambda part: st.lists(part, max_size=3)), max_size=3)
verdicts = st.builds(Verdict, words, words, st.sampled_from(OUTCOMES), details)


def through_json(value):
    return json.loads(codec.dump(value))


@given(generations)
def test_a_generation_comes_back_as_it_was(generation):
    assert codec.generation_from_json(through_json(codec.generation_to_json(generation))) == generation


def test_a_generation_of_an_older_journal_has_no_reasoning():
    asked = Conversation(Prompt("1", "t", "x"), (Message("user", "t"),))
    stored = through_json(codec.generation_to_json(Generation("k", asked, "text", (1,), 3, "end")))
    del stored["reasoning"]
    assert codec.generation_from_json(stored).reasoning == ""


@given(verdicts)
def test_a_verdict_comes_back_as_it_was(verdict):
    back = codec.verdict_from_json(through_json(codec.verdict_to_json(verdict)))
    assert back == verdict


def test_lone_surrogates_and_nul_survive():
    prompt = Prompt("\x00", "\ud800 \U0001f600", "s")
    assert codec.prompt_from_json(through_json(codec.prompt_to_json(prompt))) == prompt


def test_a_detail_that_is_not_finite_is_refused():
    with pytest.raises(BadSpec, match="store plain finite values"):
        codec.dump({"perplexity": float("nan")})


def test_an_answer_can_be_given_to_another_asker():
    played = (Message("user", "a"), Message("assistant", "played"), Message("user", "b"))
    first = Generation("k", Conversation(Prompt("1", "t", "x"), played, attack="old"), "text", (1,), 3, "end")
    mine = codec.as_asked(first, Prompt("2", "t", "y"), "new", "clamp")
    assert (mine.conversation.prompt.id, mine.conversation.attack, mine.arm) == ("2", "new", "clamp")
    assert mine.conversation.messages == played and mine.text == "text"
