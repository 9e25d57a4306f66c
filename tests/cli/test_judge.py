"""`demur judge`, and --judge of every command that judges."""

import csv
import json
from dataclasses import replace
from pathlib import Path

import pytest
from tests.planted import Planted
from tests.rubric_server import RubricServer

from demur.directions.artifact import save_direction
from demur.errors import InputError
from demur.evaluation.calibration import calibration_talks
from demur.runs import Journal, read_results

SORRY = "I'm sorry, but I can't help with that."


@pytest.fixture
def answers(tmp_path) -> Path:
    path = tmp_path / "answers.csv"
    path.write_text(f'goal,response,human\nHow?,"{SORRY}",refused\nWhy?,Because.,complied\n', encoding="utf-8")
    return path


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)

    def reply(judged: str) -> str:
        return json.dumps({"outcome": "refused" if "sorry" in judged else "complied", "harmful": False})

    made = RubricServer(reply)
    yield made
    made.stop()


def outcomes(path: Path) -> list[str]:
    with path.open(newline="", encoding="utf-8") as file:
        return [row["outcome"] for row in csv.DictReader(file)]


def test_a_file_is_judged_by_its_text(demur, answers, tmp_path):
    said = demur("judge", answers, "--out", tmp_path / "out", "--label-column", "human", "--verbose")
    assert (said.status, said.err) == (0, "")
    assert outcomes(tmp_path / "out" / "judged.csv") == ["refused", "complied"]
    assert "complied means only: not refused, not empty, no loop" in said.out
    assert f"Judged answers: {tmp_path / 'out' / 'judged.csv'}" in said.out
    assert "the same outcome on 100%" in said.out and "generated" not in said.out
    assert "Do the judges agree?" in said.out and "labels (human), text rules" in said.out
    assert (tmp_path / "out" / "report.html").exists()


def test_a_scorer_is_loaded_and_calibrated(demur, answers, planted, tmp_path):
    said = demur("judge", answers, "--out", tmp_path / "out", "--scorer", "mock")
    assert (said.status, said.err) == (0, "")
    assert "calibrating the judge" in said.phases
    assert {f.judge for f in read_results(tmp_path / "out").figures if f.metric == "refusal_rate"} == {"rules"}


def test_a_served_judge_says_what_it_takes_before_it_is_asked(demur, answers, server, tmp_path):
    judge = f"openai:{server.url}#small?price=1,2&parallel=2"
    said = demur("judge", answers, "--out", tmp_path / "out", "--judge", "rules", "--judge", judge)
    assert (said.status, said.err) == (0, "")
    (phase,) = [phase for phase in said.phases if "small" in phase]
    assert phase.startswith("judging, rubric small: 2 calls, about ") and "or more out, about $0.00" in phase
    assert [body["model"] for body in server.seen] == ["small"] * 2
    assert "rubric small: 2 replies, 200 tokens in and 20 out, $0.0002 at the price given." in said.out
    demur("judge", answers, "--out", tmp_path / "out", "--judge", "rules", "--judge", judge)
    assert len(server.seen) == 2


@pytest.mark.parametrize("beside", [(), ("--judge", "rules")])
def test_a_judge_whose_replies_cannot_be_read_is_no_quiet_result(demur, answers, server, tmp_path, beside):
    server.answers = lambda _: "I would rather talk about the weather."
    said = demur("judge", answers, "--out", tmp_path / "out", *beside, "--judge", f"openai:{server.url}#small")
    assert said.status == 0
    line = "rubric small gave no readable verdict on 2 of 2 (first: 'I would rather talk about the weather.')"
    assert line in " ".join(said.out.split())
    assert line.replace("'", "&#39;") in (tmp_path / "out" / "report.html").read_text(encoding="utf-8")


def test_what_the_only_judge_took_is_said_too(demur, answers, server, tmp_path):
    said = demur("judge", answers, "--out", tmp_path / "out", "--judge", f"openai:{server.url}#small", "--verbose")
    assert "rubric small: 2 replies, 200 tokens in and 20 out." in said.out
    assert "no readable verdict" not in said.out


def test_a_local_model_judges_from_its_folder(demur, answers, model, tmp_path):
    said = demur("judge", answers, "--out", tmp_path / "out", "--judge", "rules", "--judge",
                 f"hf:{model}@harmbench?dtype=fp32")  # fmt: skip
    assert (said.status, said.err) == (0, "")
    found = read_results(tmp_path / "out").figures
    assert {f.judge for f in found if f.metric == "judges_equal"} == {f"harmbench {model.name}"}
    assert f"loading harmbench {model.name}" in said.phases
    # Its weights are random: it says neither yes nor no, and that is no attack success of 0.
    assert f"harmbench {model.name} gave no readable verdict on 2 of 2" in said.out
    assert not any(f.metric == "asr" for f in found)


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (("--judge", "rule"), "no judge named 'rule'"),
        (("--judge", "rules", "--judge", "rules"), "2 judges are called 'rules'"),
        (("--judge", "openai:https://h/v1"), "names no model"),
        (("--judge", "hf:"), "judge 'hf:' names no model"),
        (("--judge", "openai:"), "judge 'openai:' names no model"),
        (
            ("--judge", "openai:https://h/v1#m?bogus=1"),
            "no option of judge openai:https://h/v1#m?bogus=1 named 'bogus'",
        ),
        (("--answer-column", "x"), "no column 'x'; its columns: 'goal', 'response', 'human'"),
        (("--label-column", "goal"), "'How?' is no outcome"),
        (("--by", "x"), "no column of the prompts named 'x'"),
        (("--dtype", "fp32"), "is of the scorer; name one with --scorer MODEL"),
        (("--scorer", "no-such-model-at-all"), "no-such-model-at-all"),
    ],
)
def test_what_cannot_be_is_one_line(refuses, answers, tmp_path, args, said):
    assert said in refuses("judge", answers, "--out", tmp_path / "out", *args)
    assert not (tmp_path / "out").exists()


def test_a_file_that_is_not_there_is_one_line(refuses, tmp_path):
    assert "no such file" in refuses("judge", tmp_path / "none.csv", "--out", tmp_path / "out")


def call(demur, *args, judge):
    return demur(*args, *(part for one in judge for part in ("--judge", one)))


def test_evaluate_takes_judges_and_says_what_they_will_cost(demur, planted, prompts, server, tmp_path):
    judge = ["rules", f"openai:{server.url}#small?price=1,2"]
    said = call(demur, "evaluate", "mock", "--prompts", prompts, "--out", tmp_path, "--max-new-tokens", 20, judge=judge)
    assert said.status == 0
    assert f"rubric small: up to {3 + len(calibration_talks())} calls, about " in said.err
    assert said.err.count("\n") == 1
    assert len(server.seen) == 3
    found = read_results(tmp_path)
    assert {f.judge for f in found.figures if f.metric == "refusal_rate"} == {"rules", "rubric small"}
    assert found.spec["asked"]["judge"] == judge
    with Journal(tmp_path / "journal.sqlite", readonly=True) as journal:
        (run,) = journal.runs()
    again = demur("runs", "resume", run.id[:12], "--journal", tmp_path)
    assert again.status == 0 and len(server.seen) == 3


def test_the_first_judge_decides_and_nothing_is_calibrated_for_it(demur, planted, prompts, server, tmp_path):
    judge = [f"openai:{server.url}#small"]
    said = call(demur, "evaluate", "mock", "--prompts", prompts, "--out", tmp_path, "--max-new-tokens", 20, judge=judge)
    assert said.plan == "3"
    assert {f.judge for f in read_results(tmp_path).figures} == {"rubric small"}


BASELINE = ("--n", 4, "--items", 5, "--validation", 6, "--attacks", "persona", "--doses", "1", "--fit-n", 8,
            "--choose", 6)  # fmt: skip
AUDIT = ("--n", 4, "--items", 5, "--attacks", "persona", "--randoms", 2, "--questions", 0, "--multipliers", "1")


def beside(out: Path) -> dict[str, int]:
    """Judge -> answers on which it agrees or not with the rules."""
    found = read_results(out).figures
    assert {f.judge for f in found if f.metric == "refusal_rate"} >= {"rules"}
    return {f.judge: f.n for f in found if f.metric == "judges_equal" and f.arm == "rules"}


def test_baseline_takes_judges(demur, planted, server, tmp_path):
    judge = ["rules", f"openai:{server.url}#small"]
    said = call(demur, "baseline", "mock", *BASELINE, "--layer-step", 1, "--out", tmp_path, judge=judge)
    assert said.status == 0 and "rubric small: up to " in said.err
    assert beside(tmp_path)["rubric small"] > 0
    assert "rules, rubric small" in said.out  # also where the summary is long


def test_quickstart_takes_judges(demur, planted, monkeypatch, tmp_path):
    from demur.experiments import baseline

    asked = []

    def stop(_engine, _config, _out, _prompts, _progress, judge):
        asked.append(judge)
        raise InputError("far enough")

    monkeypatch.setattr(baseline, "baseline", stop)
    judge = ["rules", "openai:https://host/v1#small"]
    assert call(demur, "quickstart", "--out", tmp_path, judge=judge).status == 2
    assert asked == [judge]


def test_an_audit_takes_judges_and_asks_those_beside_about_no_random_direction(demur, planted, server, tmp_path):
    path, engine = tmp_path / "d.safetensors", Planted(6)
    save_direction(replace(engine.direction, origin={"weights": engine.fingerprint.weights}), path)
    judge = ["rules", f"openai:{server.url}#small"]
    said = call(demur, "vector", "audit", "mock", path, "--direction", path, "--length", 1, *AUDIT, "--out",
                tmp_path / "out", judge=judge)  # fmt: skip
    assert (said.status, said.err) == (0, "")
    assert beside(tmp_path / "out") == {"rubric small": 2 * (3 * 4 + 4)}
    found = read_results(tmp_path / "out").figures
    assert not any(f.judge == "rubric small" and f.arm.startswith("random") for f in found)


def test_a_proof_of_features_takes_judges(demur, planted, planted_sae, server, tmp_path):
    path, out = tmp_path / "one.json", tmp_path / "proof"
    assert demur("features", "pick", "mock", "3.post/7", "--sae", planted_sae, "--out", path).status == 0
    judge = ["rules", f"openai:{server.url}#small"]
    said = call(demur, "features", "verify", "mock", path, "--n", 4, "--randoms", 1, "--items", 4, "--max-new-tokens",
                20, "--out", out, judge=judge)  # fmt: skip
    assert (said.status, said.err) == (0, "")
    assert beside(out)["rubric small"] > 0
    assert "Judge <bdi>rubric small</bdi>" in (out / "report.html").read_text(encoding="utf-8")


@pytest.mark.parametrize("command", [("quickstart",), ("baseline", "m"), ("evaluate", "m", "--prompts", "plain"),
                                     ("vector", "audit", "m", "v"), ("features", "verify", "m", "f")])  # fmt: skip
def test_every_command_that_judges_refuses_what_is_no_judge_before_it_loads_a_model(refuses, command, tmp_path):
    assert "no judge named 'rule'" in refuses(*command, "--out", tmp_path / "out", "--judge", "rule")


@pytest.mark.parametrize("command", [("quickstart",), ("baseline", "m"), ("vector", "audit", "m", "v"),
                                     ("features", "verify", "m", "f")])  # fmt: skip
def test_a_judge_of_harm_that_may_not_be_first_is_found_by_its_name(refuses, command, tmp_path):
    said = refuses(*command, "--out", tmp_path / "out", "--judge", "hf:nobody/guard@harmbench")
    assert "knows no refusal" in said and "put rules first" in said


def test_a_folder_with_other_results_is_refused_before_a_scorer_is_loaded(demur, refuses, answers, tmp_path):
    demur("judge", answers, "--out", tmp_path / "out")
    other = tmp_path / "other.csv"
    other.write_text("goal,response\nWhy?,Because.\n", encoding="utf-8")
    said = refuses("judge", other, "--out", tmp_path / "out", "--scorer", "no-such-model-at-all")
    assert "has the results of answers.csv" in said


def test_a_scorer_that_nobody_would_ask_is_not_loaded(demur, answers, tmp_path):
    said = demur("judge", answers, "--out", tmp_path / "out", "--scorer", "no such model", "--judge", "hf:nobody")
    assert said.status == 2
    assert "a scorer's likelihood is for the rules, and they are not among the judges" in said.err
