"""Published jailbreaks, replayed: artifacts in the JSON of JailbreakBench (Chao et al. 2024).

An artifact lists, for each of JailbreakBench's 100 behaviours, the prompt that somebody's attack
found, or null where it found none. Nothing is made here; what was published is sent as it stands.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from demur.attacks.family import Attack, request, talk
from demur.errors import BadFile, InputError
from demur.runs.strict import read_json
from demur.types import Conversation, Prompt

DEFAULT = "jailbreakbench/JBC/manual/vicuna-13b-v1.5.json"
"""The artifact that `get("replay")` replays, in the folder that DEMUR_DATA names."""


@dataclass(frozen=True)
class Artifact:
    """One artifact file: the published prompt (or None) by goal and by behaviour index."""

    path: str
    method: str
    by_goal: Mapping[str, str | None]
    by_index: Mapping[int, str | None]


def read_artifact(path: str | os.PathLike[str]) -> Artifact:
    """Read an artifact. BadFile, naming file, row and field, when it is missing or malformed."""
    path = Path(path)
    try:
        data: Any = read_json(path.read_text(encoding="utf-8-sig"))
    except OSError as e:
        raise BadFile(f"{path}: cannot be read ({e.strerror}); it should be a JailbreakBench artifact") from e
    except ValueError as e:
        raise BadFile(f"{path}: not JSON in UTF-8: {e}") from e
    rows = data.get("jailbreaks") if isinstance(data, dict) else None
    if not isinstance(rows, list) or not rows:
        raise BadFile(f"{path}: no list 'jailbreaks'; it should be a JailbreakBench artifact")
    goals: dict[str, str | None] = {}
    indices: dict[int, str | None] = {}
    for number, row in enumerate(rows, 1):
        if not isinstance(row, dict):
            raise BadFile(f"{path}, jailbreak {number}: not an object")
        goal, index, text = row.get("goal"), row.get("index"), row.get("prompt")
        if not isinstance(goal, str) or not isinstance(index, int):
            raise BadFile(f"{path}, jailbreak {number}: needs 'goal' (text) and 'index' (whole number)")
        if text is not None and not isinstance(text, str):
            raise BadFile(f"{path}, jailbreak {number}: 'prompt' is neither text nor null")
        goals[_normal(goal)] = indices[index] = text or None
    parameters = data.get("parameters")
    method = parameters.get("method", "") if isinstance(parameters, dict) else ""
    return Artifact(str(path), str(method), goals, indices)


def why_not(artifact: Artifact, prompt: Prompt) -> str:
    """Why the artifact cannot attack the prompt; "" when it can."""
    found, text = _find(artifact, prompt)
    if not found:
        return f"no jailbreak for this request in {artifact.path}"
    return "" if text else f"the published prompt is null in {artifact.path}: that attack found none"


def replay(artifact: Artifact | str | os.PathLike[str]) -> Attack:
    """The attack that replays an artifact (or the file it is in).

    Its `apply` raises InputError for a prompt that the artifact has nothing for; its `why_not` tells.
    """
    held = artifact if isinstance(artifact, Artifact) else read_artifact(artifact)

    def apply(prompt: Prompt) -> Conversation:
        request(prompt)
        _, text = _find(held, prompt)
        if not text:
            raise InputError(f"prompt {prompt.id!r}: {why_not(held, prompt)}; leave out what its why_not names")
        return talk(prompt, "replay", text)

    about = f"Replays published prompts ({held.method or held.path})."
    return Attack("replay", "artifact", apply, about, why_not=lambda prompt: why_not(held, prompt))


@cache
def _read_once(path: str) -> Artifact:
    return read_artifact(path)


def _default() -> Attack:
    folder = os.environ.get("DEMUR_DATA")
    if not folder:
        raise InputError(
            f"replay needs an artifact: set DEMUR_DATA to a folder that holds {DEFAULT}, or name one: replay:FILE"
        )
    return replay(_read_once(str(Path(folder) / DEFAULT)))


def _find(artifact: Artifact, prompt: Prompt) -> tuple[bool, str | None]:
    """By goal text; by the index in the id only for JailbreakBench's own set, whose wording varies by release."""
    goal = _normal(prompt.text)
    if goal in artifact.by_goal:
        return True, artifact.by_goal[goal]
    number = prompt.id.rpartition("-")[2]
    if prompt.set == "jailbreakbench" and number.isdecimal() and int(number) in artifact.by_index:
        return True, artifact.by_index[int(number)]
    return False, None


def _normal(text: str) -> str:
    return " ".join(text.casefold().split()).rstrip(".?! ")


def _apply(prompt: Prompt) -> Conversation:
    request(prompt)
    return _default().apply(prompt)


ATTACK = Attack(
    "replay",
    "artifact",
    _apply,
    "Replays published prompts (JailbreakBench artifacts).",
    why_not=lambda prompt: _default().why_not(prompt),
)
