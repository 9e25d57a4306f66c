"""Chat templates: how a conversation becomes text, and what shows that it did."""

from __future__ import annotations

import atexit
import hashlib
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from demur.errors import BadFile, InputError, OutOfRoom
from demur.models import render
from demur.types import Message

SWITCHES = ("enable_thinking", "thinking")
"""What templates call the switch that turns thinking on and off."""
MARK = "\ue000demur\ue001"
"""Stands in for a text to find where the template puts it; private-use characters, which nobody types."""
HELD, SAID = "\ue000held\ue001", "\ue000said\ue001"
FIX = "Mend it, or give another with --chat-template FILE (load(..., chat_template=...))."


@dataclass(frozen=True)
class ChatTemplate:
    """A model's chat template, and how it takes its messages."""

    source: str
    """Jinja."""
    label: str
    """What errors call it."""
    values: Mapping[str, Any] = field(default_factory=dict)
    """What it is given beside the messages: special tokens, the thinking switch."""
    parts: bool = False
    """Whether it wants a message's content as a list of parts."""
    folds: bool = False
    """Whether it has no place for a system message, which then stands in front of the first user turn."""

    def render(self, messages: Sequence[Message], answering: bool = True) -> str:
        """The text of a conversation, `answering`: up to where the assistant begins to speak.

        Raises InputError where the template fails, gives no text, or leaves out what somebody said.
        """
        text = self._text(messages, answering)
        for index, message in enumerate(messages):
            # Templates trim, and take the thoughts out of what an assistant said before.
            said = (message.content or "").rpartition("</think>")[2] if message.role == "assistant" else message.content
            if (said or "").strip() not in text:
                raise InputError(
                    f"{self.label} does not show what message {index + 1} ({message.role}) says, "
                    f"{_short(message.content or '')!r}, as it is. {FIX}"
                )
        return text

    def _text(self, messages: Sequence[Message], answering: bool) -> str:
        turns = [(m.role, m.content or "") for m in messages]
        if self.folds and len(turns) > 1 and turns[0][0] == "system" and turns[1][0] == "user":
            turns[:2] = [("user", f"{turns[0][1]}\n\n{turns[1][1]}")]
        given = [
            {"role": role, "content": [{"type": "text", "text": text}] if self.parts else text} for role, text in turns
        ]
        values = {"tools": None, "documents": None, **self.values, "messages": given,
                  "add_generation_prompt": answering}  # fmt: skip
        size = sum(len(text) for _, text in turns)
        said = _renderer.ask({"template": self.source, "values": values, "given": size})
        if "text" not in said:
            why = " ".join(said["why"].split()).rstrip(".")
            raise TemplateFault(f"{self.label} fails: {why}. {FIX}", said["fault"])
        if not said["text"].strip():
            raise TemplateFault(f"{self.label} gives no text. {FIX}", "empty")
        return said["text"]

    def after_answers(self) -> list[str]:
        """What stands behind an assistant's turn, the last one and one with a user's behind it; where it can be had."""
        asked, said = Message("user", HELD), Message("assistant", SAID)
        found = []
        for messages in ([asked, said], [asked, said, Message("user", MARK)]):
            with suppress(InputError):
                found.append(self._text(messages, answering=False).partition(SAID)[2].partition(MARK)[0])
        return found

    def samples(self) -> list[str]:
        """Texts in which every part of the template stands that these messages bring out."""
        user, system, said = (Message(role, "a") for role in ("user", "system", "assistant"))
        found = []
        for messages in ([user], [system, user], [user, said, user]):
            with suppress(InputError):
                found.append(self._text(messages, answering=True))
        return found

    @property
    def sha256(self) -> str:
        """Hash of all that decides a conversation's text, beside demur's own code."""
        told = json.dumps([self.source, dict(self.values)], sort_keys=True, default=str)
        return hashlib.sha256(told.encode("utf-8", "surrogatepass")).hexdigest()


class TemplateFault(InputError):
    """A template that fails."""

    def __init__(self, text: str, kind: str):
        super().__init__(text)
        self.kind = kind


def template_of(tokenizer: Any, name: str, thinking: bool | None = None, label: str = "") -> ChatTemplate:
    """The chat template of a tokenizer, tried on a conversation.

    thinking: turns the model's thinking on or off where the template has a switch for it; None leaves the template its
    default. label: what errors call it; left out, the chat template of `name`. Raises BadFile for a template that is
    missing, fails, or does not show what the user says; InputError where it has no such switch.
    """
    source = tokenizer.chat_template
    if isinstance(source, Mapping):
        source = source.get("default")
    if not isinstance(source, str) or not source.strip():
        raise BadFile(
            f"{name} has no chat template, so it is not a chat model; set `chat_template` of the tokenizer, give one "
            f"with --chat-template FILE (load(..., chat_template=...)), or choose its instruct version."
        )
    special = tokenizer.special_tokens_map.items()
    values = {key: [*map(str, value)] if isinstance(value, list | tuple) else str(value) for key, value in special}
    template = _tried(ChatTemplate(source, label or f"the chat template of {name}", values))
    return template if thinking is None else _switched(template, thinking)


def template_text(given: str | os.PathLike[str]) -> str:
    """A template from a file; a text with a brace in it is one itself. Raises BadFile for what cannot be read."""
    if isinstance(given, str) and "{" in given:
        return given
    path = Path(os.path.expanduser(given))
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or "it is not UTF-8 text"
        raise BadFile(f"cannot read the chat template {path}: {why}; give a file with a Jinja template.") from error
    if not text.strip():
        raise BadFile(f"the chat template {path} is empty; give a file with a Jinja template.")
    return text


def _tried(template: ChatTemplate) -> ChatTemplate:
    """The template with what it turns out to want. Raises BadFile where it shows no user's text in any way."""
    user, system = Message("user", MARK), Message("system", HELD)
    whole, first = _shows(template, [user])
    if not whole and not (isinstance(first, TemplateFault) and first.kind not in ("failed", "refused")):
        template = replace(template, parts=True)
        whole, _ = _shows(template, [user])
    if not whole:
        plain = f"{template.label} does not show what a user says. {FIX}"
        raise BadFile(str(first) if isinstance(first, TemplateFault) else plain) from first
    if not _shows(template, [system, user])[0]:
        template = replace(template, folds=True)
    return template


def _shows(template: ChatTemplate, messages: Sequence[Message]) -> tuple[bool, InputError | None]:
    """Whether each message's text is in what the template gives, and the error where it is not."""
    try:
        template.render(messages)
    except InputError as error:
        return False, error
    return True, None


def _switched(template: ChatTemplate, thinking: bool) -> ChatTemplate:
    """The template with its thinking on or off. InputError unless one of SWITCHES changes what it gives."""
    for switch in SWITCHES:
        on, off = (replace(template, values={**template.values, switch: value}) for value in (True, False))
        try:
            if on.render([Message("user", MARK)]) != off.render([Message("user", MARK)]):
                return on if thinking else off
        except InputError:
            continue
    raise InputError(
        f"{template.label} has no switch for thinking (none of {', '.join(SWITCHES)} changes what it gives); leave out "
        f"--thinking (thinking=)."
    )


def _short(text: str) -> str:
    return text if len(text) <= 40 else f"{text[:37]}..."


class _Renderer:
    """The process of `render.py`: started at first use, and again after it was ended."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.process: subprocess.Popen[str] | None = None

    def ask(self, what: Mapping[str, Any]) -> dict[str, str]:
        """Its answer. OutOfRoom where no process can be started."""
        with self.lock:
            process = self.process
            if process is None or process.poll() is not None:
                process = self._started()
            assert process.stdin is not None and process.stdout is not None
            try:
                process.stdin.write(json.dumps(what) + "\n")
                process.stdin.flush()
                line = process.stdout.readline()
            except BrokenPipeError:
                line = ""
            except BaseException:  # stopped half-way: its answer must not be taken for the next one's
                self.close()
                raise
            if line:
                return json.loads(line)
            status = self.close()
            if status == render.ENDLESS:
                return {"fault": "endless", "why": f"it does not end within {render.SECONDS:g} seconds"}
            ending = f"status {status}" if status >= 0 else f"signal {-status} ({signal.strsignal(-status)})"
            return {"fault": "died", "why": f"the process that renders it was ended by {ending}"}

    def _started(self) -> subprocess.Popen[str]:
        # -P: no file beside the program, or in the working folder, stands in for one of Python's own.
        command = [sys.executable, "-P", render.__file__, str(render.SECONDS)]
        self.close()
        try:
            self.process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
            )
        except OSError as error:
            raise OutOfRoom(f"cannot start the process that renders chat templates: {error.strerror}.") from error
        assert self.process.stdout is not None
        if not self.process.stdout.readline():
            raise OutOfRoom(f"the process that renders chat templates does not start; try: {' '.join(command)}")
        return self.process

    def close(self) -> int:
        """End the process. Its exit status, which is its own where it had ended already."""
        process, self.process = self.process, None
        if process is not None:
            process.kill()
            process.wait()
            for pipe in (process.stdin, process.stdout):
                if pipe is not None:
                    with suppress(OSError):  # what could not be sent any more
                        pipe.close()
        return 0 if process is None else process.returncode


_renderer = _Renderer()
atexit.register(lambda: _renderer.close())


def _forget() -> None:
    """In a forked process: the parent's renderer is not ours."""
    global _renderer
    _renderer = _Renderer()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)
