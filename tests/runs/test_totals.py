"""Rows that are gone, and commits that are gone, are missed: a row's own hash cannot say that it is away."""

import logging
import os
import random
import shutil
import sqlite3
import struct
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest

from demur.errors import BadFile
from demur.runs import export_run
from demur.runs.journal import Journal

PAGE = 4096


def written(path, answers, sets=6):
    """A journal of a run with `sets` sets of these answers; gives the run."""
    with Journal(path) as journal:
        run = journal.start_run({"a": 1}, "mine")
        journal.add_generations(answers)
        for number in range(sets):
            journal.link(run, "unsteered", f"set {number}", answers)
    return run


def leaves(path, table) -> list[int]:
    """Where the header of each leaf page of a table begins in the file."""
    with sqlite3.connect(path) as raw:
        (root,) = raw.execute("SELECT rootpage FROM sqlite_master WHERE name = ?", [table]).fetchone()
    raw.close()
    data, found, left = path.read_bytes(), [], [root]
    while left:
        start = (left.pop() - 1) * PAGE
        if data[start] == 10:
            found.append(start)
            continue
        (cells,) = struct.unpack(">H", data[start + 3 : start + 5])
        left.append(struct.unpack(">I", data[start + 8 : start + 12])[0])
        for i in range(cells):
            at = start + struct.unpack(">H", data[start + 12 + 2 * i : start + 14 + 2 * i])[0]
            left.append(struct.unpack(">I", data[at : at + 4])[0])
    return found


def one_less(path, start) -> None:
    """Lower a page's number of cells by one."""
    data = bytearray(path.read_bytes())
    (cells,) = struct.unpack(">H", data[start + 3 : start + 5])
    data[start + 3 : start + 5] = struct.pack(">H", cells - 1)
    path.write_bytes(data)


@pytest.mark.parametrize("table", ["run_rows", "generations", "prompts", "verdicts", "scores", "runs", "places"])
def test_a_page_that_lists_a_row_less_is_missed_when_the_journal_is_opened(tmp_path, answers, table, caplog):
    path = tmp_path / "journal.sqlite"
    run = written(path, answers)
    with Journal(path) as journal:
        journal.add_scores({f"{i:064x}": [0.5] for i in range(40)})
        for i in range(40):
            journal._store.put("verdicts", {f"{i:064x}": "{}"})
    whole = path.read_bytes()
    for start in leaves(path, table):
        path.write_bytes(whole)
        one_less(path, start)
        for readonly in (True, False):
            caplog.clear()
            with caplog.at_level(logging.WARNING), Journal(path, readonly=readonly) as journal:
                assert any(table in name or table == "places" for name in journal.damaged), (table, readonly)
                if table == "run_rows":
                    assert len(journal.rows(run)) == 6 * len(answers) - 1
            assert str(path) in caplog.text


def test_lost_places_are_named_by_arm_and_set_until_they_are_back(tmp_path, answers):
    path = tmp_path / "journal.sqlite"
    run = written(path, answers, 1)
    one_less(path, leaves(path, "run_rows")[0])
    for readonly in (False, True):  # a writer that does something else does not make it forgotten
        with Journal(path, readonly=readonly) as journal:
            assert len(journal.rows(run)) == len(answers) - 1
            assert f"'unsteered' 'set 0': 1 of {len(answers)} places are lost" in " ".join(journal.damaged)
    with Journal(path) as journal:
        journal.link(run, "unsteered", "set 0", answers)
    with Journal(path, readonly=True) as journal:
        assert len(journal.rows(run)) == len(answers)
        assert journal.damaged == ()


def test_an_answer_that_is_gone_is_named_when_its_run_is_read(tmp_path, answers):
    path = tmp_path / "journal.sqlite"
    run = written(path, answers, 1)
    with sqlite3.connect(path) as raw:
        raw.execute("DELETE FROM generations WHERE key = ?", [answers[3].key])
    raw.close()
    with Journal(path):
        pass
    with Journal(path) as journal:
        assert journal.damaged == ()  # it was said before
        assert sum(row.generation is None for row in journal.rows(run)) == 1
        assert journal.damaged == (f"generations: '{answers[3].key}'",)


KILLED = """
import os, sys
from demur.runs.journal import Journal
from tests.runs.conftest import answer as make_answer

journal = Journal(sys.argv[1])
run = journal.start_run({"a": 1})
for i in range(30):
    journal.add_generations([make_answer(i)])
    journal.link(run, "unsteered", "s", [make_answer(i)], i)
os.kill(os.getpid(), 9)
"""


@pytest.fixture
def killed(tmp_path) -> Path:
    """A journal whose run was killed; its last commits are in the write-ahead log."""
    path = tmp_path / "journal.sqlite"
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    subprocess.run([sys.executable, "-c", KILLED, str(path)], env=env, check=False)
    assert Path(f"{path}-wal").stat().st_size > 100_000
    return path


def test_a_killed_run_loses_nothing_and_nothing_is_missed(killed):
    for readonly in (True, False):
        with Journal(killed, readonly=readonly) as journal:
            assert len(journal.rows(journal.runs()[0].id)) == 30
            assert journal.damaged == ()
    assert sorted(path.name for path in killed.parent.iterdir()) == ["journal.sqlite", "journal.sqlite.writer"]


@pytest.mark.parametrize("damage", ["flip", "cut", "gone", "zeros"])
def test_commits_that_a_damaged_log_loses_are_missed(killed, damage, caplog):
    log, dice = Path(f"{killed}-wal"), random.Random(3)
    whole, kept = log.read_bytes(), {path: path.read_bytes() for path in killed.parent.iterdir()}
    for _ in range(12):
        for path in killed.parent.iterdir():
            path.unlink()
        for path, content in kept.items():
            path.write_bytes(content)
        place, data = dice.randrange(32, len(whole)), bytearray(whole)
        if damage == "flip":
            data[place] ^= 1 << dice.randrange(8)
        elif damage == "zeros":
            data[place : place + 64] = bytes(len(data[place : place + 64]))
        elif damage == "cut":
            del data[place:]
        log.write_bytes(data)
        if damage == "gone":
            log.unlink()
        elif data == whole:
            continue
        with caplog.at_level(logging.WARNING), Journal(killed) as journal:
            rows = [row for run in journal.runs() for row in journal.rows(run.id) if row.generation]
            assert len(rows) == 30 or any("commits are lost" in name for name in journal.damaged), place
        with Journal(killed) as journal:
            assert not any("commits" in name for name in journal.damaged)  # said once


def test_a_damaged_log_is_missed_by_a_reader_too(killed):
    log = Path(f"{killed}-wal")
    data = bytearray(log.read_bytes())
    data[len(data) // 2] ^= 4
    log.write_bytes(data)
    with Journal(killed, readonly=True) as journal:
        assert any("commits are lost" in name for name in journal.damaged)


def test_a_reader_beside_a_writer_misses_nothing(tmp_path, answers):
    path = tmp_path / "journal.sqlite"
    with Journal(path) as writer:
        run = writer.start_run({"a": 1})
        for number, answer in enumerate(answers):
            writer.add_generations([answer])
            writer.link(run, "unsteered", "s", [answer], number)
            with Journal(path, readonly=True) as reader:
                assert len(reader.rows(run)) == number + 1
                assert reader.damaged == ()


def test_a_commit_between_two_statements_of_a_reader_is_no_damage(tmp_path, answers, monkeypatch):
    path = tmp_path / "journal.sqlite"
    with Journal(path) as writer:
        run = writer.start_run({"a": 1})
        writer.add_generations(answers)
        number = 0

        class Overtaken(sqlite3.Connection):
            """A writer's commits come after each of its statements."""

            def execute(self, *given):
                nonlocal number
                found = super().execute(*given)
                writer.link(run, "unsteered", "s", [answers[number % 40]], number)
                number += 1
                return found

        writer.link(run, "unsteered", "s", answers[:2])
        monkeypatch.setattr(sqlite3, "connect", partial(sqlite3.connect, factory=Overtaken))
        with Journal(path, readonly=True) as reader:
            assert reader.damaged == ()
            rows, before = reader.rows(run), number
            assert 0 < len(rows) < before  # those of one moment
            assert reader.damaged == ()
            assert len(reader.rows(run)) >= before  # of a later one


def as_version_1(path) -> None:
    with sqlite3.connect(path) as raw:
        raw.executescript("DROP TABLE totals; DROP TABLE places; PRAGMA user_version = 1")
    raw.close()


def test_a_journal_of_version_1_is_read_and_counted_when_it_is_written_to(tmp_path, answers):
    path = tmp_path / "journal.sqlite"
    run = written(path, answers, 2)
    as_version_1(path)
    for readonly in (True, False, True):
        with Journal(path, readonly=readonly) as journal:
            assert len(journal.rows(run)) == 2 * len(answers)
            assert journal.damaged == ()
    one_less(path, leaves(path, "run_rows")[0])
    with Journal(path, readonly=True) as journal:
        assert journal.damaged


READER = """
import sys
from demur.cli.main import main
at = ["--journal", sys.argv[1]]
sys.exit(main(["runs", "list", *at]) or main(["runs", "export", sys.argv[2], sys.argv[3], *at]))
"""
# Modes mean nothing to root unless it gives up the right to pass over them.
HUMBLE = ["setpriv", "--bounding-set=-dac_override,-dac_read_search"] if os.geteuid() == 0 else []


@pytest.mark.skipif(bool(HUMBLE) and not shutil.which("setpriv"), reason="root without setpriv")
@pytest.mark.parametrize("state", ["finished", "killed"])
def test_a_run_is_listed_and_exported_where_nothing_can_be_written(tmp_path, answers, state, killed):
    folder = tmp_path / "run"
    folder.mkdir()
    path = folder / "journal.sqlite"
    if state == "finished":
        run = written(path, answers, 1)
    else:
        with Journal(killed, readonly=True) as journal:
            run = journal.runs()[0].id
        for name in ("journal.sqlite", "journal.sqlite-wal", "journal.sqlite.commits"):
            shutil.copy(killed.parent / name, folder)
    out = tmp_path / "out"
    out.mkdir()
    before = sorted(folder.iterdir())
    for file in before:
        file.chmod(0o444)
    folder.chmod(0o555)
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [*HUMBLE, sys.executable, "-c", READER, str(folder), run[:12], str(out / "rows.json")]
    done = subprocess.run(command, capture_output=True, text=True, env=env)
    assert done.returncode == 0, done.stderr
    folder.chmod(0o755)
    assert run[:12] in done.stdout and done.stderr == ""
    assert sorted(folder.iterdir()) == before
    with Journal(killed if state == "killed" else path, readonly=True) as journal:
        export_run(journal, run, tmp_path / "rows.json")
    assert (out / "rows.json").read_text() == (tmp_path / "rows.json").read_text()


def test_an_empty_file_is_no_journal_to_a_reader(tmp_path):
    (tmp_path / "journal.sqlite").write_bytes(b"")
    with pytest.raises(BadFile, match="is empty"):
        Journal(tmp_path / "journal.sqlite", readonly=True)
