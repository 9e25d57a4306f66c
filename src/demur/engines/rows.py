"""Conversations as token rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from jaxtyping import Bool
from torch import Tensor

from demur.engines.base import Row
from demur.errors import InputError
from demur.interventions import Intervention
from demur.models.load import LoadedModel
from demur.models.rope import longest_row, switch_length
from demur.models.templates import MARK
from demur.models.tokens import encoded
from demur.types import Conversation, Message


def open_turn(conversation: Conversation) -> int | None:
    """Index of the first assistant turn that the engine has to play, or None."""
    for index, message in enumerate(conversation.messages):
        if message.role == "assistant" and message.content is None:
            return index
    return None


def filled(conversation: Conversation, turn: int, text: str) -> Conversation:
    """The conversation with the assistant's turn played."""
    messages = list(conversation.messages)
    messages[turn] = Message("assistant", text)
    return replace(conversation, messages=tuple(messages))


def row_of(
    model: LoadedModel,
    conversation: Conversation,
    intervention: Intervention | None = None,
    seed: int = 0,
    until: int | None = None,
) -> Row:
    """Tokens of a conversation up to (not including) turn `until`, ready for an answer. Raises as `check_turns`."""
    text = rendered(model, conversation, until)
    prompt = _encode(model, text)
    if not prompt:
        raise InputError(f"prompt {conversation.prompt.id!r}: {model.chat.label} gives no token; give another one.")
    prefill = following(model, text, prompt, conversation.prefill) if until is None and conversation.prefill else []
    return Row(tuple(prompt + prefill), len(prompt), conversation.prompt.id, intervention, seed)


def rendered(model: LoadedModel, conversation: Conversation, until: int | None = None) -> str:
    """The text of a conversation up to where turn `until` begins. Raises as `check_turns`, and as `ChatTemplate.render`
    with the prompt's id."""
    messages = check_turns(conversation, until)
    try:
        return model.chat.render(messages)
    except InputError as error:
        raise InputError(f"prompt {conversation.prompt.id!r}: {error}") from error


def check_turns(conversation: Conversation, until: int | None = None) -> tuple[Message, ...]:
    """The conversation's messages up to turn `until`.

    Raises InputError where there are none, or the last is not the user's, is empty, or a turn is still to be played.
    """
    messages = conversation.messages[:until]
    # A classifier's conversation (judges/harm.py) may end with the answer that it has to judge.
    ends = ("user", "assistant") if conversation.attack == "judge" else ("user",)
    if not messages or messages[-1].role not in ends:
        raise InputError(f"prompt {conversation.prompt.id!r}: a conversation must end with a user turn.")
    if not (messages[-1].content or "").strip():
        raise InputError(f"prompt {conversation.prompt.id!r} is empty; give it a text.")
    if any(message.content is None for message in messages):
        raise InputError(
            f"prompt {conversation.prompt.id!r} has an assistant turn that nobody played; "
            f"generate first, and use the conversation of the generation."
        )
    return messages


def one_each(intervention: Any, n: int) -> list[Intervention | None]:
    """The intervention of each of n conversations, from one for all or a sequence of one for each."""
    if not isinstance(intervention, Sequence):
        return [intervention] * n
    if len(intervention) != n:
        raise InputError(f"{len(intervention)} interventions for {n} conversations; give one for each, or one for all.")
    return list(intervention)


def check_length(model: LoadedModel, label: str, tokens: int, new: int = 0) -> None:
    """InputError when `tokens` and `new` ones to be generated pass the model's limit, or a change of its positions."""
    limit, switch = longest_row(model.config), switch_length(model.config)
    fix = "Shorten it or lower max_new_tokens." if new else "Shorten it."
    if limit is not None and tokens + new > limit:
        more = f"; with {new} new ones it" if new else ", which"
        raise InputError(f"prompt {label!r} has {tokens} tokens{more} passes this model's {limit}. {fix}")
    if switch is not None and tokens <= switch < tokens + new - 1:
        raise InputError(
            f"prompt {label!r} has {tokens} tokens; with {new} new ones it passes {switch}, from where this model's "
            f"rope turns all tokens otherwise, also those before. {fix}"
        )


def _encode(model: LoadedModel, text: str) -> list[int]:
    return encoded(model.tokenizer, text, model.n_embeddings)


def plain_tokens(model: LoadedModel, text: str) -> list[int]:
    """Tokens of plain text that goes on, begun as the tokenizer begins a text (with BOS where it has one)."""
    return [*model.cut.begin, *_encode(model, text)]


def answer_tokens(model: LoadedModel, text: str) -> list[int]:
    """Tokens of a text that stands behind another: without the space that some tokenizers begin a text with."""
    anchor = model.cut.anchor
    if anchor:
        head, whole = _encode(model, anchor), _encode(model, anchor + text)
        if whole[: len(head)] == head:
            return whole[len(head) :]
    return _encode(model, text)


def following(model: LoadedModel, before: str, tokens: Sequence[int], text: str) -> list[int]:
    """Tokens of a text behind another one, whose tokens stand: as the tokenizer cuts both together where that leaves
    the first's as they are, else as `answer_tokens`."""
    whole = _encode(model, before + text)
    return whole[len(tokens) :] if whole[: len(tokens)] == list(tokens) else answer_tokens(model, text)


def content_mask(model: LoadedModel, conversation: Conversation) -> Bool[Tensor, " tokens"]:
    """True at tokens with a character of a user turn's text, over the row's tokens (the prefill's are False).

    Each user turn is templated again with a mark in its place; what comes before and after the mark is the
    template. Tokenizers without offsets compare tokens in place of characters. Raises as `row_of`, and InputError
    when the template does more with a text than to put it in one place.
    """
    row, turns = row_of(model, conversation), conversation.messages
    text = rendered(model, conversation)
    mask = torch.zeros(len(row.tokens), dtype=torch.bool)
    for index, turn in enumerate(turns):
        if turn.role != "user":
            continue
        marked = model.chat.render([*turns[:index], Message("user", MARK), *turns[index + 1 :]])
        before, found, after = marked.partition(MARK)
        if not found or MARK in after or not (text.startswith(before) and text.endswith(after)):
            raise InputError(
                f"the chat template of {model.name} shows a user turn of prompt {row.label!r} in no one place, "
                f"so its tokens cannot be told from the template's; take all positions."
            )
        if model.tokenizer.is_fast:
            start, end = len(before), len(text) - len(after)
            spans = model.tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)["offset_mapping"]
            here = [max(first, start) < min(last, end) for first, last in spans]
        else:
            here = _differing(_encode(model, text), _encode(model, marked))
        mask[: row.prompt_length] |= torch.tensor(here)
    return mask


def _differing(tokens: Sequence[int], others: Sequence[int]) -> list[bool]:
    """Which tokens lie between the beginning and the end that two sequences share."""
    shorter = min(len(tokens), len(others))
    start = next((i for i in range(shorter) if tokens[i] != others[i]), shorter)
    end = next((i for i in range(shorter - start) if tokens[-1 - i] != others[-1 - i]), shorter - start)
    return [start <= i < len(tokens) - end for i in range(len(tokens))]
