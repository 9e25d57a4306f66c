"""A run as one flat table: CSV, JSON, JSON lines or Parquet, a line for each generation and judge."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Collection
from pathlib import Path
from typing import Any

from demur.errors import BadSpec, InputError, MissingExtra
from demur.runs.journal import Journal
from demur.runs.writing import atomic, write_text

COLUMNS = (
    *("run", "arm", "set", "position", "prompt", "kind", "category", "topic", "text", "attack", "messages"),
    *(
        "prefill",
        "reasoning",
        "answer",
        "finish",
        "prompt_tokens",
        "new_tokens",
        "key",
        "judge",
        "version",
        "outcome",
        "detail",
    ),
)
"""Those of every export; behind them stand the columns of the user's own prompt files."""
OWN = "own_"
"""Before the name of a user's column that is one of COLUMNS too; more than once where the user has that one as well."""
FORMATS = (".csv", ".json", ".jsonl", ".parquet")
COUNTS = ("position", "prompt_tokens", "new_tokens")


def flat_rows(journal: Journal, run: str) -> list[dict[str, Any]]:
    """The run's table. A generation without a verdict has judge and outcome None; a lost one, answer None.

    A judge whose rules or band changed has a row a version: `version` is the start of its spec's digest. Every row has
    the columns of the user's prompt files, None where its own file has them not.
    """
    rows = journal.rows(run)
    own = _named(dict.fromkeys(name for row in rows for name, _ in row.prompt.columns))
    judged = journal.verdicts_of(row.key for row in rows)
    flat = []
    for row in rows:
        answer = row.generation
        messages = answer.conversation.messages if answer else ()
        about = {
            "run": run,
            "arm": row.arm,
            "set": row.set,
            "position": row.position,
            "prompt": row.prompt.id,
            "kind": row.prompt.kind,
            "category": row.prompt.category,
            "topic": row.prompt.topic,
            "text": row.prompt.text,
            "attack": row.attack,
            "messages": json.dumps([[message.role, message.content] for message in messages]),
            "prefill": answer.conversation.prefill if answer else None,
            "reasoning": answer.reasoning if answer else None,
            "answer": answer.text if answer else None,
            "finish": answer.finish if answer else None,
            "prompt_tokens": answer.prompt_tokens if answer else None,
            "new_tokens": len(answer.tokens) if answer else None,
            "key": row.key,
        }
        for verdict in judged[row.key] or [None]:
            detail = json.dumps(dict(verdict.detail), sort_keys=True) if verdict else None
            judge, outcome = (verdict.judge, verdict.outcome) if verdict else (None, None)
            version = str(verdict.detail["version"]) if verdict and "version" in verdict.detail else None
            said = {"judge": judge, "version": version, "outcome": outcome, "detail": detail}
            cells = dict(row.prompt.columns)
            flat.append({**about, **said, **{called: cells.get(name) for name, called in own.items()}})
    return flat


def _named(own: Collection[str]) -> dict[str, str]:
    """What each of a user's columns is called in an export."""
    named = {}
    for name in own:
        called = name
        while called in COLUMNS or (called != name and called in own):
            called = OWN + called
        named[name] = called
    return named


def check_format(path: str | Path) -> None:
    """BadSpec for a file whose ending names no format."""
    if Path(path).suffix.lower() not in FORMATS:
        raise BadSpec(f"cannot export to {Path(path).name!r}; known endings: {', '.join(FORMATS)}")


def export_run(journal: Journal, run: str, path: str | Path) -> Path:
    """Write the run's table to `path`, by its ending: .csv, .json, .jsonl, or .parquet (extra `parquet`).

    Raises InputError for a run without answers: places are listed when it has finished a part.
    """
    path = Path(path)
    check_format(path)
    rows = flat_rows(journal, run)
    if not rows:
        raise InputError(f"run {run[:12]} has no answers to export yet; run its command again, and it goes on.")
    if path.suffix.lower() == ".parquet":
        return _write_parquet(rows, path)
    return write_rows(rows, path)


def write_rows(rows: list[dict[str, Any]], path: Path) -> Path:
    """Write rows of the same columns as .csv, .json or .jsonl, by the ending."""
    ending = path.suffix.lower()
    if ending == ".csv":
        return write_text(path, _csv(rows))
    if ending == ".jsonl":
        return write_text(path, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
    return write_text(path, json.dumps(rows, indent=1, ensure_ascii=False) + "\n")


def _columns(rows: list[dict[str, Any]]) -> list[str]:
    return list(rows[0]) if rows else list(COLUMNS)


def _csv(rows: list[dict[str, Any]]) -> str:
    """A header and a line a row; what is not there is an empty cell."""
    out = io.StringIO(newline="")
    writer = csv.DictWriter(out, _columns(rows), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue()


def _write_parquet(rows: list[dict[str, Any]], path: Path) -> Path:
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError as error:
        raise MissingExtra("writing Parquet needs pyarrow: pip install 'demur[parquet]'") from error
    types = {name: pa.int64() if name in COUNTS else pa.string() for name in COLUMNS}
    kinds = {int: pa.int64(), float: pa.float64(), bool: pa.bool_()}
    for name in _columns(rows)[len(COLUMNS) :]:
        held = {type(row[name]) for row in rows if row[name] is not None}
        kind = float if held == {int, float} else next(iter(held)) if len(held) == 1 else str
        if kind is int and any(abs(row[name]) >= 1 << 63 for row in rows if row[name] is not None):
            kind = str
        types[name] = kinds.get(kind, pa.string())
    safe = [{name: _utf8(str(cell) if types[name] == pa.string() and cell is not None else cell)
             for name, cell in row.items()} for row in rows]  # fmt: skip
    with atomic(path) as temporary:
        pq.write_table(pa.Table.from_pylist(safe, schema=pa.schema(list(types.items()))), temporary)
    return path


def _utf8(value: Any) -> Any:
    """Parquet's strings are UTF-8; a lone surrogate becomes its \\udXXX escape."""
    return value.encode("utf-8", "backslashreplace").decode() if isinstance(value, str) else value
