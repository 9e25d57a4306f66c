"""A table of somebody's, with columns put beside those that it has: nothing of it is changed or left out."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from demur.errors import MissingExtra
from demur.runs.export import write_rows
from demur.runs.writing import atomic

MARK = "judged_"
"""Before the name of a column that the table has as well; more than once where it has that one too."""


def with_columns(
    source: Path, rows: Sequence[Mapping[str, Any]], columns: Mapping[str, Sequence[Any]], to: Path
) -> dict[str, str]:
    """Write a table with more columns to a file of the source's format; what each of the new ones is called there.

    source: the file that the rows were read from. columns: a value a row each. Raises OutOfRoom, BadFile.
    """
    there = {name for row in rows for name in row}
    called = {name: _free(name, there) for name in columns}
    if source.suffix.lower() == ".parquet":
        _parquet(source, {called[name]: values for name, values in columns.items()}, to)
    else:
        beside = [{called[name]: values[i] for name, values in columns.items()} for i in range(len(rows))]
        write_rows([{**row, **more} for row, more in zip(rows, beside, strict=True)], to)
    return called


def _free(name: str, there: Collection[str]) -> str:
    while name in there:
        name = MARK + name
    return name


def _parquet(source: Path, columns: Mapping[str, Sequence[Any]], to: Path) -> None:
    """The source's own table, its types untouched, with text and truth values beside."""
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError as error:
        raise MissingExtra("writing Parquet needs pyarrow: pip install 'demur[parquet]'") from error
    table = pq.read_table(source)
    for name, values in columns.items():
        kind = pa.bool_() if any(isinstance(value, bool) for value in values) else pa.string()
        table = table.append_column(name, pa.array(values, kind))
    with atomic(to) as temporary:
        pq.write_table(table, temporary)
