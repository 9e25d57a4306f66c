"""Any file with a column of requests: CSV, JSON, JSON lines or Parquet -> list[Prompt]."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from demur.errors import BadFile
from demur.prompts.rows import Row, read_rows, text_cell
from demur.types import Prompt, Use

GIVEN: tuple[Use, ...] = ("fit", "validation", "test")
"""What a row of a user's can be for."""
COLUMNS = ("prompt", "text", "instruction", "request", "question", "query", "goal", "behavior")
"""Looked for in this order, whatever their case, when no column is named."""


def read_prompts(
    path: str | os.PathLike[str],
    column: str | None = None,
    *,
    set: str | None = None,
    kind: Literal["harmful", "borderline", "plain", "unknown"] = "unknown",
    category: str | None = None,
    use: Use | None = None,
    uses: bool = False,
) -> list[Prompt]:
    """One prompt for each row of a file, in the file's order, with the text as it stands there.

    column: where the requests are; by default the only column, or the first of COLUMNS.
    set: the prompts' set, by default the file's name without suffix; ids are "<set>-<row from 1>".
    category: a column for `Prompt.category`; null and empty cells are allowed there.
    uses: take what a row is for (fit, validation, test, or nothing) from the column "use", where the file has one.

    Raises BadFile, naming file, row and column, for a file that is missing, malformed or without rows,
    a column that is not there, another use, and a request that is null, empty, longer than 100,000 characters, or
    holds NUL or a lone surrogate. Raises MissingExtra for Parquet without pyarrow.
    """
    path = Path(path)
    rows = read_rows(path)
    column = find_column(path, rows, column)
    if category is not None:
        find_column(path, rows, category)
    name = set if set is not None else path.stem
    return [
        Prompt(
            id=f"{name}-{row.number}",
            text=text_cell(path, row, column),
            set=name,
            kind=kind,
            category=str(row.cells.get(category) or "") if category is not None else "",
            use=_use(path, row) if uses else use,
        )
        for row in rows
    ]


def find_column(path: Path, rows: Sequence[Row], wanted: str | None) -> str:
    """The column to read: `wanted` itself, or one of another case; a guess when None. BadFile lists what is there."""
    there = list(rows[0].cells)
    listed = ", ".join(repr(name) for name in there) or "none"
    if wanted is not None:
        if wanted in there:
            return wanted
        alike = [name for name in there if name.casefold() == wanted.casefold()]
        if len(alike) == 1:
            return alike[0]
        raise BadFile(f"{path}: no column {wanted!r}; its columns: {listed}")
    if len(there) == 1:
        return there[0]
    for guess in COLUMNS:
        for name in there:
            if name.casefold() == guess:
                return name
    raise BadFile(f"{path}: which column holds the requests? Name one of: {listed} (FILE:COLUMN)")


def _use(path: Path, row: Row) -> Use | None:
    use = next((cell for name, cell in row.cells.items() if name.casefold() == "use"), None) or None
    if use is not None and use not in GIVEN:
        raise BadFile(f"{path}, {row.where}, column 'use': {use!r}; a row is for {', '.join(GIVEN)}, or left empty")
    return use
