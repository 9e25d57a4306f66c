import csv
import json
import sys
from dataclasses import replace

import pytest

from demur.errors import BadSpec, InputError, MissingExtra
from demur.runs.export import export_run, flat_rows
from demur.runs.journal import Journal


@pytest.fixture
def journal(tmp_path, answers, make_verdict, make_answer):
    with Journal(tmp_path / "journal.db") as journal:
        run = journal.start_run({"a": 1})
        batch = [answers[0], answers[1], make_answer(99, "caf\u00e9 \ud800")]
        journal.add_generations(batch)
        journal.add_verdicts({j: make_verdict(answers[0], j) for j in ("rules", "classifier")})
        journal.link(run, "unsteered", "plain", [*batch, answers[5]])
        yield journal


def run_of(journal):
    return journal.runs()[0].id


def test_there_is_a_line_for_each_generation_and_judge(journal):
    rows = flat_rows(journal, run_of(journal))
    assert [(row["position"], row["judge"], row["outcome"]) for row in rows] == [
        (0, "classifier", "refused"),
        (0, "rules", "refused"),
        (1, None, None),
        (2, None, None),
        (3, None, None),
    ]
    assert rows[0]["text"] == "request 0" and rows[0]["new_tokens"] == 2
    assert rows[4]["answer"] is None, "its generation was never stored"


def test_the_reasoning_stands_beside_the_answer(journal):
    rows = flat_rows(journal, run_of(journal))
    assert rows[0]["reasoning"] == "" and rows[4]["reasoning"] is None
    assert list(rows[0]).index("reasoning") + 1 == list(rows[0]).index("answer")


def test_a_changed_judge_has_a_row_a_version(journal, answers, make_verdict):
    old, new = make_verdict(answers[0], "rules"), make_verdict(answers[0], "rules")
    versions = {"a": replace(old, detail={"version": "a"}), "b": replace(new, detail={"version": "b"})}
    journal.add_verdicts(versions)
    rows = [row for row in flat_rows(journal, run_of(journal)) if row["position"] == 0 and row["judge"] == "rules"]
    assert {row["version"] for row in rows} == {None, "a", "b"}


def test_json_holds_the_same_rows(journal, tmp_path):
    path = export_run(journal, run_of(journal), tmp_path / "out" / "run.json")
    assert json.loads(path.read_text(encoding="utf-8")) == flat_rows(journal, run_of(journal))
    assert "caf\u00e9" in path.read_text(encoding="utf-8")


def test_parquet_holds_the_same_rows(journal, tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet")
    path = export_run(journal, run_of(journal), tmp_path / "run.parquet")
    rows = parquet.read_table(path).to_pylist()
    expected = flat_rows(journal, run_of(journal))
    assert rows[2] == expected[2] and list(rows[0]) == list(expected[0])
    assert rows[3]["answer"] == "caf\u00e9 \\ud800", "Parquet has no lone surrogates"


def test_parquet_without_pyarrow_names_the_extra(journal, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(MissingExtra, match=r"demur\[parquet\]"):
        export_run(journal, run_of(journal), tmp_path / "run.parquet")


def test_an_unknown_ending_is_refused_with_those_that_are_known(journal, tmp_path):
    with pytest.raises(BadSpec, match=r"\.csv, \.json, \.jsonl, \.parquet"):
        export_run(journal, run_of(journal), tmp_path / "run.xlsx")


@pytest.fixture
def own(tmp_path, answers):
    """A journal whose prompts come from a file with columns of its own, one of them named as one of the export's."""
    columns = (("tone", "formal, stiff"), ("difficulty", 3), ("answer", "as wished"))
    asked = replace(answers[0].conversation.prompt, topic="law", columns=columns)
    mine = replace(answers[0], conversation=replace(answers[0].conversation, prompt=asked))
    with Journal(tmp_path / "own.db") as journal:
        run = journal.start_run({"a": 1})
        journal.add_generations([mine, answers[1]])
        journal.link(run, "unsteered", "direct", [mine, answers[1]])
        yield journal


def test_a_users_columns_come_back_behind_the_exports_own(own, tmp_path):
    first, second = flat_rows(own, run_of(own))
    assert (first["tone"], first["difficulty"], first["topic"]) == ("formal, stiff", 3, "law")
    assert first["own_answer"] == "as wished" and first["answer"] != "as wished"
    assert (second["tone"], second["difficulty"], second["own_answer"]) == (None, None, None)
    path = export_run(own, run_of(own), tmp_path / "run.csv")
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["tone"] for row in rows] == ["formal, stiff", ""]
    assert rows[0]["answer"] == first["answer"] and rows[0]["messages"] == first["messages"]
    path = export_run(own, run_of(own), tmp_path / "run.jsonl")
    assert [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] == [first, second]


def test_no_two_columns_of_a_users_file_come_back_under_one_name(tmp_path, answers):
    columns = (("own_text", "second"), ("text", "first"), ("own_own_text", "third"))
    asked = replace(answers[0].conversation.prompt, columns=columns)
    mine = replace(answers[0], conversation=replace(answers[0].conversation, prompt=asked))
    with Journal(tmp_path / "own.db") as journal:
        run = journal.start_run({"a": 1})
        journal.add_generations([mine])
        journal.link(run, "unsteered", "direct", [mine])
        (row,) = flat_rows(journal, run)
    assert (row["own_text"], row["own_own_text"], row["own_own_own_text"]) == ("second", "third", "first")
    assert row["text"] == "request 0"


def test_numbers_of_a_users_columns_stay_numbers_in_parquet(own, tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet")
    table = parquet.read_table(export_run(own, run_of(own), tmp_path / "run.parquet"))
    assert table.schema.field("difficulty").type == "int64"
    assert table.to_pylist() == flat_rows(own, run_of(own))


def test_a_run_without_answers_is_not_exported_as_an_empty_table(tmp_path):
    with Journal(tmp_path / "j.sqlite") as journal:
        run = journal.start_run({"kind": "begun"}, "begun")
        with pytest.raises(InputError, match="has no answers to export yet"):
            export_run(journal, run, tmp_path / "a.csv")
    assert not (tmp_path / "a.csv").exists()


def test_csv_needs_no_extra_and_escapes_what_is_no_unicode(journal, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    path = export_run(journal, run_of(journal), tmp_path / "run.CSV")
    assert "caf\u00e9 \\ud800" in path.read_text(encoding="utf-8")
