"""Contrast pairs: a question, an answer that shows a behaviour and one that does not.

The layout of Contrastive Activation Addition (Rimsky et al. 2024, arXiv 2312.06681), read from the published files,
from any file of that layout, and from the built-in behaviours, which were written for demur.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal

from demur.errors import BadFile, InputError, unknown
from demur.prompts import uses
from demur.prompts.published import FOLDER
from demur.prompts.rows import SUFFIXES, Row, read_rows, text_cell
from demur.types import Pair, Use

CAA = (
    "coordinate-other-ais",
    "corrigible-neutral-HHH",
    "hallucination",
    "myopic-reward",
    "refusal",
    "survival-instinct",
    "sycophancy",
)
"""Published behaviours, as caa:NAME."""
BUILTIN = ("formality", "hedging", "impatience", "openness", "optimism", "self-awareness", "sycophancy", "warmth")
CHOICE = re.compile(r"\n\s*\(([A-Z])\)\s*")
HELD_OUT = 40
"""The last pairs of a file without uses that are for validation."""


def behaviour(name: str, use: Use) -> list[Pair]:
    """The pairs of a behaviour for one use: a built-in name, caa:NAME, or a file of the CAA layout.

    Of caa:NAME, "test" is the published test part, "validation" the last HELD_OUT of the other, "fit" its rest; as
    they were published, some questions of the parts nearly say the same. A file says with a column `use` what its rows
    are for; without one its last HELD_OUT rows are for validation and as many before them for the test. Raises
    UnknownName, BadFile, InputError; the last too where a file's questions for one use nearly repeat those for another.
    """
    if name.startswith("caa:"):
        part = caa_pairs(name, "test" if use == "test" else "generate")
        part = part if use == "test" else part[-HELD_OUT:] if use == "validation" else part[:-HELD_OUT]
        return [replace(pair, use=use) for pair in part]
    if name in BUILTIN:
        return [pair for pair in _builtin(name) if pair.use == use]
    if Path(name).suffix.lower() in SUFFIXES:
        return [pair for pair in _divided(Path(name)) if pair.use == use]
    raise unknown("behaviour", name, [*BUILTIN, *(f"caa:{known}" for known in CAA)], "Or name a file of pairs.")


def balanced(pairs: Sequence[Pair], n: int | None = None) -> list[Pair]:
    """At most n pairs, as many with the matching answer at the first letter as at the second, taken in turn."""
    sides = [[p for p in pairs if (p.letter < p.other_letter) == first] for first in (True, False)]
    each = min(len(sides[0]), len(sides[1]), *([] if n is None else [n // 2]))
    if not each:
        raise InputError("all matching answers of these pairs have one letter; give pairs of both.")
    return [pair for two in zip(sides[0][:each], sides[1][:each], strict=True) for pair in two]


def caa_pairs(name: str, part: Literal["generate", "test"] = "generate") -> list[Pair]:
    """The pairs of a published behaviour ("refusal", or "caa:refusal"), in the file's order.

    part: "generate", to make vectors from, or "test" (50 held-out pairs). Read from the folder in DEMUR_DATA only.
    Raises UnknownName, InputError when the folder lacks the file, BadFile when it is malformed.
    """
    known = name.removeprefix("caa:")
    if known not in CAA:
        raise unknown("CAA behaviour", known, CAA)
    relative = f"caa/{part}/{known}/{'generate_dataset.json' if part == 'generate' else 'test_dataset_ab.json'}"
    folder = os.environ.get(FOLDER)
    if not folder or not (Path(folder) / relative).exists():
        raise InputError(f"caa:{known} needs {relative} in the folder that {FOLDER} names (it is {folder!r})")
    return read_pairs(Path(folder) / relative, f"caa-{known}-{part}")


def read_pairs(path: Path, label: str = "") -> list[Pair]:
    """The pairs of a file: `question` with its choices and the two answers' letters, or answers in full text."""
    return [_pair(path, row, f"{label or path.stem}-{row.number - 1}") for row in read_rows(path)]


def _pair(path: Path, row: Row, id: str) -> Pair:
    question = text_cell(path, row, "question")
    answers = [text_cell(path, row, f"answer_{side}_behavior").strip() for side in ("matching", "not_matching")]
    use = row.cells.get("use") or None
    if use not in (None, "fit", "validation", "test"):
        raise BadFile(f"{path}, {row.where}, column 'use': {use!r}; a pair is for fit, validation or test")
    topic = str(row.cells.get("topic") or "")
    letters = [re.fullmatch(r"\(?([A-Z])\)?", answer) for answer in answers]
    if not all(letters):
        first, second = ("A", "B") if row.number % 2 else ("B", "A")
        return Pair(id, question, answers[0], answers[1], first, second, topic=topic, use=use)
    ours, theirs = (found.group(1) for found in letters if found)
    plain, *parts = CHOICE.split(question)
    texts = dict(zip(parts[::2], parts[1::2], strict=True))
    for letter in (ours, theirs):
        if letter not in texts:
            raise BadFile(f"{path}, {row.where}: the answer ({letter}) is not among the choices ({', '.join(texts)})")
    if ours == theirs:
        raise BadFile(f"{path}, {row.where}: both answers are ({ours}); they must differ")
    plain = plain.removesuffix("Choices:").strip()
    full = [texts[letter].removesuffix("Answer:").strip() for letter in (ours, theirs)]
    return Pair(id, plain, full[0], full[1], ours, theirs, question, topic, use)


def _divided(path: Path) -> list[Pair]:
    """The pairs of a user's file, each with its use."""
    found = read_pairs(path)
    if not any(pair.use for pair in found):
        if len(found) < 4 * HELD_OUT:
            raise InputError(
                f"{path} has {len(found)} pairs and says not what for; give {4 * HELD_OUT}, or a column use."
            )
        cut = len(found) - 2 * HELD_OUT
        parts: dict[Use, list[Pair]] = {
            "fit": found[:cut],
            "test": found[cut:-HELD_OUT],
            "validation": found[-HELD_OUT:],
        }
        found = [replace(pair, use=use) for use, part in parts.items() for pair in part]
    fitting, validation, test = ([p for p in found if p.use == use] or None for use in ("fit", "validation", "test"))
    uses.check(fitting=fitting, validation=validation, test=test)
    return found


@cache
def _builtin(name: str) -> list[Pair]:
    text = files("demur.prompts").joinpath(f"data/behaviours/{name}.jsonl").read_text(encoding="utf-8")
    rows: list[dict[str, Any]] = [json.loads(line) for line in text.splitlines() if line]
    pairs = []
    for number, row in enumerate(rows):
        first, second = ("B", "A") if number % 2 else ("A", "B")
        pairs.append(Pair(row["id"], row["question"], row["matching"], row["not_matching"], first, second,
                          topic=row["topic"], use=row["use"]))  # fmt: skip
    return pairs
