"""Scripted conversations: the engine plays the open assistant turns."""

import pytest

from demur.engines.base import Request
from demur.engines.rows import row_of
from demur.interventions import add
from demur.types import Conversation, Decoding, Message, Prompt, Site, SteeringVector

NEW = Decoding(max_new_tokens=6)


def script(*texts, prefill=""):
    """user, open turn, user, open turn, ..., user"""
    messages = [Message("user", texts[0])]
    for text in texts[1:]:
        messages += [Message("assistant", None), Message("user", text)]
    return Conversation(Prompt(f"p-{texts[0]}", texts[-1], "t"), tuple(messages), prefill)


def played_by_hand(engine, c, steer):
    """One turn at a time, each a conversation of its own."""
    messages: list[Message] = []
    for message in c.messages:
        if message.content is None:
            so_far = Conversation(c.prompt, tuple(messages))
            (answer,) = engine.generate([Request(so_far, steer)], NEW)
            message = Message("assistant", answer.text.strip() or "...")
        messages.append(message)
    full = Conversation(c.prompt, tuple(messages), c.prefill)
    return engine.generate([Request(full, steer)], NEW)[0], full


@pytest.mark.parametrize("prefill", ["", "Here is how"])
def test_open_turns_are_played_under_the_rows_own_intervention(tiny, talk, arms_like, prefill):
    engine = tiny("llama").engine
    scripts = [script("Hi", "bake bread", "go on", prefill=prefill), script("the sea", "and the wind?"), talk("alone")]
    requests = [Request(c, steer) for steer in (None, arms_like) for c in scripts]
    answers = engine.generate(requests, NEW)
    for request, answer in zip(requests, answers, strict=True):
        wanted, full = played_by_hand(engine, request.conversation, request.intervention)
        assert answer.conversation == full
        assert answer.tokens == wanted.tokens
        assert answer.prompt_tokens == row_of(engine.model, full).prompt_length


@pytest.fixture
def arms_like():
    import torch

    return add(SteeringVector({Site(1): torch.linspace(-1, 1, 32)}), 1.0)


def test_an_empty_turn_is_kept_as_three_dots(tiny, monkeypatch):
    engine = tiny("llama").engine
    monkeypatch.setattr(type(engine), "_text", lambda self, answer: "  ")
    (answer,) = engine.generate([Request(script("Hi", "go on"))], NEW)
    assert answer.conversation.messages[1] == Message("assistant", "...")


def test_reasoning_is_kept_apart_from_the_answer_and_left_out_of_played_turns(tiny, monkeypatch):
    engine = tiny("llama").engine
    texts = iter(["<think>a</think> b", "<think>c\n</think>\n\nd"])
    said = {}

    def decode(tokens, **_):
        return said.setdefault(tuple(tokens), next(texts)) if tuple(tokens) in answers else ""

    answers = set()
    run = type(engine)._run

    def seen(self, *args):
        found = run(self, *args)
        answers.update(tuple(self._spoken(answer)) for answer in found)
        return found

    monkeypatch.setattr(type(engine), "_run", seen)
    monkeypatch.setattr(engine.model.tokenizer, "decode", decode)
    (answer,) = engine.generate([Request(script("Hi", "go on"))], NEW)
    assert answer.conversation.messages[1] == Message("assistant", "b")
    assert (answer.reasoning, answer.text) == ("c", "d")


def test_a_block_that_the_prompt_opened_and_nothing_closed_leaves_no_answer(tiny, monkeypatch):
    engine = tiny("llama").engine
    monkeypatch.setattr(engine.model.tokenizer, "decode", lambda tokens, **_: "<think>\n" if len(tokens) > 6 else "hm")
    (answer,) = engine.generate([Request(script("How do I bake a large loaf of bread at home?"))], NEW)
    assert (answer.reasoning, answer.text) == ("hm", "")
