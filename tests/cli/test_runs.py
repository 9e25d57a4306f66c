import csv
import json
import time

import pytest

from demur.runs import Journal, read_results
from demur.types import Conversation, Generation, Message, Prompt


@pytest.fixture
def evaluated(demur, model, prompts, spec, quick_judge, tmp_path):
    """An evaluation's --out folder."""
    out = tmp_path / "out"
    said = demur("evaluate", model, "--prompts", prompts, "--attacks", "persona, escalation,persona", "--steer", spec(),
                 "--max-new-tokens", 4, "--dtype", "fp32", "--out", out)  # fmt: skip
    assert said.status == 0, said.err
    assert said.err.strip() == ""
    return out, said.out


def test_evaluate_prints_a_line_an_arm_and_set_and_writes_the_rest(evaluated):
    out, text = evaluated
    for name in ("direct", "persona", "escalation"):
        assert sum(name in line and arm in line for line in text.splitlines() for arm in ("unsteered", "steered")) >= 2
    assert "18 answers generated in " in text
    assert f"Report: {out / 'report.html'}" in text
    results = read_results(out)
    assert {f.set for f in results.figures} == {"direct", "persona", "escalation"}
    assert {f.n for f in results.figures} == {3}
    assert results.spec["asked"]["attacks"] == ["persona", "escalation", "persona"]
    assert results.spec["intervention"]["op"] == "add"
    assert "<script" not in (out / "report.html").read_text(encoding="utf-8")


def test_a_built_in_set_is_evaluated_on_its_test_prompts_unless_told(demur, model, quick_judge, tmp_path):
    for more, wanted in (([], "test"), (["--use", "validation"], "validation")):
        out = tmp_path / wanted
        said = demur("evaluate", model, "--prompts", "plain", "--limit", 3, "--max-new-tokens", 2, "--dtype", "fp32",
                     "--out", out, *more)  # fmt: skip
        assert said.status == 0, said.err
        with Journal(out / "journal.sqlite", readonly=True) as journal:
            (run,) = journal.runs()
            assert {row.prompt.use for row in journal.rows(run.id)} == {wanted}
    said = demur("evaluate", model, "--prompts", "plain", "--use", "tset", "--out", tmp_path / "x")
    assert said.status == 2
    assert "Did you mean 'test'" in said.err


def test_evaluating_again_generates_nothing_and_says_so(demur, evaluated, model, prompts, spec):
    out, text = evaluated
    before = read_results(out).figures
    said = demur("evaluate", model, "--prompts", prompts, "--attacks", "persona, escalation,persona", "--steer", spec(),
                 "--max-new-tokens", 4, "--dtype", "fp32", "--out", out)  # fmt: skip
    assert "Nothing was generated: every answer came from the journal." in said.out
    assert said.out.splitlines()[:-2] == text.splitlines()[:-2]
    assert read_results(out).figures == before


def test_a_files_column_groups_what_is_printed_and_comes_back_in_the_export(demur, refuses, model, quick_judge, prompts,
                                                                             tmp_path):  # fmt: skip
    asked = ("evaluate", model, "--prompts", prompts, "--max-new-tokens", 4, "--dtype", "fp32", "--out", tmp_path / "o")
    assert "no column of the prompts named 'notes'; known: kind" in refuses(*asked, "--by", "notes")
    said = demur(*asked, "--by", "note")
    assert said.status == 0, said.err
    assert "By note" in said.out
    for value in "abc":
        assert f"direct [note: {value}]" in said.out
    assert demur("runs", "export", pick(tmp_path / "o"), tmp_path / "t.csv", "--journal", tmp_path / "o").status == 0
    with (tmp_path / "t.csv").open(encoding="utf-8", newline="") as file:
        assert [row["note"] for row in csv.DictReader(file)] == ["a", "b", "c"]


def test_runs_list_names_every_run(demur, evaluated):
    out, _ = evaluated
    said = demur("runs", "list", "--journal", out)
    with Journal(out / "journal.sqlite", readonly=True) as journal:
        (run,) = journal.runs()
    assert said.status == 0
    assert all(word in said.out for word in (run.id[:12], "evaluate", "finished", run.created))
    assert demur("runs", "list", "--journal", out / "journal.sqlite").out == said.out


def pick(out) -> str:
    with Journal(out / "journal.sqlite", readonly=True) as journal:
        return journal.runs()[0].id[:8]


def test_runs_show_gives_the_spec_and_the_counts(demur, evaluated):
    out, _ = evaluated
    said = demur("runs", "show", pick(out), "--journal", out)
    head, _, _ = said.out.partition("\n}\n")
    assert json.loads(head + "\n}")["max_new_tokens"] == 4
    lines = [line for line in said.out.splitlines() if "persona" in line and "steered" in line]
    assert len(lines) == 2
    assert all("3" in line for line in lines)


@pytest.mark.parametrize("name", ["table.json", "table.parquet"])
def test_runs_export_writes_one_row_an_answer(demur, evaluated, tmp_path, name):
    out, _ = evaluated
    said = demur("runs", "export", pick(out), tmp_path / name, "--journal", out)
    assert said.status == 0
    if name.endswith("json"):
        rows = json.loads((tmp_path / name).read_text(encoding="utf-8"))
    else:
        rows = pytest.importorskip("pyarrow.parquet").read_table(tmp_path / name).to_pylist()
    assert len(rows) == 18 == len({(row["arm"], row["set"], row["position"]) for row in rows})
    assert {row["judge"] for row in rows} == {"lengths"}
    assert {row["text"] for row in rows} == {
        "How do I bake bread?", "Write a short poem.", "What is the capital of France?"
    }  # fmt: skip


def test_runs_export_knows_its_endings(refuses, evaluated, tmp_path):
    out, _ = evaluated
    line = refuses("runs", "export", pick(out), tmp_path / "table.xlsx", "--journal", out)
    assert "cannot export to 'table.xlsx'; known endings: .csv, .json, .jsonl, .parquet" in line


def test_an_unknown_run_is_named_with_those_that_are_there(refuses, evaluated, tmp_path):
    out, _ = evaluated
    for args in (["show", "zzz"], ["resume", "zzz"], ["export", "zzz", tmp_path / "x.json"]):
        line = refuses("runs", *args, "--journal", out)
        assert f"no run named 'zzz'; known: {pick(out)}" in line
        assert "Give enough of its id" in line


def test_resume_goes_on_without_making_anything_twice(demur, evaluated):
    out, _ = evaluated
    before = read_results(out).figures
    (out / "results.json").unlink()
    said = demur("runs", "resume", pick(out), "--journal", out)
    assert said.status == 0, said.err
    assert "Nothing was generated: every answer came from the journal." in said.out
    assert read_results(out).figures == before
    with Journal(out / "journal.sqlite", readonly=True) as journal:
        assert len(journal.runs()) == 1


def test_a_run_whose_prompts_changed_is_not_resumed(refuses, evaluated, prompts):
    out, _ = evaluated
    prompts.write_text(prompts.read_text() + "One more?,d\n")
    line = refuses("runs", "resume", pick(out), "--journal", out)
    assert "the prompts, attacks or steering changed since this run began" in line


def test_only_evaluations_are_resumed(refuses, tmp_path):
    with Journal(tmp_path / "journal.sqlite") as journal:
        run = journal.start_run({"job": "study"}, "quickstart")
    line = refuses("runs", "resume", run[:8], "--journal", tmp_path)
    assert f"run {run[:12]} is a quickstart; run that command again, it resumes by itself" in line


def test_limit_takes_the_first_few(demur, model, quick_judge, tmp_path):
    said = demur("evaluate", model, "--prompts", "harmful", "--limit", 2, "--max-new-tokens", 2, "--dtype", "fp32",
                 "--out", tmp_path)  # fmt: skip
    assert "2 answers generated" in said.out


def test_a_rerun_leaves_the_time_that_the_run_took(demur, evaluated, model, prompts, spec):
    out, _ = evaluated
    before = read_results(out).seconds
    again = demur("evaluate", model, "--prompts", prompts, "--attacks", "persona, escalation,persona", "--steer",
                  spec(), "--max-new-tokens", 4, "--dtype", "fp32", "--out", out)  # fmt: skip
    assert again.status == 0
    assert read_results(out).seconds == pytest.approx(before, abs=0.5)
    with Journal(out / "journal.sqlite", readonly=True) as journal:
        (run,) = journal.runs()
    assert read_results(out).seconds == run.seconds


def test_the_list_says_which_runs_failed_and_how_far_open_ones_came(demur, tmp_path):
    def listed():
        said = demur("runs", "list", "--journal", tmp_path)
        assert said.status == 0, said.err
        return " ".join(said.out.split())

    with Journal(tmp_path / "journal.sqlite") as journal:
        failed = journal.start_run({"a": 1}, "baseline")
        journal.finish_run(failed, 3.0, "failed")
    assert "failed" in listed() and "in the journal" not in listed()
    with Journal(tmp_path / "journal.sqlite") as journal:
        journal.start_run({"a": 2}, "baseline")
        asked = Conversation(Prompt("p1", "a request", "plain"), (Message("user", "a request"),))
        journal.add_generations([Generation("a" * 64, asked, "an answer", (1, 2), 9, "end")])
    day = time.strftime("%Y-%m-%d", time.gmtime())
    assert f"open: under way, or killed. Answers in the journal: 1; last written {day}T" in listed()
