"""Reasoning blocks: what is one, and what is left as the answer."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from demur.engines.reasoning import Split, apart, is_open, split
from demur.types import Conversation, Generation, Message, Prompt


@pytest.mark.parametrize(
    ("text", "thoughts", "answer"),
    [
        ("<think>\na\n</think>\n\nb", "a", "b"),
        ("<thinking>a</thinking>b", "a", "b"),
        ("<THOUGHT>a</THOUGHT> b", "a", "b"),
        ("<reasoning>a</reasoning><answer>b</answer>", "a", "b"),
        ("[THINK]a[/THINK]b", "a", "b"),
        ("\u25c1think\u25b7a\u25c1/think\u25b7b", "a", "b"),
        ("<|begin_of_thought|>a<|end_of_thought|><|begin_of_solution|>b<|end_of_solution|>", "a", "b"),
        ("a\n</think>\nb", "a", "b"),
        ("<think>a</think>\n<think>c</think>b", "a\nc", "b"),
        ("<think></think>b", "", "b"),
        ("<|channel|>analysis<|message|>a<|end|><|start|>assistant<|channel|>final<|message|>b<|return|>", "a", "b"),
        ("analysisThey ask.assistantfinalBread rises.", "They ask.", "Bread rises."),
    ],
)
def test_a_block_is_taken_out_of_the_answer(text: str, thoughts: str, answer: str) -> None:
    assert split(text) == Split(thoughts, answer, True)


@pytest.mark.parametrize(
    "text", ["<think>\nIt is", "<reasoning>It", "<|channel|>analysis<|message|>It", "analysisIt is a question"]
)
def test_a_block_that_never_closes_leaves_no_answer(text: str) -> None:
    found = split(text)
    assert not found.closed and found.answer == "" and "It" in found.reasoning


def test_a_prompt_may_have_opened_the_block() -> None:
    assert is_open("<|im_start|>assistant\n<think>\n")
    assert not is_open("<|im_start|>assistant\n<think>\n\n</think>\n\n")
    assert not is_open("What does <think> mean?")
    assert split("It is", opened=True) == Split("It is", "", False)
    assert split("It is</think>Bread", opened=True) == Split("It is", "Bread", True)


@pytest.mark.parametrize(
    "text", ["a tag <think> in XML", "  plain \n", "", "1 < 2 and 3 > 2", "[Analysis]\nThe verb leads."]
)
def test_a_tag_that_is_spoken_about_opens_nothing(text: str) -> None:
    assert split(text) == Split("", text, True)


@given(st.text())
def test_any_text_splits(text: str) -> None:
    found = split(text)
    assert (
        found.closed or found.reasoning or "<" in text or "[" in text or text.startswith("analysis") or "\u25c1" in text
    )


def test_a_generation_is_taken_apart_once() -> None:
    asked = Conversation(Prompt("p", "Bread?", "s"), (Message("user", "Bread?"),))
    made = Generation("k", asked, "<think>flour</think>Knead it.", (1,), 2, "end")
    assert (apart(made).reasoning, apart(made).text) == ("flour", "Knead it.")
    assert apart(apart(made)) == apart(made)
    cut = Generation("k", asked, "<think>flour", (1,), 2, "length")
    assert (apart(cut).reasoning, apart(cut).text) == ("flour", "")
