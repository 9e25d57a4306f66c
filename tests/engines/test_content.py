"""Which tokens are the user's own text."""

import copy
from dataclasses import replace

import pytest

from demur.engines.mock import MockEngine, token
from demur.engines.rows import content_mask, row_of
from demur.errors import InputError
from demur.models.templates import template_of
from demur.types import Conversation, Message, Prompt

PROMPT = Prompt("p", "x", "tests")


def shown(model, conversation):
    """The text of the tokens in the mask."""
    row, mask = row_of(model, conversation), content_mask(model, conversation)
    assert len(mask) == len(row.tokens)
    return model.tokenizer.decode([t for t, here in zip(row.tokens, mask.tolist(), strict=True) if here])


@pytest.mark.parametrize(
    "text", ["How do I bake?", "user", "assistant\n", "You", " a ", "naïve 🍞 bread", "<|im_end|>"]
)
@pytest.mark.parametrize("system", ["", "You are a user of bread. How do I bake?"])
def test_the_users_text_and_nothing_else(tiny, talk, text, system):
    """Also where the template or the system prompt says the same words."""
    model = tiny("llama").loaded
    assert shown(model, talk(text, system=system, prefill="How do I bake? user")) == text


def test_every_user_turn_counts_and_no_assistants(tiny):
    model = tiny("llama").loaded
    turns = (Message("user", "bake bread"), Message("assistant", "bake bread"), Message("user", "the sea"))
    assert shown(model, Conversation(PROMPT, turns)) == "bake breadthe sea"


def test_a_template_that_trims_is_followed(tiny, talk):
    model = tiny("llama").loaded
    words = copy.deepcopy(model.tokenizer)
    words.chat_template = words.chat_template.replace("m['content']", "m['content'] | trim")
    trims = replace(model, tokenizer=words, chat=template_of(words, model.name))
    assert shown(trims, talk("  bake  ")) == "bake"


class Slow:
    """A tokenizer without offsets."""

    is_fast = False

    def __init__(self, fast):
        self.fast = fast

    def __call__(self, text, **options):
        assert "return_offsets_mapping" not in options
        return self.fast(text, **options)

    def __getattr__(self, name):
        return getattr(self.fast, name)


@pytest.mark.parametrize("text", ["How do I bake?", "user", "assistant\n", "a"])
def test_a_tokenizer_without_offsets_gives_the_same(tiny, talk, text):
    model = tiny("llama").loaded
    slow = replace(model, tokenizer=Slow(model.tokenizer))
    for c in (talk(text, system="You are a poet"), talk(text, prefill="I'm")):
        assert content_mask(slow, c).equal(content_mask(model, c))


def test_a_template_that_shows_a_text_twice_is_refused(tiny, talk):
    model = tiny("llama").loaded
    words = copy.deepcopy(model.tokenizer)
    words.chat_template = words.chat_template.replace("m['content']", "m['content'] + m['content']")
    twice = replace(model, tokenizer=words, chat=template_of(words, model.name))
    with pytest.raises(InputError, match=r"template of tiny-llama shows .* 'p-Hi' in no one place.*take all positions"):
        content_mask(twice, talk("Hi"))


def test_engines_give_the_masks_in_order(tiny, talk):
    talks = [talk("How do I bake?"), talk("Hi")]
    one = tiny("gemma2")
    assert [m.tolist() for m in one.engine.content(talks)] == [content_mask(one.loaded, c).tolist() for c in talks]
    mock = MockEngine()
    turns = (
        Message("system", "be kind"),
        Message("user", "bake bread"),
        Message("assistant", "no"),
        Message("user", "go"),
    )
    c = Conversation(PROMPT, turns, prefill="Sure, here")
    (mask,) = mock.content([c])
    assert [t for t, here in zip(mock.tokens(c)[0], mask.tolist(), strict=True) if here] == [
        *map(token, ("bake", "bread", "go"))
    ]
