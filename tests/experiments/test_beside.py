"""Several judges on one run: the first decides, and what the others say of the same answers stands beside."""

import json
from dataclasses import replace

import pytest
from tests.hashed import Hashed
from tests.keywords import Keywords
from tests.planted import Planted
from tests.rubric_server import RubricServer, status

from demur.analysis.tables import find
from demur.errors import DemurError, InputError
from demur.evaluation.calibration import calibration_talks
from demur.experiments.evaluate import EvaluateConfig, evaluate
from demur.interventions import add
from demur.judges.rubric import RubricJudge
from demur.prompts.builtin import builtin
from demur.runs import Journal, read_results
from demur.types import Verdict

PROMPTS = builtin("harmful", "test")[:6]
CONFIG = EvaluateConfig(new_tokens=24, attacks=("persona",))
STEER = add(Planted().direction, 1.5, True)
N = 2 * 2 * 6
"""Answers: arms, sets, requests."""


class Harm(Keywords):
    """Of harm alone: harmful where nobody is sorry."""

    name = "harm"
    harm_alone = True

    def judge(self, generations):
        said = super().judge(generations)
        return [replace(v, detail={"harmful": v.outcome == "complied"}) for v in said]


class Ruled(Keywords):
    """Says of every steered answer what the rules found, and that it is incoherent."""

    def judge(self, generations):
        broken = Verdict("", self.name, "incoherent", {"found": "refused", "rule": "declines"})
        whole = Verdict("", self.name, "refused", {"found": "refused", "rule": "declines"})
        return [replace(broken if g.arm == "steered" else whole, generation=g.key) for g in generations]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    out, engine = tmp_path_factory.mktemp("beside"), Planted()
    done = evaluate(engine, PROMPTS, STEER, CONFIG, out, judge=[Keywords(), Hashed(), Harm()])
    return out, engine, done


def test_the_first_judge_decides_and_generates_nothing_more(run):
    out, engine, done = run
    assert engine.answered == N
    alone = evaluate(Planted(), PROMPTS, STEER, CONFIG, out.parent / "alone", judge=Keywords())
    first = [f for f in done.figures if f.judge == "keywords" and f.arm in ("unsteered", "steered")]
    assert first == list(alone.figures)
    assert {row.verdict.judge for rows in done.table.values() for row in rows} == {"keywords"}
    assert done.overview == alone.overview
    assert find(done.figures, "unsteered", "direct", "refusal_rate").judge == "keywords"


def test_the_others_have_their_rates_and_agreement_in_the_results(run):
    out, _, done = run
    assert read_results(out).figures == done.figures
    rates = {f.judge for f in done.figures if f.metric == "refusal_rate"}
    assert rates == {"keywords", "hashed"}  # a harm classifier's refused is no refusal
    assert {f.judge for f in done.figures if f.metric == "asr"} == {"harm"}
    pairs = [(f.arm, f.judge, f.n) for f in done.figures if f.metric == "judges_equal"]
    assert pairs == [("keywords", "hashed", N), ("keywords", "harm", N), ("hashed", "harm", N)]
    equal = next(f for f in done.figures if f.metric == "judges_equal" and f.judge == "harm")
    assert equal.value == 1
    assert any(line.startswith("keywords and hashed: the same outcome on ") for line in done.summary)
    caveat = "harm tells harm and knows no refusal: a harmless answer parts them."
    assert [caveat in line for line in done.summary if "the same outcome on" in line] == [False, True, True]
    assert [one["name"] for one in done.spec["judges_beside"]] == ["hashed", "harm"]


def test_their_verdicts_are_in_the_journal_and_come_back_in_exports(run, tmp_path):
    from demur.runs.export import flat_rows

    out, *_ = run
    with Journal(out / "journal.sqlite", readonly=True) as journal:
        (known,) = journal.runs()
        rows = flat_rows(journal, known.id)
    assert {row["judge"] for row in rows} == {"keywords", "hashed", "harm"}
    assert len(rows) == 3 * N


def test_the_page_shows_the_table_of_agreement(run):
    page = (run[0] / "report.html").read_text(encoding="utf-8")
    assert "Do the judges agree?" in page and "Cohen&#39;s kappa" in page
    assert "<bdi>keywords</bdi> (rows) and <bdi>hashed</bdi> (columns)" in page
    assert "judges beside" in page


def test_a_rerun_asks_nobody_and_leaves_no_judge_out(run):
    out, _, done = run
    again = Planted()

    class Mute(Hashed):
        def judge(self, generations):
            raise AssertionError("it was asked again")

    rerun = evaluate(again, PROMPTS, STEER, CONFIG, out, judge=[Keywords(), Mute(), Harm()])
    assert (rerun.figures, rerun.generated) == (done.figures, 0)
    with pytest.raises(InputError, match="judges beside differ"):
        evaluate(again, PROMPTS, STEER, CONFIG, out, judge=[Keywords(), Hashed()])


def test_adding_a_judge_to_a_finished_evaluation_generates_nothing(tmp_path):
    evaluate(Planted(), PROMPTS, None, CONFIG, tmp_path, judge=Keywords())
    engine = Planted()
    done = evaluate(engine, PROMPTS, None, CONFIG, tmp_path, judge=[Keywords(), Hashed()])
    assert engine.answered == 0 and any(f.metric == "judges_equal" for f in done.figures)


def test_the_rules_may_stand_beside_and_are_calibrated_then(tmp_path):
    engine = Planted()
    done = evaluate(engine, PROMPTS, STEER, CONFIG, tmp_path, judge=[Keywords(), "rules"])
    assert engine.answered == N + len(calibration_talks())
    assert {f.judge for f in done.figures if f.metric == "refusal_rate"} == {"keywords", "rules"}
    equal = next(f for f in done.figures if f.metric == "judges_refused")
    assert (equal.arm, equal.judge, equal.value) == ("keywords", "rules", 1.0)


def test_the_results_say_which_rules_judged_and_what_they_were_calibrated_to_and_the_run_is_the_same(tmp_path):
    done = evaluate(Planted(), PROMPTS, None, CONFIG, tmp_path, judge=["rules", Hashed()])
    own, other = read_results(tmp_path).spec["judges"]
    assert (own["name"], own["band"]["n"]) == ("rules", len(calibration_talks())) and own["rules"]
    assert own["version"] == done.table["unsteered", "direct"][0].verdict.detail["version"]
    assert set(other) == {"name", "version"} and other["name"] == "hashed"
    assert f"rules (version {own['version']}), hashed" in (tmp_path / "report.html").read_text(encoding="utf-8")
    with Journal(tmp_path / "journal.sqlite", readonly=True) as journal:
        (known,) = journal.runs()
    assert "judges" not in known.spec
    assert evaluate(Planted(), PROMPTS, None, CONFIG, tmp_path, judge=["rules", Hashed()]).generated == 0


def test_refusals_that_became_incoherent_are_counted_and_said(tmp_path):
    done = evaluate(Planted(), PROMPTS, STEER, CONFIG, tmp_path, judge=Ruled())
    shares = {f.arm: (f.value, f.n) for f in done.figures if f.metric == "refusals_called_incoherent"}
    assert shares == {"unsteered": (0.0, 12), "steered": (1.0, 12)}
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "Refusals by the rules that became incoherent (loops, or likelihood): steered 12 of 12." in page


def test_a_judge_of_harm_alone_cannot_choose_attacks(tmp_path):
    from demur.experiments.audit_config import AuditConfig
    from demur.experiments.baseline import baseline
    from demur.experiments.features import verify_features
    from demur.experiments.vector_audit import audit
    from demur.types import FeatureSet

    engine = Planted()
    for call in (
        lambda: baseline(engine, out=tmp_path, judge=Harm()),
        lambda: audit(engine, {"planted": engine.direction}, AuditConfig(n=4), tmp_path, judge=[Harm(), "rules"]),
        lambda: verify_features(engine, FeatureSet(()), out=tmp_path, judge=Harm()),
    ):
        with pytest.raises(InputError, match="judge 'harm' tells harmful answers from others.*put rules first"):
            call()
    assert not any(engine.calls.values())
    done = evaluate(engine, PROMPTS[:2], None, CONFIG, tmp_path, judge=Harm())
    assert find(done.figures, "unsteered", "direct", "asr").judge == "harm"


def test_a_served_judge_that_fails_half_way_is_asked_for_the_rest_alone(tmp_path, monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    good, said = RubricServer._answered, json.dumps({"outcome": "refused", "harmful": False})
    server = RubricServer(lambda _: said, *[lambda h, t: good(server, h, t)] * 7, *[status(403)] * 50)
    try:
        judges = [Keywords(), RubricJudge(server.url, "m", name="served", price=(1.0, 2.0), backoff=0.0)]
        engine = Planted()
        with pytest.raises(InputError, match="HTTP 403"):
            evaluate(engine, PROMPTS, STEER, CONFIG, tmp_path, judge=judges)
        assert len(server.replied) == 7
        server.faults = []
        done = evaluate(engine, PROMPTS, STEER, CONFIG, tmp_path, judge=judges)
    finally:
        server.stop()
    assert engine.answered == N
    replied = len({row.generation.key for rows in done.table.values() for row in rows})
    assert len(server.replied) == replied
    assert f"served: {replied} replies, {100 * replied:,} tokens in and {10 * replied} out, $" in " ".join(done.summary)
    with Journal(tmp_path / "journal.sqlite", readonly=True) as journal:
        assert [known.status for known in journal.runs()] == ["finished"]


def test_a_judge_that_cannot_be_had_is_found_before_anything_is_generated(tmp_path):
    engine = Planted()
    with pytest.raises(DemurError):
        evaluate(engine, PROMPTS, None, CONFIG, tmp_path, judge=["rules", f"hf:{tmp_path}/none@harmbench"])
    assert not any(engine.calls.values())
