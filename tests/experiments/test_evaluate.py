from dataclasses import replace

import pytest
from tests.planted import Planted

from demur.analysis.tables import find
from demur.attacks import get
from demur.errors import InputError
from demur.experiments.evaluate import evaluate
from demur.interventions import add
from demur.prompts.builtin import builtin
from demur.runs import Journal, read_results
from demur.types import Prompt

PROMPTS = builtin("harmful", "test")[:6]
WRAPS = {name: get(name) for name in ("plain", "persona", "escalation")}
SPEC = {"model": "planted", "prompts": "harmful", "max_new_tokens": 24, "steer": "add", "limit": None}
STEER = add(Planted().direction, 1.5, True)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    out, engine = tmp_path_factory.mktemp("evaluate"), Planted()
    return out, engine, evaluate(engine, PROMPTS, WRAPS, STEER, SPEC, out)


def test_every_attack_and_arm_has_its_figures(run):
    out, _, (figures, seconds, _) = run
    assert read_results(out).figures == tuple(figures)
    assert seconds > 0
    assert find(figures, "unsteered", "plain", "refusal_rate").value == 1
    assert find(figures, "unsteered", "persona", "refusal_rate").value == 0
    assert find(figures, "steered", "escalation", "refusal_rate", "unsteered").value == 1


def test_made_counts_every_answer_the_judges_too(run):
    _, engine, (_, _, made) = run
    assert made == engine.rows == 2 * 3 * 6 + 348


def test_the_results_say_what_was_run(run):
    out, engine, _ = run
    spec = read_results(out).spec
    assert spec["engine"]["weights"] == engine.fingerprint.weights
    assert spec["intervention"] == STEER.spec()
    assert spec["decoding"]["max_new_tokens"] == 24
    assert {name: spec[name] for name in SPEC} == SPEC


def test_the_report_stands_alone(run):
    page = (run[0] / "report.html").read_text(encoding="utf-8")
    assert "<script" not in page.lower()
    assert "planted on harmful" in page
    assert "persona: refuses 0%" in page
    assert "steering changes that by +100 points" in page


def test_a_rerun_makes_no_model_call_at_all(run):
    out, _, (figures, _, _) = run
    again = Planted()
    assert evaluate(again, PROMPTS, WRAPS, STEER, SPEC, out)[::2] == (figures, 0)
    assert not again.calls
    with Journal(out / "journal.sqlite", readonly=True) as journal:
        (known,) = journal.runs()
        rows = journal.rows(known.id)
    assert (known.name, known.status) == ("evaluate", "finished")
    assert len(rows) == 36 == len({(row.arm, row.set, row.position) for row in rows})


def test_without_steering_there_is_one_arm(tmp_path):
    figures, _, _ = evaluate(Planted(), PROMPTS[:3], {"plain": get("plain")}, None, {**SPEC, "steer": ""}, tmp_path)
    assert {f.arm for f in figures} == {"unsteered"}
    assert not any(f.versus for f in figures)


def test_no_prompts_are_refused(tmp_path):
    with pytest.raises(InputError, match=r"no prompts"):
        evaluate(Planted(), [], WRAPS, None, SPEC, tmp_path)
    assert not list(tmp_path.iterdir())


def test_prompts_that_an_attack_has_nothing_for_are_left_out_and_named(tmp_path):
    first = PROMPTS[0].id
    some = replace(get("persona"), why_not=lambda prompt: "" if prompt.id == first else "nothing published")
    figures, _, _ = evaluate(Planted(), PROMPTS[:3], {"plain": get("plain"), "some": some}, None, SPEC, tmp_path)
    assert {f.set: f.n for f in figures} == {"plain": 3, "some": 1}
    assert read_results(tmp_path).spec["skipped"] == {"some": [p.id for p in PROMPTS[1:3]]}
    none = replace(some, why_not=lambda _: "nothing published")
    with pytest.raises(InputError, match=r"attack 'none' has nothing for any of the 3 prompts: nothing published"):
        evaluate(Planted(), PROMPTS[:3], {"none": none}, None, SPEC, tmp_path)


def test_edited_prompts_or_another_model_are_another_run_whose_rows_do_not_mix(tmp_path):
    plain = {"plain": get("plain")}
    edited = [replace(PROMPTS[0], text="How do I bake bread?", kind="plain"), *PROMPTS[1:3]]
    for engine, prompts in ((Planted(), PROMPTS[:5]), (Planted(), edited), (Planted(seed=108), edited)):
        (tmp_path / "results.json").unlink(missing_ok=True)
        evaluate(engine, prompts, plain, None, SPEC, tmp_path)
    with Journal(tmp_path / "journal.sqlite", readonly=True) as journal:
        assert sorted(len(journal.rows(run.id)) for run in journal.runs()) == [3, 3, 5]


def test_the_results_of_another_evaluation_are_not_replaced(tmp_path):
    plain = {"plain": get("plain")}
    evaluate(Planted(), PROMPTS[:3], plain, None, SPEC, tmp_path)
    before = (tmp_path / "report.html").read_text(encoding="utf-8")
    with pytest.raises(InputError, match=r"results of another evaluation \(its inputs differ\); give another folder"):
        evaluate(Planted(), PROMPTS[:4], plain, None, SPEC, tmp_path)
    assert (tmp_path / "report.html").read_text(encoding="utf-8") == before
    assert evaluate(Planted(), PROMPTS[:3], plain, None, SPEC, tmp_path)[2] == 0


def test_going_on_with_a_run_whose_inputs_changed_is_refused(tmp_path):
    plain = {"plain": get("plain")}
    evaluate(Planted(), PROMPTS[:3], plain, None, SPEC, tmp_path)
    with Journal(tmp_path / "journal.sqlite", readonly=True) as journal:
        (run,) = journal.runs()
    assert evaluate(Planted(), PROMPTS[:3], plain, None, run.spec, tmp_path)[2] == 0
    with pytest.raises(InputError, match=r"the prompts, attacks or steering changed since this run began .*put it"):
        evaluate(Planted(), PROMPTS[:4], plain, None, run.spec, tmp_path)
    with pytest.raises(InputError, match=r"the model changed since this run began"):
        evaluate(Planted(seed=108), PROMPTS[:3], plain, None, run.spec, tmp_path)


def test_hostile_prompts_stay_text_in_the_report(tmp_path):
    hostile = [
        Prompt(f"x{i}", text, "x", "plain") for i, text in enumerate(["<script>alert(1)</script>", "a\x1b[31mb"])
    ]
    evaluate(Planted(), hostile, {"plain": get("plain")}, None, {**SPEC, "prompts": "<script>x"}, tmp_path)
    assert "<script" not in (tmp_path / "report.html").read_text(encoding="utf-8").lower()
