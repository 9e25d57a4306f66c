"""A file of rows -> dicts: CSV, JSON, JSON lines and Parquet, read strictly.

Everything that is wrong with a file is a `BadFile` that names the file, the row and, where there is
one, the column. UTF-8 with or without a byte order mark; lines may end in CRLF.
"""

from __future__ import annotations

import csv
import io
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from demur.errors import BadFile, MissingExtra
from demur.runs.strict import read_json

LONGEST = 100_000
"""Characters in one cell. Longer ones are nearly always a missing quote or the wrong file."""

SUFFIXES = (".csv", ".json", ".jsonl", ".parquet")


@dataclass(frozen=True)
class Row:
    """One row; `number` counts data rows from 1, the header left out, and `where` names it in messages."""

    number: int
    where: str
    cells: dict[str, Any]


def read_rows(path: Path) -> list[Row]:
    """All rows of a file. BadFile when it is missing, empty or malformed; MissingExtra for Parquet
    without pyarrow. A row of JSON that is bare text becomes {"text": ...}.
    """
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise BadFile(f"{path}: cannot read {suffix or 'a file without suffix'}; known: {', '.join(SUFFIXES)}")
    if not os.path.isfile(path):  # False for names that no file can have, where pathlib raises
        what = "a folder, not a file" if os.path.isdir(path) else f"no such file (looked in {path.absolute().parent})"
        raise BadFile(f"{path}: {what}")
    if suffix == ".parquet":
        rows = list(_parquet(path))
    else:
        text, wrong = _text(path)
        try:
            with _any_length(text):
                rows = list({".csv": _csv, ".json": _json, ".jsonl": _jsonl}[suffix](path, text))
        except BadFile as e:
            raise wrong or e from e
        if wrong is not None:
            raise _not_utf_8(path, rows) or wrong
    if not rows:
        raise BadFile(f"{path}: no rows")
    return rows


def text_cell(path: Path, row: Row, column: str) -> str:
    """The text in a column of a row; BadFile when it is absent, null, not text, blank, too long or not clean."""
    at = f"{path}, {row.where}, column {column!r}"
    if column not in row.cells:
        raise BadFile(f"{at}: missing; this row has {_list(row.cells)}")
    value = row.cells[column]
    if value is None:
        raise BadFile(f"{at}: null; every row needs text")
    if not check_text(path, row, column, value).strip():
        raise BadFile(f"{at}: empty; every row needs text")
    return value


def check_text(path: Path, row: Row, column: str, value: Any) -> str:
    """A cell that may be blank; BadFile when it is not text, too long or not clean."""
    at = f"{path}, {row.where}, column {column!r}"
    if not isinstance(value, str):
        raise BadFile(f"{at}: not text but {type(value).__name__} ({str(value)[:40]!r})")
    if len(value) > LONGEST:
        raise BadFile(f"{at}: {len(value):,} characters; at most {LONGEST:,} (is a quote missing above?)")
    if "\0" in value:
        raise BadFile(f"{at}: NUL character at position {value.index(chr(0))}; remove it")
    try:
        value.encode("utf-8")
    except UnicodeEncodeError as e:
        raise BadFile(f"{at}: lone surrogate U+{ord(value[e.start]):04X} at position {e.start}; repair the text") from e
    return value


def _text(path: Path) -> tuple[str, BadFile | None]:
    """A file's text, and what to say of the first byte that is not UTF-8; such bytes are lone surrogates in it."""
    try:
        data = path.read_bytes()
    except OSError as e:
        raise BadFile(f"{path}: cannot be read: {e.strerror}") from e
    try:
        return data.decode("utf-8-sig"), None
    except UnicodeDecodeError as e:
        said = f"{path}, line {data.count(10, 0, e.start) + 1}: byte 0x{data[e.start]:02x}"
        return data.decode("utf-8-sig", "surrogateescape"), BadFile(f"{said} is not UTF-8; save the file as UTF-8")


def _not_utf_8(path: Path, rows: list[Row]) -> BadFile | None:
    """The first cell, with its row and column, that holds such a byte."""
    for row in rows:
        for name, cell in row.cells.items():
            if isinstance(cell, str) and (found := re.search("[\udc80-\udcff]", cell)):
                byte, at = ord(found[0]) - 0xDC00, f"{path}, {row.where}, column {name!r}"
                return BadFile(f"{at}: byte 0x{byte:02x} is not UTF-8; save the file as UTF-8")
    return None


@contextmanager
def _any_length(text: str) -> Iterator[None]:
    """The csv module has one limit for the cells of all readers; here too long ones are named with their column."""
    before = csv.field_size_limit(max(csv.field_size_limit(), len(text) + 1))
    try:
        yield
    finally:
        csv.field_size_limit(before)


def _csv(path: Path, text: str) -> Iterator[Row]:
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    header: list[str] | None = None
    number, start = 0, 1
    while True:
        try:
            cells = next(reader, None)
        except csv.Error as e:
            where = f"data row {number + 1} (line {start})" if header else f"line {start}, the header"
            raise BadFile(f"{path}, {where}: {e}; is a quote missing or unescaped?") from e
        if cells is None:
            return
        line, start = start, reader.line_num + 1
        if not cells:
            continue
        if header is None:
            header = cells
            twice = sorted({name for name in cells if cells.count(name) > 1})
            if twice:
                raise BadFile(f"{path}, line {line}, the header: column {twice[0]!r} stands there twice")
            mark = next((mark for mark in (";", "\t") if len(cells) == 1 and mark in cells[0]), "")
            if mark:
                raise BadFile(
                    f"{path}, line {line}, the header: {cells[0]!r} holds {mark!r} and no comma; "
                    "cells are separated by commas, so save the file with commas"
                )
            continue
        number += 1
        where = f"data row {number} (line {line})"
        if len(cells) != len(header):
            raise BadFile(f"{path}, {where}: {len(cells)} cells, but the header has {len(header)}: {_list(header)}")
        for name, cell in zip(header, cells, strict=True):
            if len(cell) > LONGEST:
                raise BadFile(
                    f"{path}, {where}, column {name!r}: {len(cell):,} characters; at most {LONGEST:,} "
                    "(is a quote missing above?)"
                )
        yield Row(number, where, dict(zip(header, cells, strict=True)))


def _json(path: Path, text: str) -> Iterator[Row]:
    data = _parse(text, str(path))
    if not isinstance(data, list):
        raise BadFile(f"{path}: holds {_kind(data)}; a list of objects is needed")
    for number, value in enumerate(data, 1):
        yield _row(path, number, f"row {number}", value)


def _jsonl(path: Path, text: str) -> Iterator[Row]:
    number = 0
    # NOTE not splitlines(): JSON strings may hold U+2028 and its like.
    for line, content in enumerate(text.split("\n"), 1):
        if content.strip():
            number += 1
            where = f"row {number} (line {line})"
            yield _row(path, number, where, _parse(content, f"{path}, {where}"))


def _parquet(path: Path) -> Iterator[Row]:
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError as e:
        raise MissingExtra(f"{path}: reading Parquet needs pyarrow: pip install 'demur[parquet]'") from e
    try:
        table = pq.read_table(path)
        columns = {name: _cells(path, name, table[name]) for name in table.column_names}
    except (OSError, ValueError, LookupError, pa.ArrowException) as e:
        raise BadFile(f"{path}: not a readable Parquet file: {e}") from e
    for number, cells in enumerate(zip(*columns.values(), strict=True), 1):
        yield Row(number, f"row {number}", dict(zip(columns, cells, strict=True)))


def _cells(path: Path, name: str, column: Any) -> list[Any]:
    """A Parquet column's values. BadFile, naming row and column, for one that Python has no value for, as a date."""
    try:
        return column.to_pylist()
    except (ValueError, OverflowError):
        for number, cell in enumerate(column, 1):
            try:
                cell.as_py()
            except (ValueError, OverflowError) as e:
                raise BadFile(
                    f"{path}, row {number}, column {name!r}: cannot be read ({e}); leave the column out"
                ) from e
        raise


def _row(path: Path, number: int, where: str, value: Any) -> Row:
    if isinstance(value, str):
        return Row(number, where, {"text": value})
    if not isinstance(value, dict):
        raise BadFile(f"{path}, {where}: {_kind(value)}; an object with a text column is needed")
    return Row(number, where, value)


def _parse(text: str, where: str) -> Any:
    try:
        return read_json(text)
    except ValueError as e:
        raise BadFile(f"{where}: not valid JSON: {e}") from e


def _kind(value: Any) -> str:
    names = {dict: "an object", list: "a list", str: "text", bool: "a boolean", int: "a number", float: "a number"}
    return names.get(type(value), "null")


def _list(names: Any) -> str:
    return ", ".join(repr(name) for name in names) or "nothing"
