"""SQLite, kept honest: one writer, rows that carry their sha256, errors in demur's words.

Every table is WITHOUT ROWID, so key and payload stand together in one B-tree: no index can point
at another row. Text comes back with `surrogateescape`, so a damaged byte is seen by the hash; that rows
are gone, by their number (runs/totals.py).
"""

from __future__ import annotations

import hashlib
import logging
import os
import shutil
import sqlite3
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from demur.errors import BadFile, BadSpec, DemurError, OutOfRoom
from demur.runs import totals
from demur.runs.writing import FULL

log = logging.getLogger(__name__)

APPLICATION = 0x64656D72
"""SQLite's application_id: "demr"."""
VERSION = 2
"""1 had no totals; it is read, and counted when it is next written to."""
CONTENT = ("prompts", "generations", "verdicts", "scores")
"""Content-addressed tables: key -> payload."""
COUNTED = (*CONTENT, "runs")
CHUNK = 500

SCHEMA = (
    *(f"CREATE TABLE {table} (key TEXT PRIMARY KEY, payload TEXT, sha256 TEXT) WITHOUT ROWID" for table in CONTENT),
    "CREATE TABLE runs (id TEXT PRIMARY KEY, name TEXT, spec TEXT, created TEXT, finished TEXT,"
    " seconds REAL, status TEXT, sha256 TEXT) WITHOUT ROWID",
    "CREATE TABLE run_rows (run TEXT, arm TEXT, [set] TEXT, position INTEGER, key TEXT, prompt TEXT,"
    " sha256 TEXT, PRIMARY KEY (run, arm, [set], position)) WITHOUT ROWID",
    f"PRAGMA application_id = {APPLICATION}",
)


class Store:
    """One SQLite file. `damaged` names each stored row whose hash did not hold, and what else is missed."""

    def __init__(self, path: str | Path, *, readonly: bool = False) -> None:
        self.path = Path(path)
        self.damaged: list[str] = []
        self._lock: sqlite3.Connection | None = None
        self._copy: tempfile.TemporaryDirectory[str] | None = None
        self._acknowledged = totals.Acknowledged(self.path)
        self._commits = 0
        with self._speaking():
            if "\0" in str(self.path):
                raise BadFile(f"no file can have the name {str(path)!r}; choose another path")
            if readonly and not os.path.exists(self.path):
                raise BadFile(f"no journal at {self.path}; give the path that the run wrote to")
            if not readonly:
                self.path.parent.mkdir(parents=True, exist_ok=True)
                self._lock = self._claim()
            try:
                self._connection = self._readable() if readonly else self._writable()
            except BaseException:
                self._release()
                raise

    def close(self) -> None:
        """Close the file and let the next writer in. Nothing is lost without it."""
        self._connection.close()
        self._release()

    @property
    def written(self) -> float:
        """When the file, or its write-ahead log, was last written, in seconds since 1970."""
        return max(path.stat().st_mtime for path in (self.path, self._acknowledged.log) if path.exists())

    def miss(self, name: str, then: str = "what is missing will be computed again") -> None:
        """Say, once, that a stored thing is damaged or gone."""
        if name not in self.damaged:
            self.damaged.append(name)
            log.warning("%s is damaged: %s; %s", self.path, name, then)

    def miss_places(self, run: str, there: Iterable[tuple[str, str]]) -> None:
        """Say which arms and sets of a run have lost some of their positions; there: arm and set of each that is."""
        if self.query("SELECT 1 FROM sqlite_master WHERE name = 'places'"):
            found = Counter(there)
            wanted = self.query("SELECT arm, [set], last - first FROM places WHERE run = ?", [run])
            for arm, name, number in wanted:
                if lost := number - found[arm, name]:
                    self.miss(f"run_rows: '{run}' {arm!a} {name!a}: {lost} of {number} places are lost")

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """All of it or nothing; when this returns, what was written survives kill -9 and power loss."""
        with self._speaking():
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield self._connection
                totals.counted(self._connection, totals.COMMITS, 1)
                self._connection.execute("COMMIT")
            except BaseException:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise
            self._commits += 1
            self._acknowledged.write(self._commits)

    @contextmanager
    def moment(self) -> Iterator[None]:
        """What is read inside is of one moment, whatever is written meanwhile."""
        with self._speaking(), _reading(self._connection):
            yield

    def query(self, sql: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """All rows of a SELECT."""
        with self._speaking():
            return self._connection.execute(sql, values).fetchall()

    def get(self, table: str, keys: Iterable[str]) -> dict[str, str]:
        """Key -> payload for those keys that are stored whole."""
        return dict(self.whole(table, self._stored(table, keys)))

    def all(self, table: str) -> dict[str, str]:
        """Key -> payload for every row that is stored whole."""
        return dict(self.whole(table, self.query(f"SELECT key, payload, sha256 FROM {table}")))

    def put(self, table: str, payloads: Mapping[str, str]) -> int:
        """Store what is not there yet, in one transaction; how many were new.

        A row that is there and whole is kept as it is; a damaged one is replaced.
        """
        with self.transaction() as connection:
            stored = self._stored(table, payloads)
            known = dict(self.whole(table, stored))
            new = [(key, payload, seal(table, key, payload)) for key, payload in payloads.items() if key not in known]
            connection.executemany(f"INSERT OR REPLACE INTO {table} VALUES (?, ?, ?)", new)
            totals.counted(connection, table, len(payloads) - len(stored))
        return len(new)

    def whole(self, table: str, rows: Iterable[tuple[Any, ...]]) -> Iterator[tuple[Any, ...]]:
        """The rows whose last column is the seal of the others, without it; the rest are reported."""
        for *values, sha256 in rows:
            if sha256 == seal(table, *values):
                yield tuple(values)
            else:
                place = values[: 4 if table == "run_rows" else 1]
                self.miss(f"{table}: {' '.join(ascii(value)[:80] for value in place)}")

    def _stored(self, table: str, keys: Iterable[str]) -> list[tuple[Any, ...]]:
        """The rows of these keys, damaged ones too."""
        wanted = list(dict.fromkeys(keys))
        found: list[tuple[Any, ...]] = []
        for start in range(0, len(wanted), CHUNK):
            part = wanted[start : start + CHUNK]
            marks = ",".join("?" * len(part))
            found += self.query(f"SELECT key, payload, sha256 FROM {table} WHERE key IN ({marks})", part)
        return found

    def _readable(self) -> sqlite3.Connection:
        """Read alone; also where nothing can be written, which SQLite's shared memory wants to be."""
        address = self.path.resolve().as_uri()
        try:
            return self._open(f"{address}?mode=ro", readonly=True)
        except sqlite3.OperationalError as error:
            if not getattr(error, "sqlite_errorname", "").startswith(("SQLITE_CANTOPEN", "SQLITE_READONLY")):
                raise
        if not _size(self._acknowledged.log):
            return self._open(f"{address}?immutable=1", readonly=True)
        # A run that was killed: its last rows are in the write-ahead log, which is read where it can be.
        self._copy = tempfile.TemporaryDirectory(prefix="demur-")
        copy = Path(self._copy.name) / "journal"
        shutil.copyfile(self.path, copy)
        shutil.copyfile(self._acknowledged.log, f"{copy}-wal")
        return self._open(copy.as_uri(), readonly=True)

    def _writable(self) -> sqlite3.Connection:
        return self._open(self.path.absolute().as_uri(), readonly=False)

    def _open(self, address: str, readonly: bool) -> sqlite3.Connection:
        acknowledged = self._acknowledged.read()  # before the journal: a writer may be at work
        connection = sqlite3.connect(address, uri=True, isolation_level=None)
        try:
            connection.text_factory = lambda raw: raw.decode("utf-8", "surrogateescape")
            tables = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
            application = connection.execute("PRAGMA application_id").fetchone()[0]
            version = connection.execute("PRAGMA user_version").fetchone()[0]
            if tables and application != APPLICATION:
                raise BadFile(f"{self.path} is a database, but no journal of demur's; choose another path")
            if tables and version not in (1, VERSION):
                raise BadFile(f"{self.path} has journal version {version}, this demur {VERSION}; choose another path")
            if readonly and not tables:
                raise BadFile(f"{self.path} is empty; give the path that the run wrote to")
            if not readonly:
                connection.execute("PRAGMA journal_mode = WAL")
                connection.execute("PRAGMA synchronous = FULL")
                if not tables or version < VERSION:
                    _make(connection, () if tables else SCHEMA)
            if not readonly or version == VERSION:
                self._check(connection, acknowledged, readonly)
        except BaseException:
            connection.close()
            raise
        return connection

    def _check(self, connection: sqlite3.Connection, acknowledged: int, readonly: bool) -> None:
        """Say what is gone. A writer goes on from what is there; a run's places stay missed until they are back."""
        then = "what is left is shown" if readonly else "what is missing will be computed again"
        with _reading(connection):
            self._commits = totals.commits(connection)
            wrong = totals.missing(connection, COUNTED)
        if (lost := acknowledged - self._commits) > 0:
            self.miss(f"the last {lost} of {acknowledged} commits are lost", then)
        for name in wrong:
            self.miss(name, then)
        if not readonly:
            if wrong:
                connection.execute("BEGIN IMMEDIATE")
                totals.recount(connection, COUNTED)
                connection.execute("COMMIT")
            self._acknowledged.write(self._commits)

    def _claim(self) -> sqlite3.Connection:
        """Hold a lock that the system lets go of when the process dies, whatever it dies of."""
        lock = sqlite3.connect(f"{self.path}.writer", isolation_level=None, timeout=0.2)
        try:
            lock.execute("BEGIN EXCLUSIVE")
        except BaseException:
            lock.close()
            raise
        return lock

    def _release(self) -> None:
        self._acknowledged.close()
        if self._copy is not None:
            self._copy.cleanup()
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    @contextmanager
    def _speaking(self) -> Iterator[None]:
        """SQLite's errors in demur's words."""
        try:
            yield
        except OSError as error:
            if error.errno in FULL:
                raise OutOfRoom(f"no room for journal {self.path}: free space, run again") from error
            raise BadFile(f"cannot open journal {self.path}: {error.strerror}; choose another path") from error
        except UnicodeEncodeError as error:
            raise BadSpec(f"{error.object[:80]!a} holds a lone surrogate; name it in proper Unicode") from error
        except UnicodeDecodeError as error:  # sqlite3 fails on its own message when a name in the file is damaged
            raise self._broken(error) from error
        except sqlite3.Error as error:
            raise self._translated(error) from error

    def _translated(self, error: sqlite3.Error) -> DemurError:
        name = getattr(error, "sqlite_errorname", "")
        unwritten = name.startswith(("SQLITE_IOERR_WRITE", "SQLITE_IOERR_FSYNC", "SQLITE_IOERR_TRUNCATE"))
        if name == "SQLITE_FULL" or unwritten or (name.startswith("SQLITE_IOERR") and self._crowded()):
            return OutOfRoom(
                f"no room left for journal {self.path}; what was acknowledged is kept: free space, run again"
            )
        if name.startswith("SQLITE_BUSY") or name.startswith("SQLITE_LOCKED"):
            return DemurError(
                f"journal {self.path} is being written by another process; wait for it or choose another path"
            )
        if name.startswith("SQLITE_CANTOPEN") or name.startswith("SQLITE_READONLY"):
            if self._crowded():
                return OutOfRoom(f"no room to open journal {self.path}: free space, run again")
            return BadFile(f"cannot open journal {self.path}: {error}; choose a folder you may write")
        return self._broken(error)

    def _broken(self, error: Exception) -> BadFile:
        return BadFile(
            f"journal {self.path} is damaged or no SQLite file ({error}); save what can be read with "
            f"`sqlite3 {self.path} .recover`, move it away, and run again"
        )

    def _crowded(self) -> bool:
        return shutil.disk_usage(self.path.parent).free < 1 << 20


def _make(connection: sqlite3.Connection, schema: Sequence[str]) -> None:
    """The tables that are not there yet, all or none."""
    connection.execute("BEGIN IMMEDIATE")
    for statement in (*schema, *totals.SCHEMA, f"PRAGMA user_version = {VERSION}"):
        connection.execute(statement)
    totals.recount(connection, COUNTED)
    connection.execute("COMMIT")


@contextmanager
def _reading(connection: sqlite3.Connection) -> Iterator[None]:
    """One read transaction. Without it each statement sees what was committed by then."""
    connection.execute("BEGIN")
    try:
        yield
    finally:
        if connection.in_transaction:  # some errors end it
            connection.execute("ROLLBACK")


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def seal(table: str, *values: Any) -> str:
    """sha256 over a row: its table, and each value with its type and length."""
    total = hashlib.sha256(table.encode())
    for value in values:
        raw = value if isinstance(value, bytes) else str(value).encode("utf-8", "surrogatepass")
        total.update(f"|{type(value).__name__}:{len(raw)}:".encode() + raw)
    return total.hexdigest()
