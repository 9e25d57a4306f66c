"""How a tokenizer cuts text: what it begins with, what continues it, and which tokens end an answer."""

from __future__ import annotations

import re
import warnings
from dataclasses import dataclass
from typing import Any

from demur.errors import BadFile, InputError
from demur.models.templates import ChatTemplate

ANCHORS = ("\n", ".")
"""Texts to cut a continuation behind; the first that does not grow together with it."""
PROBES = ("a", " a", "The", " The")
TAG = re.compile(r"<\S+>|\[/?[A-Z_]+\]")
"""What a token that marks a turn looks like where the tokenizer does not list it as special."""
BYTE = re.compile(r"<0x[0-9A-F]{2}>")
"""What looks like one and is text: <0x0A> is a line's end."""


@dataclass(frozen=True)
class Cut:
    """How a tokenizer treats the ends of a text."""

    begin: tuple[int, ...]
    """Tokens that it puts in front of a text (BOS); what it puts behind one is not taken, for text goes on."""
    anchor: str
    """What a continuation is cut behind, where one alone would get a space in front; else empty."""


def encoded(tokenizer: Any, text: str, beyond: int) -> list[int]:
    """Tokens of a text, none added. InputError for a token that the embedding, of `beyond` rows, does not have."""
    tokens = _cut(tokenizer, text)
    if tokens and max(tokens) >= beyond:
        token = max(tokens)
        raise InputError(
            f"the text has the token {tokenizer.convert_ids_to_tokens(token)!r} ({token}), which is beyond the "
            f"model's {beyond} embeddings; leave it out."
        )
    return tokens


def cut_of(tokenizer: Any) -> Cut:
    """What a tokenizer does at the beginning of a text, found by trying."""
    whole, core = list(tokenizer("a")["input_ids"]), _cut(tokenizer, "a")
    at = next((i for i in range(len(whole) - len(core) + 1) if whole[i : i + len(core)] == core), 0)
    for anchor in ANCHORS:
        head = _cut(tokenizer, anchor)
        joined = [_cut(tokenizer, anchor + text) for text in PROBES]
        if head and all(tokens[: len(head)] == head for tokens in joined):
            alone = [_cut(tokenizer, text) for text in PROBES]
            same = all(tokens[len(head) :] == own for tokens, own in zip(joined, alone, strict=True))
            return Cut(tuple(whole[:at]), "" if same else anchor)
    return Cut(tuple(whole[:at]), "")


def ends_of(tokenizer: Any, template: ChatTemplate, generation_config: Any) -> frozenset[int]:
    """Tokens that end an answer: those of the generation config, the tokenizer's, and the one that the template puts
    behind what an assistant says. A template without one is warned of."""
    ends = generation_config.eos_token_id
    known = {ends} if isinstance(ends, int) else set(ends or [])
    if tokenizer.eos_token_id is not None:
        known.add(tokenizer.eos_token_id)
    # A last turn may have an end of its own, which the model gives; others may end as thoughts do (gpt-oss).
    for text in template.after_answers():
        for token in _cut(tokenizer, text):
            if marks(tokenizer, token) and (token != tokenizer.unk_token_id or token in known):
                return frozenset({*known, token})
    names = ", ".join(repr(tokenizer.convert_ids_to_tokens(token)) for token in sorted(known)) or "nothing"
    warnings.warn(
        f"{template.label} puts no token behind what the assistant says; an answer ends at {names}, or when it is as "
        f"long as it may be.",
        RuntimeWarning,
        stacklevel=4,
    )
    return frozenset(known)


def marks(tokenizer: Any, token: int) -> bool:
    """Whether a token stands for no text of a speaker."""
    word = str(tokenizer.convert_ids_to_tokens(token))
    listed = token in tokenizer.all_special_ids or token in tokenizer.added_tokens_decoder
    return not BYTE.fullmatch(word) and (listed or TAG.fullmatch(word) is not None)


def check_vocabulary(tokenizer: Any, template: ChatTemplate, rows: int, name: str) -> None:
    """BadFile for a tokenizer with tokens beyond the embedding's rows.

    One that only stands for padding or the unknown is let pass, for transformers adds such tokens by itself and demur
    runs none; unless the template has it.
    """
    large = {token: word for word, token in tokenizer.get_vocab().items() if token >= rows}
    if not large:
        return
    used = {token for text in template.samples() for token in _cut(tokenizer, text)}
    roles = {word for word in tokenizer.special_tokens_map.values() if isinstance(word, str)}
    wrong = {token: word for token, word in large.items() if token in used or word not in roles}
    if wrong:
        first = min(wrong)
        raise BadFile(
            f"the tokenizer of {name} has {len(wrong)} tokens beyond the model's {rows} embeddings ({wrong[first]!r} "
            f"is {first}); take the tokenizer that belongs to the model, or resize the model's embeddings."
        )


def _cut(tokenizer: Any, text: str) -> list[int]:
    try:
        return list(tokenizer(text, add_special_tokens=False)["input_ids"])
    except Exception as error:  # tokenizers raises plain Exceptions, as for a word that it has no token for
        short = text if len(text) <= 40 else f"{text[:37]}..."
        raise InputError(f"the tokenizer cannot cut {short!r}: {str(error)[:200]}; change the text.") from error
