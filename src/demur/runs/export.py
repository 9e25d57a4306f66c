"""A run as one flat table: JSON or Parquet, a line for each generation and judge."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from demur.errors import BadSpec, MissingExtra
from demur.runs.journal import Journal
from demur.runs.writing import atomic, write_text

COLUMNS = (
    *("run", "arm", "set", "position", "prompt", "kind", "category", "text", "attack", "messages"),
    *("prefill", "answer", "finish", "prompt_tokens", "new_tokens", "key", "judge", "version", "outcome", "detail"),
)
FORMATS = (".json", ".parquet")


def flat_rows(journal: Journal, run: str) -> list[dict[str, Any]]:
    """The run's table. A generation without a verdict has judge and outcome None; a lost one, answer None.

    A judge whose rules or band changed has a row a version: `version` is the start of its spec's digest.
    """
    rows = journal.rows(run)
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
            "text": row.prompt.text,
            "attack": row.attack,
            "messages": json.dumps([[message.role, message.content] for message in messages]),
            "prefill": answer.conversation.prefill if answer else None,
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
            flat.append({**about, "judge": judge, "version": version, "outcome": outcome, "detail": detail})
    return flat


def export_run(journal: Journal, run: str, path: str | Path) -> Path:
    """Write the run's table to `path`, by its ending: .json or .parquet (extra `parquet`)."""
    path = Path(path)
    if path.suffix not in FORMATS:
        raise BadSpec(f"cannot export to {path.name!r}; known endings: {', '.join(FORMATS)}")
    rows = flat_rows(journal, run)
    if path.suffix == ".json":
        return write_text(path, json.dumps(rows, indent=1, ensure_ascii=False) + "\n")
    return _write_parquet(rows, path)


def _write_parquet(rows: list[dict[str, Any]], path: Path) -> Path:
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError as error:
        raise MissingExtra("writing Parquet needs pyarrow: pip install 'demur[parquet]'") from error
    counts = ("position", "prompt_tokens", "new_tokens")
    schema = pa.schema([(name, pa.int64() if name in counts else pa.string()) for name in COLUMNS])
    safe = [{name: _utf8(value) for name, value in row.items()} for row in rows]
    with atomic(path) as temporary:
        pq.write_table(pa.Table.from_pylist(safe, schema=schema), temporary)
    return path


def _utf8(value: Any) -> Any:
    """Parquet's strings are UTF-8; a lone surrogate becomes its \\udXXX escape."""
    return value.encode("utf-8", "backslashreplace").decode() if isinstance(value, str) else value
