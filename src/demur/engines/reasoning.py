"""Reasoning blocks: what a model writes for itself before its answer, in tags.

Known: `<think>`, `<thinking>`, `<thought>`, `<reasoning>`, `<reflection>`, `<analysis>`, `<scratchpad>` and the like,
`[THINK]`, tags between `<||>` or `◁▷`, `<|begin_of_thought|>`, and channels (`<|channel|>analysis<|message|>` ...
`<|channel|>final<|message|>`), also as they read without their special tokens (`analysis ... assistantfinal ...`).
A closing tag without an opening one closes a block that the chat template opened in the prompt.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from demur.types import Generation

_NAME = r"(?:think(?:ing)?|thoughts?|reason(?:ing)?|reflection|analysis|scratch_?pad|inner_?monologue|seed:think|cot)"
_TAG = r"(?:<\|?\s*(?:{0})\s*\|?>|\[(?:{1})\]|◁(?:{1})▷)"
_OPEN = re.compile(_TAG.format(rf"{_NAME}|begin_of_thoughts?", r"think(?:ing)?"), re.I)
_CLOSE = re.compile(_TAG.format(rf"[/\\]\s*{_NAME}|end_of_thoughts?", r"/think(?:ing)?"), re.I)
_ANSWER = re.compile(r"<\|?/?(?:answer|response|output|final_answer|(?:begin|end)_of_solution)\|?>", re.I)
_CHANNEL = re.compile(r"<\|channel\|>\s*(\w+)[^<]*?(?:<\|constrain\|>[^<]*)?<\|message\|>", re.I)
_MARKED = re.compile(r"<\|(?:start|end|return|channel|message|call|im_end|im_start)\|>(?:assistant\b)?", re.I)
_BARE = re.compile(r"\Aanalysis(?=[A-Z\"'])(.*?)(?:assistant\s*final(?:\b|(?=[A-Z0-9\"'*]))|\Z)", re.S)


@dataclass(frozen=True)
class Split:
    """An answer and the reasoning that stood in or before it."""

    reasoning: str
    answer: str
    closed: bool = True
    """Whether every block was closed; else the answer holds what came before the open one."""


def split(text: str, opened: bool = False) -> Split:
    """Take reasoning out of a text. opened: the prompt ended in an opening tag, so the text begins inside a block."""
    if "<|channel|>" in text.lower():
        return _channels(text)
    if text.startswith("analysis") and (bare := _BARE.match(text)):
        rest = text[bare.end() :]
        return Split(bare[1].strip(), rest.strip(), bool(rest) or bare[0].endswith("final"))
    if not opened and not _CLOSE.search(text) and not _OPEN.search(text):
        return Split("", text)
    thoughts: list[str] = []
    said: list[str] = []
    at, inside = 0, opened
    while True:
        if inside:
            close = _CLOSE.search(text, at)
            if close is None:
                thoughts.append(text[at:])
                break
            thoughts.append(text[at : close.start()])
            at, inside = close.end(), False
            continue
        start, close = _opening(text, at), _CLOSE.search(text, at)
        if close is not None and (start is None or close.start() < start.start()):
            # Closed without having been opened: all before it is reasoning, the prompt opened it.
            thoughts += [*said, text[at : close.start()]]
            said, at = [], close.end()
            continue
        if start is None:
            said.append(text[at:])
            break
        said.append(text[at : start.start()])
        at, inside = start.end(), True
    answer = _ANSWER.sub("", "".join(said))
    reasoning = "\n".join(part.strip() for part in thoughts if part.strip())
    return Split(reasoning, answer.strip() if thoughts else answer, not inside)


def apart(generation: Generation) -> Generation:
    """The generation with the reasoning that its text holds taken out; all of it where a block never closed."""
    found = split(generation.text)
    if found.answer == generation.text:
        return generation
    thoughts = "\n".join(filter(None, (generation.reasoning, found.reasoning)))
    return replace(generation, text=found.answer if found.closed else "", reasoning=thoughts)


def is_open(prompt: str) -> bool:
    """Does a prompt end inside a reasoning block, as those of templates that open it do?"""
    starts = [match.end() for match in _OPEN.finditer(prompt)]
    return bool(starts) and not prompt[starts[-1] :].strip() and not _CLOSE.search(prompt, starts[-1])


def _opening(text: str, at: int) -> re.Match[str] | None:
    """The next opening tag that begins a line, or the text: within a sentence a tag is spoken about."""
    for match in _OPEN.finditer(text, at):
        before = text[at : match.start()]
        if not before.strip() or before.rstrip(" \t").endswith("\n") or _CLOSE.search(text, match.end()):
            return match
    return None


def _channels(text: str) -> Split:
    """Messages of several channels: `final` is the answer, the others are reasoning."""
    marks = list(_CHANNEL.finditer(text))
    if not marks:
        return Split(_MARKED.sub("", text).strip(), "", False)
    ends = [mark.start() for mark in marks[1:]] + [len(text)]
    parts = [(mark[1].lower(), _MARKED.sub("", text[mark.end() : end]).strip())
             for mark, end in zip(marks, ends, strict=True)]  # fmt: skip
    before = _MARKED.sub("", text[: marks[0].start()]).strip()
    thoughts = [before, *(part for name, part in parts if name != "final")]
    final = [part for name, part in parts if name == "final"]
    return Split("\n".join(filter(None, thoughts)), "\n".join(final), bool(final))
