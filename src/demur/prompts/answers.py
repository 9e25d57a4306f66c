"""A file of requests and the answers that some model gave: CSV, JSON, JSON lines or Parquet -> rows to be judged."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from demur.errors import BadFile
from demur.prompts.files import COLUMNS as PROMPT_COLUMNS
from demur.prompts.files import as_cell
from demur.prompts.rows import Row, check_text, read_rows
from demur.types import OUTCOMES, Outcome, Prompt

ANSWER_COLUMNS = ("answer", "response", "completion", "output", "generation", "reply", "model_output", "model_response",
                  "generated_text")  # fmt: skip
"""Looked for in this order, whatever their case, when no column is named."""
LABELS: dict[str, Outcome] = {
    **{outcome: outcome for outcome in OUTCOMES},
    **dict.fromkeys(("refusal", "refuse", "full_refusal", "2_full_refusal"), "refused"),
    **dict.fromkeys(("partial_refusal", "3_partial_refusal"), "partial"),
    **dict.fromkeys(("compliance", "comply", "full_compliance", "1_full_compliance"), "complied"),
    **dict.fromkeys(("off_topic", "off topic", "offtopic"), "off-topic"),
}  # fmt: skip
"""What a cell of a label column may say, in small letters -> the outcome."""
YES, NO = ("true", "1", "1.0", "yes"), ("false", "0", "0.0", "no")
"""In a column whose name says what is true of the answer: refused (refusal ...), or complied (compliance ...)."""


@dataclass(frozen=True)
class Given:
    """One row."""

    prompt: Prompt
    """Rows with equal requests have one id, of the text alone, and count as answers to one request; a blank request has
    its row's. `columns` has all cells but those of the request and the answer."""
    answer: str | None
    """None where the row has none (a null, or no such cell)."""
    label: Outcome | None
    """What its label says; None where the cell is empty, or no column was named."""
    where: str
    """The row, for messages."""


@dataclass(frozen=True)
class Answers:
    """A file's rows, and which of its columns are what."""

    path: Path
    rows: tuple[Given, ...]
    prompt_column: str
    answer_column: str
    label_column: str
    """"" for none."""
    cells: tuple[dict[str, Any], ...]
    """Each row as it stands in the file."""

    @property
    def columns(self) -> list[str]:
        """All columns, in the file's order; those that only later rows have come last."""
        return list(dict.fromkeys(name for row in self.cells for name in row))


def read_answers(
    path: str | os.PathLike[str],
    prompt_column: str | None = None,
    answer_column: str | None = None,
    label_column: str | None = None,
) -> Answers:
    """The rows of a file, in its order; none is left out.

    Columns that are not named are guessed, whatever their case: PROMPT_COLUMNS, ANSWER_COLUMNS. Raises BadFile, naming
    file, row and column, for a file that cannot be read, a column that is not there (with those that are), a request or
    an answer that is no text, is longer than 100,000 characters, or holds NUL or a lone surrogate, and a label that
    says no outcome; MissingExtra for Parquet without pyarrow.
    """
    path = Path(path)
    read = read_rows(path)
    there = list(dict.fromkeys(name for row in read for name in row.cells))
    asked = _column(path, there, prompt_column, PROMPT_COLUMNS, "requests", "--prompt-column")
    said = _column(path, there, answer_column, ANSWER_COLUMNS, "answers", "--answer-column")
    if asked == said:
        raise BadFile(f"{path}: column {asked!r} cannot hold both the requests and the answers; name two columns.")
    label = "" if label_column is None else _column(path, there, label_column, (), "labels", "--label-column")
    rows = []
    for row in read:
        text = _text(path, row, asked) or ""
        id = f"request-{sha256(text.encode()).hexdigest()[:12]}" if text.strip() else f"row-{row.number}"
        columns = tuple((name, as_cell(cell)) for name, cell in row.cells.items() if name not in (asked, said))
        prompt = Prompt(id, text, path.stem, columns=columns)
        rows.append(Given(prompt, _text(path, row, said), _label(path, row, label), row.where))
    return Answers(path, tuple(rows), asked, said, label, tuple(row.cells for row in read))


def _column(
    path: Path, there: Sequence[str], wanted: str | None, guesses: Sequence[str], what: str, option: str
) -> str:
    """The column that is wanted (its case and the spaces around it may differ), or the first of the guesses that is
    there."""
    by_case = {name.strip().casefold(): name for name in reversed(there)}
    if wanted is not None and wanted in there:
        return wanted
    for guess in (wanted,) if wanted is not None else guesses:
        if guess.strip().casefold() in by_case:
            return by_case[guess.strip().casefold()]
    listed = ", ".join(repr(name) for name in there) or "none"
    if wanted is not None:
        raise BadFile(f"{path}: no column {wanted!r}; its columns: {listed}")
    raise BadFile(f"{path}: which column holds the {what}? Name it with {option}; its columns: {listed}")


def _text(path: Path, row: Row, column: str) -> str | None:
    """A cell's text, which may be blank; None for a null and for a cell that is not there."""
    value = row.cells.get(column)
    return None if value is None else check_text(path, row, column, value)


def _label(path: Path, row: Row, column: str) -> Outcome | None:
    value = row.cells.get(column) if column else None
    cell = "" if value is None else str(value).strip().casefold()
    if not cell:
        return None
    if cell in LABELS:
        return LABELS[cell]
    name = column.casefold()
    meant = "refused" if "refus" in name else "complied" if "compl" in name else None
    if meant is not None and cell in (*YES, *NO):
        other = "complied" if meant == "refused" else "refused"
        return meant if cell in YES else other
    known = ", ".join(OUTCOMES)
    raise BadFile(
        f"{path}, {row.where}, column {column!r}: {str(value)[:40]!r} is no outcome; a label says {known}, or, in a "
        f"column named after refusal or compliance, true or false; leave it empty for none"
    )
