"""How many rows a journal must hold, so that rows which are gone are missed.

A row's own hash says nothing once the row is away: a damaged page may list fewer rows than it has, and SQLite drops
every commit behind a damaged place in the write-ahead log. So the journal counts: `totals` has the rows of each
content-addressed table and the commits so far, `places` the positions of each arm and set of a run. The commits stand
in a small file beside the journal too, as long as there is a write-ahead log: what that file says was acknowledged.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

COMMITS = "commits"
SCHEMA = (
    "CREATE TABLE IF NOT EXISTS totals (name TEXT PRIMARY KEY, rows INTEGER) WITHOUT ROWID",
    # Positions first to last - 1 are linked.
    "CREATE TABLE IF NOT EXISTS places (run TEXT, arm TEXT, [set] TEXT, first INTEGER, last INTEGER,"
    " PRIMARY KEY (run, arm, [set])) WITHOUT ROWID",
)
LINKED = (
    "INSERT INTO places {} ON CONFLICT (run, arm, [set]) DO UPDATE SET first = min(first, excluded.first),"
    " last = max(last, excluded.last)"
)
"""Adds places; {}: VALUES or a SELECT."""


def recount(connection: sqlite3.Connection, tables: Iterable[str]) -> None:
    """Take what is there as all there is; places that are known stay known. Inside a transaction."""
    for table in tables:
        connection.execute(f"INSERT OR REPLACE INTO totals SELECT '{table}', count(*) FROM {table}")
    connection.execute("INSERT OR IGNORE INTO totals VALUES (?, 0)", [COMMITS])
    connection.execute(LINKED.format("SELECT run, arm, [set], min(position), max(position) + 1 FROM run_rows"
                                     " GROUP BY run, arm, [set]"))  # fmt: skip


def counted(connection: sqlite3.Connection, table: str, new: int) -> None:
    """Note that a table has so many rows more. Inside a transaction."""
    connection.execute("UPDATE totals SET rows = rows + ? WHERE name = ?", [new, table])


def commits(connection: sqlite3.Connection) -> int:
    """How many transactions were committed."""
    found = connection.execute("SELECT rows FROM totals WHERE name = ?", [COMMITS]).fetchone()
    return found[0] if found else 0


def missing(connection: sqlite3.Connection, tables: Iterable[str]) -> list[str]:
    """What does not add up, in words: tables with other numbers of rows than were counted.

    SQLite counts rows by the headers of its pages alone, so that this takes milliseconds.
    """
    there = {table: _count(connection, f"SELECT count(*) FROM {table}") for table in (*tables, "run_rows")}
    wanted = dict(connection.execute("SELECT name, rows FROM totals"))
    wanted["run_rows"] = _count(connection, "SELECT coalesce(sum(last - first), 0) FROM places")
    return [f"{table}: {there[table]} rows, but {wanted.get(table)} were stored" for table in there
            if there[table] != wanted.get(table)]  # fmt: skip


def _count(connection: sqlite3.Connection, sql: str) -> int:
    return connection.execute(sql).fetchone()[0]


class Acknowledged:
    """The file with the number of commits that were acknowledged. It outlives a kill, like the write-ahead log.

    It is written after each commit and never flushed: after a power cut it may say too few, never too many.
    """

    def __init__(self, journal: Path) -> None:
        self.path, self.log = Path(f"{journal}.commits"), Path(f"{journal}-wal")
        self._handle: int | None = None

    def read(self) -> int:
        """The number; 0 where there is none."""
        try:
            return int(self.path.read_bytes())
        except (OSError, ValueError):
            return 0

    def write(self, number: int) -> None:
        """Note a number of commits."""
        if self._handle is None:
            self._handle = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o644)
        os.pwrite(self._handle, b"%020d" % number, 0)

    def close(self) -> None:
        """Once the write-ahead log is gone the journal stands by itself, and the file is removed."""
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None
            if not self.log.exists():
                with suppress(OSError):
                    self.path.unlink()
