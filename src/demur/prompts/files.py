"""Any file with a column of requests: CSV, JSON, JSON lines or Parquet -> list[Prompt]."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, TypeAlias

from demur.errors import BadFile
from demur.prompts.rows import Row, read_rows, text_cell
from demur.types import Prompt, Use

Kind: TypeAlias = Literal["harmful", "borderline", "plain", "unknown"]
KINDS: dict[str, Kind] = {
    "harmful": "harmful", "borderline": "borderline", "plain": "plain", "harmless": "plain", "": "unknown",
    "unknown": "unknown",
}  # fmt: skip
"""What a cell of a column "kind" may say -> the kind."""
GIVEN: tuple[Use, ...] = ("fit", "validation", "test")
"""What a row of a user's can be for."""
COLUMNS = ("prompt", "text", "instruction", "request", "question", "query", "goal", "behavior")
"""Looked for in this order, whatever their case, when no column is named."""


def read_prompts(
    path: str | os.PathLike[str],
    column: str | None = None,
    *,
    set: str | None = None,
    kind: Kind = "unknown",
    category: str | None = None,
    use: Use | None = None,
    uses: bool = False,
) -> list[Prompt]:
    """One prompt for each row of a file, in the file's order, with the text as it stands there.

    column: where the requests are; by default the only column, or the first of COLUMNS.
    set: the prompts' set, by default the file's name without suffix.
    kind: of all; "unknown" takes a column "kind" that holds nothing but kinds (harmless is plain).
    category: a column for `Prompt.category`, by default "category"; null and empty cells are allowed there.
    uses: take what a row is for (fit, validation, test, or nothing) from the column "use", where the file has one.

    A column "id" gives the ids, which are otherwise "<set>-<row from 1>", a column "topic" the topics. All other
    columns are kept as they are, in `Prompt.columns`.

    Raises BadFile, naming file, row and column, for a file that is missing, malformed or without rows,
    a column that is not there, another use, an id that is empty or stands there twice, and a request that is null,
    empty, longer than 100,000 characters, or holds NUL or a lone surrogate. Raises MissingExtra for Parquet without
    pyarrow.
    """
    path = Path(path)
    rows = read_rows(path)
    column = find_column(path, rows, column)
    there = {name.casefold(): name for name in reversed(list(rows[0].cells)) if name != column}
    if category is not None:
        category = find_column(path, rows, category)
    category = category if category is not None else there.get("category")
    kinds = _kinds(rows, there.get("kind")) if kind == "unknown" and category != there.get("kind", "") else None
    name = set if set is not None else path.stem
    ids = _ids(path, rows, there.get("id"), name)
    told = [("id", True), ("kind", kinds is not None), ("topic", True), ("use", uses)]
    taken = {column, category, *(there.get(field) for field, is_taken in told if is_taken)}
    return [
        Prompt(
            id=ids[i],
            text=text_cell(path, row, column),
            set=name,
            kind=kind if kinds is None else kinds[i],
            category=_text(row.cells.get(category)) if category is not None else "",
            topic=_text(row.cells.get(there["topic"])) if "topic" in there else "",
            use=_use(path, row) if uses else use,
            columns=tuple((key, as_cell(cell)) for key, cell in row.cells.items() if key not in taken),
        )
        for i, row in enumerate(rows)
    ]


def _ids(path: Path, rows: Sequence[Row], column: str | None, name: str) -> list[str]:
    """Each row's id."""
    if column is None:
        return [f"{name}-{row.number}" for row in rows]
    seen: dict[str, Row] = {}
    for row in rows:
        id = _text(row.cells.get(column)).strip()
        if not id or id in seen:
            what = f"{id!r} stands in {seen[id].where} too" if id else "empty"
            raise BadFile(f"{path}, {row.where}, column {column!r}: {what}; give each row its own id, or rename the "
                          f"column.")  # fmt: skip
        seen[id] = row
    return list(seen)


def _kinds(rows: Sequence[Row], column: str | None) -> list[Kind] | None:
    """Each row's kind, where a column holds nothing else."""
    cells = [_text(row.cells.get(column)).strip().casefold() for row in rows] if column is not None else []
    return [KINDS[cell] for cell in cells] if cells and all(cell in KINDS for cell in cells) else None


def _text(cell: Any) -> str:
    return "" if cell is None else str(cell)


def as_cell(cell: Any) -> str | int | float | bool | None:
    """A cell as JSON and a table can hold it: what is no text, number or truth value becomes text."""
    if cell is None or isinstance(cell, (str, bool, int)) or (isinstance(cell, float) and math.isfinite(cell)):
        return cell
    return json.dumps(cell, ensure_ascii=False, default=str) if isinstance(cell, (dict, list)) else str(cell)


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
