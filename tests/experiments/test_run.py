"""The one runner, on an experiment as a newcomer writes it: one file, a config, and a function."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import final

import pytest
from tests.hashed import rows
from tests.planted import Planted

import demur
from demur.analysis.tables import table_figures
from demur.attacks import unattacked
from demur.engines.base import Engine
from demur.evaluation.evaluator import Arm
from demur.experiments.run import examples, open_run
from demur.interventions import Intervention
from demur.reports import Result
from demur.runs import Journal, read_results
from demur.types import Conversation, Generation, Judged, Message, Prompt, Table, Verdict


@dataclass(frozen=True)
class TrialConfig:
    """How much is asked."""

    n: int = 4


@final
@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class TrialResult(Result):
    """A trial, and its answers."""

    table: Table


def trial(engine: Engine, steer: Intervention, config: TrialConfig, out: Path, fails: bool = False) -> TrialResult:
    """What steering does to plain requests."""
    with open_run(engine, "trial", out, {"n": config.n}, new_tokens=8) as run:
        asked = unattacked(run.evaluator.prompts.take("plain", "test", config.n))
        table = run.evaluator.run([Arm("unsteered"), Arm("steered", steer)], {"plain": asked})
        if fails:
            raise RuntimeError("the experiment failed")
        figures = table_figures(table)
        shared = run.finish("A trial", ["It ran."], figures, chosen={"found": len(figures)})
    return TrialResult(**shared, table=table)


STEER = demur.add(Planted().direction, 4.0)


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    out, engine = tmp_path_factory.mktemp("trial"), Planted()
    return out, engine, trial(engine, STEER, TrialConfig(), out)


def listed(out):
    with Journal(out / "journal.sqlite", readonly=True) as journal:
        return [(run.name, run.status, len(journal.rows(run.id))) for run in journal.runs()]


def test_a_finished_run_has_results_a_report_and_its_rows_in_the_journal(done):
    out, engine, result = done
    assert read_results(out).figures == result.figures
    assert (result.report, result.generated) == (out / "report.html", engine.answered)
    assert "A trial" in result.report.read_text(encoding="utf-8")
    assert listed(out) == [("trial", "finished", 8)]
    assert str(result) == f"A trial\nIt ran.\nReport: {result.report}"


def test_the_spec_says_what_decided_the_run_and_what_was_chosen_by_it(done):
    out, engine, result = done
    spec = read_results(out).spec
    assert json.loads(json.dumps(result.spec)) == spec
    assert (spec["experiment"], spec["model"], spec["n"], spec["found"]) == ("trial", "mock", 4, len(result.figures))
    assert spec["engine"]["weights"] == engine.fingerprint.weights
    assert (spec["decoding"]["max_new_tokens"], spec["version"]) == (8, demur.__version__)
    assert spec["prompts"]["name"] == "built-in"


def test_a_rerun_calls_the_model_for_nothing_and_is_the_same_run(done):
    out, _, result = done
    again = Planted()
    rerun = trial(again, STEER, TrialConfig(), out)
    assert (rerun.figures, rerun.generated) == (result.figures, 0)
    assert not again.calls
    assert listed(out) == [("trial", "finished", 8)]


def test_another_spec_is_another_run_beside_it_that_takes_what_is_there(tmp_path):
    first, second = Planted(), Planted()
    trial(first, STEER, TrialConfig(3), tmp_path)
    trial(second, STEER, TrialConfig(4), tmp_path)
    assert sorted(listed(tmp_path)) == [("trial", "finished", 6), ("trial", "finished", 8)]
    # Of four requests spread over the test set, the first stands among the three too.
    assert 0 < second.answered < 8


def test_a_run_in_which_an_error_is_raised_has_failed_leaves_no_results_and_goes_on(tmp_path):
    engine = Planted()
    with pytest.raises(RuntimeError, match="the experiment failed"):
        trial(engine, STEER, TrialConfig(), tmp_path, fails=True)
    assert listed(tmp_path) == [("trial", "failed", 8)]
    with Journal(tmp_path / "journal.sqlite", readonly=True) as journal:
        (failed,) = journal.runs()
    assert failed.seconds > 0
    assert not (tmp_path / "results.json").exists() and not (tmp_path / "report.html").exists()
    resumed = trial(Planted(), STEER, TrialConfig(), tmp_path)
    assert resumed.generated == 0 and resumed.seconds > failed.seconds
    assert read_results(tmp_path).seconds == resumed.seconds
    assert listed(tmp_path) == [("trial", "finished", 8)]


def test_a_run_is_listed_before_its_judge_is_calibrated(tmp_path):
    class Dying(Planted):
        """Dies at the first answer."""

        def generate(self, requests, decoding):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        trial(Dying(), STEER, TrialConfig(), tmp_path)
    assert listed(tmp_path) == [("trial", "stopped", 0)]


TABLE = {
    ("unsteered", "harmful"): rows("rrrc"),
    ("ablate", "harmful"): rows("crcc", arm="ablate"),
    ("ablate", "alone"): rows("cc", arm="ablate"),
}


@pytest.mark.parametrize(("tokens", "warned"), [(4, True), (16, False)])
def test_a_report_on_answers_cut_short_says_so(tokens, warned, tmp_path):
    with open_run(Planted(), "cut", tmp_path, {}, new_tokens=tokens) as run:
        fields = run.finish("Cut", ["It ran."], [])
    said = f"Answers were cut at {tokens} tokens"
    assert (said in " ".join(fields["summary"])) == (said in fields["report"].read_text(encoding="utf-8")) == warned


def test_examples_show_first_where_the_arms_differ():
    found = examples(TABLE, ["unsteered", "ablate"], ["harmful", "unknown"], each=3)
    outcomes = [[answer.outcome for answer in example.answers] for example in found]
    assert outcomes == [["refused", "complied"], ["refused", "complied"], ["refused", "refused"]]
    assert [answer.arm for answer in found[0].answers] == ["unsteered", "ablate"]
    assert {(example.set, example.attack) for example in found} == {("harmful", "direct")}


def test_examples_of_conversations_show_every_turn_and_the_prefill():
    turns = (Message("user", "earlier"), Message("assistant", "yes"), Message("user", "ask"))
    talk = Conversation(Prompt("p", "t", "s"), turns, "Sure, here", "escalation")
    judged = Judged(Generation("k", talk, "it is", (1,), 3, "end"), Verdict("k", "rules", "complied"))
    (found,) = examples({("unsteered", "s"): [judged]}, ["unsteered"], ["s"])
    assert found.prompt == "user: earlier\n\nassistant: yes\n\nuser: ask\n\nanswer begins: Sure, here"
    assert (found.attack, found.answers[0].text) == ("escalation", "it is")
    alone = Judged(Generation("k", Conversation(talk.prompt, turns[:1]), "no", (1,), 3, "end"), judged.verdict)
    assert examples({("unsteered", "s"): [alone]}, ["unsteered"], ["s"])[0].prompt == "earlier"
