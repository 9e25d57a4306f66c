from dataclasses import replace

import pytest

from demur.errors import BadFile, BadSpec, DemurError, OutOfRoom, UnknownName
from demur.runs.journal import Journal


@pytest.fixture
def path(tmp_path):
    return tmp_path / "runs" / "journal.db"


def test_what_was_added_is_found_after_reopening(path, answers, make_verdict):
    with Journal(path) as journal:
        assert journal.add_generations(answers) == 40
        assert journal.add_verdicts({"v0": make_verdict(answers[0])}) == 1
        assert journal.add_scores({"s0": [-1.5, -2]}) == 1
    with Journal(path) as journal:
        assert journal.generations([*(a.key for a in answers), "absent"]) == {a.key: a for a in answers}
        assert journal.verdicts(["v0", "v1"]) == {"v0": make_verdict(answers[0])}
        assert journal.scores(["s0", "s1"]) == {"s0": [-1.5, -2.0]}
        assert journal.damaged == ()


def test_more_keys_than_one_query_takes_are_found(path, make_answer):
    many = [make_answer(index) for index in range(1201)]
    with Journal(path) as journal:
        journal.add_generations(many)
        assert len(journal.generations(a.key for a in many)) == 1201


def test_the_first_answer_to_a_key_stays(path, make_answer):
    with Journal(path) as journal:
        assert journal.add_generations([make_answer(1, "first"), make_answer(1, "twin")]) == 1
        assert journal.add_generations([make_answer(1, "second"), make_answer(2)]) == 1
        assert journal.generations([make_answer(1).key])[make_answer(1).key].text == "first"


def test_a_generation_without_a_key_is_refused(path, make_answer):
    with Journal(path) as journal, pytest.raises(BadSpec, match=r"p1.*generation_key"):
        journal.add_generations([replace(make_answer(1), key="")])


def test_a_batch_is_stored_whole_or_not_at_all(path, make_answer):
    with Journal(path) as journal:
        with pytest.raises(BadSpec):
            journal.add_generations([make_answer(1), replace(make_answer(2), key="")])
        assert journal.generations([make_answer(1).key]) == {}


def test_the_same_spec_opens_the_same_run(path):
    with Journal(path) as journal:
        run = journal.start_run({"arms": ["a"], "dose": 1.0}, name="first")
        assert journal.start_run({"dose": 1, "arms": ("a",)}) == run
        assert journal.start_run({"dose": 2, "arms": ["a"]}) != run
        assert [run.name for run in journal.runs()].count("first") == 1


def test_a_run_sums_its_sessions_and_then_stays_finished(path):
    with Journal(path) as journal:
        run = journal.start_run({"a": 1})
        journal.finish_run(run, 10.0, status="failed")
        assert journal.runs()[0].status == "failed" and journal.runs()[0].finished == ""
        journal.finish_run(run, 5.0)
        done = journal.runs()[0]
        journal.finish_run(run, 0.1)
        assert journal.runs() == [done]
        assert (done.status, done.seconds) == ("finished", 15.0) and done.finished


@pytest.mark.parametrize("status", ["stopped", "failed"])
def test_a_run_that_goes_on_is_open_again(path, status):
    with Journal(path) as journal:
        run = journal.start_run({"a": 1}, "mine")
        journal.finish_run(run, 10.0, status)
        assert journal.start_run({"a": 1}, "other") == run
        (again,) = journal.runs()
        assert (again.status, again.seconds, again.name) == ("open", 10.0, "mine")


def test_an_unknown_run_is_named_with_those_that_are_known(path):
    with Journal(path) as journal:
        run = journal.start_run({})
        with pytest.raises(UnknownName, match=run):
            journal.rows("nope")


def test_a_runs_rows_carry_their_own_prompt_attack_and_arm(path, make_answer):
    first = make_answer(1)
    prompt = replace(first.conversation.prompt, id="other", set="copy")
    second = replace(first, conversation=replace(first.conversation, prompt=prompt, attack="rot13"))
    with Journal(path) as journal:
        run = journal.start_run({"a": 1})
        journal.add_generations([first])
        journal.link(run, "plain-arm", "plain", [first])
        journal.link(run, "steered", "copy", [make_answer(2), second], start=4)
        journal.link(run, "steered", "copy", [make_answer(2), second], start=4)
        rows = journal.rows(run)
    assert [(row.arm, row.set, row.position, row.prompt.id, row.attack) for row in rows] == [
        ("plain-arm", "plain", 0, "p1", "direct"),
        ("steered", "copy", 4, "p2", "direct"),
        ("steered", "copy", 5, "other", "rot13"),
    ]
    assert rows[1].generation is None, "linked, never stored"
    assert rows[2].generation == replace(second, arm="steered")


def test_a_rerun_of_a_finished_run_finds_everything(path, answers, make_verdict):
    def session(calls):
        with Journal(path) as journal:
            run = journal.start_run({"seed": 0})
            for start in range(0, 40, 8):
                batch = answers[start : start + 8]
                known = journal.generations(a.key for a in batch)
                missing = [a for a in batch if a.key not in known]
                calls.extend(missing)
                journal.add_generations(missing)
                journal.link(run, "unsteered", "plain", batch, start)
            journal.finish_run(run, 1.0)
            return journal.rows(run)

    first, second = [], []
    assert session(first) == session(second)
    assert len(first) == 40 and second == []


def test_verdicts_of_a_generation_come_from_every_judge(path, answers, make_verdict):
    with Journal(path) as journal:
        journal.add_verdicts({j: make_verdict(answers[0], j) for j in ("rules", "classifier")})
        journal.add_verdicts({"x": make_verdict(answers[1])})
        found = journal.verdicts_of([answers[0].key, answers[2].key])
    assert [verdict.judge for verdict in found[answers[0].key]] == ["classifier", "rules"]
    assert found[answers[2].key] == []


def test_a_second_writer_is_told_of_the_first(path):
    with Journal(path), pytest.raises(DemurError, match="written by another process"):
        Journal(path)
    Journal(path).close()


def test_a_reader_reads_while_a_writer_writes(path, answers):
    with Journal(path) as writer:
        writer.add_generations(answers[:20])
        with Journal(path, readonly=True) as reader:
            writer.add_generations(answers[20:])
            assert len(reader.generations(a.key for a in answers)) == 40
            with pytest.raises(DemurError):
                reader.add_generations([replace(answers[0], key="new")])
    with Journal(path, readonly=True) as reader:
        assert len(reader.generations(a.key for a in answers)) == 40


def test_a_file_that_is_no_journal_is_refused_with_the_fix(tmp_path):
    (tmp_path / "text.db").write_text("this is no database " * 100)
    with pytest.raises(BadFile, match="move it away"):
        Journal(tmp_path / "text.db")
    with pytest.raises(BadFile, match="no journal at"):
        Journal(tmp_path / "none.db", readonly=True)
    with pytest.raises(BadFile, match="cannot open"):
        Journal(tmp_path)


def test_another_programs_database_is_left_alone(tmp_path):
    import sqlite3

    other = sqlite3.connect(tmp_path / "other.db")
    other.execute("CREATE TABLE t (a)")
    other.close()
    with pytest.raises(BadFile, match="no journal of demur's"):
        Journal(tmp_path / "other.db")


def test_a_full_disk_is_a_typed_error_and_keeps_what_was_acknowledged(path, answers, make_answer):
    with Journal(path) as journal:
        journal.add_generations(answers)
        pages = journal._store.query("PRAGMA page_count")[0][0]
        journal._store.query(f"PRAGMA max_page_count = {pages + 2}")
        large = [make_answer(index, "long " * 4000) for index in range(100, 110)]
        with pytest.raises(OutOfRoom, match="free space, run again"):
            journal.add_generations(large)
        assert journal.generations(a.key for a in large) == {}
        assert len(journal.generations(a.key for a in answers)) == 40
        journal._store.query("PRAGMA max_page_count = 1000000")
        assert journal.add_generations(large) == 10
