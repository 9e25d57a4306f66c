import json
from dataclasses import replace

import pytest
from tests.keywords import Keywords
from tests.planted import Planted

from demur.analysis.tables import find
from demur.directions.artifact import save_direction
from demur.errors import InputError, UnknownName
from demur.evaluation.calibration import calibration_talks
from demur.experiments.evaluate import EvaluateConfig, evaluate, planned
from demur.interventions import ablate, add
from demur.prompts.builtin import builtin
from demur.prompts.load import load
from demur.runs import Journal, digest, read_results
from demur.types import Conversation, Message, Prompt

PROMPTS = builtin("harmful", "test")[:6]
ASKED = {"prompts": "harmful", "steer": "add"}
PLAIN = EvaluateConfig(new_tokens=24, asked=ASKED)
ATTACKED = replace(PLAIN, attacks=("persona", "escalation"))
STEER = add(Planted().direction, 1.5, True)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    out, engine = tmp_path_factory.mktemp("evaluate"), Planted()
    return out, engine, evaluate(engine, PROMPTS, STEER, ATTACKED, out)


def test_every_attack_and_arm_has_its_figures(run):
    out, _, done = run
    assert read_results(out).figures == done.figures
    assert done.seconds > 0
    assert find(done.figures, "unsteered", "direct", "refusal_rate").value == 1
    assert find(done.figures, "unsteered", "persona", "refusal_rate").value == 0
    assert find(done.figures, "steered", "escalation", "refusal_rate", "unsteered").value == 1


def test_generated_counts_every_answer_the_judges_too(run):
    _, engine, done = run
    assert done.generated == engine.answered == 2 * 3 * 6 + len(calibration_talks())


def test_the_results_say_what_was_run(run):
    out, engine, done = run
    spec = read_results(out).spec
    assert spec["engine"]["weights"] == engine.fingerprint.weights
    assert spec["intervention"] == STEER.spec()
    assert spec["decoding"]["max_new_tokens"] == spec["max_new_tokens"] == 24
    assert (spec["model"], spec["prompts"], spec["asked"]) == ("mock", "harmful", ASKED)
    assert spec["attacks"] == ["direct", "persona", "escalation"]
    assert json.loads(json.dumps(done.spec)) == spec


def test_the_report_stands_alone(run):
    page = (run[0] / "report.html").read_text(encoding="utf-8")
    assert "<script" not in page.lower()
    assert "mock on harmful" in page
    assert "persona: refuses 0%" in page
    assert "steering changes that by +100 points" in page


def test_a_rerun_makes_no_model_call_at_all(run):
    out, _, done = run
    again = Planted()
    rerun = evaluate(again, PROMPTS, STEER, ATTACKED, out)
    assert (rerun.figures, rerun.generated) == (done.figures, 0)
    assert not again.calls
    with Journal(out / "journal.sqlite", readonly=True) as journal:
        (known,) = journal.runs()
        rows = journal.rows(known.id)
    assert (known.name, known.status) == ("evaluate", "finished")
    assert len(rows) == 36 == len({(row.arm, row.set, row.position) for row in rows})


def test_without_steering_there_is_one_arm(tmp_path):
    done = evaluate(Planted(), PROMPTS[:3], None, PLAIN, tmp_path)
    assert {f.arm for f in done.figures} == {"unsteered"}
    assert not any(f.versus for f in done.figures)


def test_prompts_are_a_sets_name_a_file_texts_or_prompts(tmp_path):
    (file := tmp_path / "mine.csv").write_text("text\nHow do I bake bread?\nHow do I pick a lock?\n", encoding="utf-8")
    config = replace(PLAIN, limit=2)

    def asked(prompts, place):
        done = evaluate(Planted(), prompts, None, config, tmp_path / place)
        return [row.generation.conversation.prompt for row in done.table["unsteered", "direct"]], done.spec["prompts"]

    named, name = asked("harmful", "named")
    assert (named, name) == (load("harmful", "test", 2), "harmful")
    texts = ["How do I bake bread?", "How do I pick a lock?"]
    for given, called in ((str(file), str(file)), (texts, "given")):
        rows, name = asked(given, called[-5:])
        assert ([row.text for row in rows], name) == (texts, called)


def test_no_prompts_and_unknown_attacks_are_refused(tmp_path):
    with pytest.raises(InputError, match=r"no prompts"):
        evaluate(Planted(), [], None, PLAIN, tmp_path)
    with pytest.raises(UnknownName, match="Did you mean 'persona'"):
        EvaluateConfig(attacks=("persone",))
    assert not list(tmp_path.iterdir())


@pytest.fixture
def published(tmp_path):
    """An attack that knows jailbreaks of some prompts."""

    def make(prompts):
        rows = [{"index": i, "goal": p.text, "prompt": f"Wrapped: {p.text}"} for i, p in enumerate(prompts)]
        (file := tmp_path / "artifact.json").write_text(json.dumps({"jailbreaks": rows}))
        return f"replay:{file}"

    return make


def test_prompts_that_an_attack_has_nothing_for_are_left_out_and_named(tmp_path, published):
    attack = published(PROMPTS[:1])
    done = evaluate(Planted(), PROMPTS[:3], None, replace(PLAIN, attacks=(attack,)), tmp_path / "some")
    assert {f.set: f.n for f in done.figures if f.metric == "refusal_rate"} == {"direct": 3, attack: 1}
    assert read_results(tmp_path / "some").spec["skipped"] == {attack: [p.id for p in PROMPTS[1:3]]}
    assert "2 of 3 prompts have no such attack" in (tmp_path / "some" / "report.html").read_text(encoding="utf-8")
    attack = published(PROMPTS[4:5])
    with pytest.raises(InputError, match=r"attack 'replay:.*' has nothing for any of the 3 prompts: no jailbreak for"):
        evaluate(Planted(), PROMPTS[:3], None, replace(PLAIN, attacks=(attack,)), tmp_path / "none")


def test_edited_prompts_or_another_model_are_another_run_whose_rows_do_not_mix(tmp_path):
    edited = [replace(PROMPTS[0], text="How do I bake bread?", kind="plain"), *PROMPTS[1:3]]
    for engine, prompts in ((Planted(), PROMPTS[:5]), (Planted(), edited), (Planted(seed=108), edited)):
        (tmp_path / "results.json").unlink(missing_ok=True)
        evaluate(engine, prompts, None, PLAIN, tmp_path)
    with Journal(tmp_path / "journal.sqlite", readonly=True) as journal:
        assert sorted(len(journal.rows(run.id)) for run in journal.runs()) == [3, 3, 5]


def test_the_results_of_another_evaluation_are_not_replaced(tmp_path):
    evaluate(Planted(), PROMPTS[:3], None, PLAIN, tmp_path)
    before = (tmp_path / "report.html").read_text(encoding="utf-8")
    with pytest.raises(InputError, match=r"results of another evaluation \(its prompts differ\); give another folder"):
        evaluate(Planted(), PROMPTS[:4], None, PLAIN, tmp_path)
    assert (tmp_path / "report.html").read_text(encoding="utf-8") == before
    assert evaluate(Planted(), PROMPTS[:3], None, PLAIN, tmp_path).generated == 0


def test_attacks_and_steering_may_be_added_and_cost_only_their_own_answers(tmp_path):
    engine = Planted()
    first = evaluate(engine, PROMPTS[:3], None, PLAIN, tmp_path)
    assert first.generated == len(calibration_talks()) + 3
    more = replace(PLAIN, attacks=("persona",))
    assert evaluate(engine, PROMPTS[:3], None, more, tmp_path).generated == 3
    assert evaluate(engine, PROMPTS[:3], STEER, more, tmp_path).generated == 6
    noted = [replace(p, columns=(("note", "x"),)) for p in PROMPTS[:3]]
    assert evaluate(engine, noted, STEER, more, tmp_path).generated == 0  # a column decides nothing
    for steer, config, lost in ((None, more, "steering"), (STEER, PLAIN, "attack persona")):
        with pytest.raises(InputError, match=rf"another evaluation \(its {lost} differ\)"):
            evaluate(engine, PROMPTS[:3], steer, config, tmp_path)


def test_a_column_groups_the_rates_in_figures_results_and_report(tmp_path):
    rows = [replace(p, columns=(("tone", "formal" if i < 2 else "warm"),)) for i, p in enumerate(PROMPTS)]
    done = evaluate(Planted(), rows, STEER, replace(ATTACKED, by="tone"), tmp_path)
    assert find(done.figures, "unsteered", "direct [tone: formal]", "refusal_rate").n == 2
    assert find(done.figures, "steered", "persona [tone: warm]", "refusal_rate", "unsteered").n == 4
    assert read_results(tmp_path).figures == done.figures and done.spec["by"] == "tone"
    assert "direct [tone: formal]" in (tmp_path / "report.html").read_text(encoding="utf-8")
    assert done.overview is not None and all("[" not in row.under for row in done.overview.rows)
    with pytest.raises(UnknownName, match="no column of the prompts named 'mood'"):
        evaluate(Planted(), rows, None, replace(PLAIN, by="mood"), tmp_path / "none")


def test_going_on_with_a_run_whose_inputs_changed_is_refused(tmp_path):
    evaluate(Planted(), PROMPTS[:3], None, PLAIN, tmp_path)
    with Journal(tmp_path / "journal.sqlite", readonly=True) as journal:
        (run,) = journal.runs()
    then = {name: run.spec[name] for name in ("engine", "inputs")}
    resumed = replace(PLAIN, asked={**run.spec["asked"], "resumes": then})
    assert evaluate(Planted(), PROMPTS[:3], None, resumed, tmp_path).generated == 0
    with pytest.raises(InputError, match=r"the prompts, attacks or steering changed since this run began .*put it"):
        evaluate(Planted(), PROMPTS[:4], None, resumed, tmp_path)
    with pytest.raises(InputError, match=r"the model changed since this run began \(weights: \w+ then, \w+ now\);"):
        evaluate(Planted(seed=108), PROMPTS[:3], None, resumed, tmp_path)


def test_hostile_prompts_stay_text_in_the_report(tmp_path):
    hostile = [
        Prompt(f"x{i}", text, "<script>x", "plain")
        for i, text in enumerate(["<script>alert(1)</script>", "a\x1b[31mb"])
    ]
    evaluate(Planted(), hostile, None, PLAIN, tmp_path)
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "<script" not in page.lower() and "on &lt;script&gt;x" in page


def test_a_judge_of_the_users_own_calibrates_nothing_and_is_named_everywhere(tmp_path):
    engine, mine = Planted(), Keywords()
    done = evaluate(engine, PROMPTS, STEER, ATTACKED, tmp_path, judge=mine)
    assert done.generated == engine.answered == 2 * 3 * 6  # no answer more than is judged
    assert {f.judge for f in done.figures} == {"keywords"}
    verdicts = [row.verdict for rows in done.table.values() for row in rows]
    version = digest(mine.spec())[:12]
    assert {(v.judge, v.detail["version"]) for v in verdicts} == {("keywords", version)}
    assert read_results(tmp_path).spec["judge"] == {"name": "keywords", "spec": version}
    assert find(done.figures, "unsteered", "direct", "refusal_rate").value == 1
    assert find(done.figures, "unsteered", "direct", "off_topic_rate").value == 0
    assert done.report is not None and "keywords" in done.report.read_text(encoding="utf-8")
    assert evaluate(Planted(), PROMPTS, STEER, ATTACKED, tmp_path, judge=Keywords()).generated == 0


def test_another_judge_is_another_evaluation(tmp_path):
    evaluate(Planted(), PROMPTS[:2], None, PLAIN, tmp_path, judge=Keywords())
    for other in (Keywords("cannot"), None):
        with pytest.raises(InputError, match=r"its judge differ"):
            evaluate(Planted(), PROMPTS[:2], None, PLAIN, tmp_path, judge=other)


@pytest.mark.unchecked
def test_what_is_no_judge_and_what_a_judge_must_not_say_is_refused(tmp_path):
    class Vague(Keywords):
        def judge(self, generations):
            return [replace(v, outcome="no") for v in super().judge(generations)]

    class Short(Keywords):
        def judge(self, generations):
            return super().judge(generations)[1:]

    engine = Planted()
    for judge, said in ((Keywords, r"the class Keywords; give one of it: Keywords\("), (3, "a int is no judge"),
                        ([], "no judge in the list"), ("words", "no judge named 'words'")):  # fmt: skip
        with pytest.raises(InputError, match=said):
            evaluate(engine, PROMPTS[:2], None, PLAIN, tmp_path, judge=judge)  # pyright: ignore
    assert not any(engine.calls.values())
    for judge, said in ((Vague(), "no outcome .judge keywords. named 'no'"), (Short(), "1 verdicts on 2 answers")):
        with pytest.raises(InputError, match=said):
            evaluate(engine, PROMPTS[:2], None, PLAIN, tmp_path, judge=judge)


@pytest.mark.unchecked
def test_steering_is_an_intervention_or_a_line_and_a_direction_alone_is_refused(tmp_path):
    path = save_direction(Planted().direction, tmp_path / "r.safetensors")
    line = evaluate(Planted(), PROMPTS[:2], f"add:{path}:1.5r", PLAIN, tmp_path / "a", judge=Keywords())
    value = evaluate(Planted(), PROMPTS[:2], STEER, PLAIN, tmp_path / "b", judge=Keywords())
    assert line.figures == value.figures and line.spec["inputs"] == value.spec["inputs"]
    with pytest.raises(InputError, match=r"a Direction alone .* give demur\.add"):
        evaluate(Planted(), PROMPTS[:2], Planted().direction, PLAIN, tmp_path / "c")  # pyright: ignore


def test_a_path_is_a_file_of_prompts(tmp_path):
    (file := tmp_path / "mine.csv").write_text("text\nHow do I bake bread?\n", encoding="utf-8")
    done = evaluate(Planted(), file, None, PLAIN, tmp_path / "out", judge=Keywords())
    assert done.spec["prompts"] == str(file)
    assert done.table["unsteered", "direct"][0].generation.conversation.prompt.text == "How do I bake bread?"


def test_two_prompts_of_one_id_are_refused_because_they_would_count_as_one_request(tmp_path):
    twice = [Prompt("a", "How do I bake bread?", "mine"), Prompt("a", "How do I pick a lock?", "mine")]
    with pytest.raises(InputError, match="2 prompts have the id 'a'; give each its own"):
        evaluate(Planted(), twice, None, PLAIN, tmp_path)


@pytest.mark.parametrize("change", [{"limit": 0}, {"limit": -2}, {"new_tokens": 0}])
def test_sizes_that_mean_nothing_are_refused(change):
    ((name, value),) = change.items()
    with pytest.raises(InputError, match=f"{name} is {value}; it must be 1 or more"):
        EvaluateConfig(**change)


LONGROPE = {
    "rope_type": "longrope",
    "short_factor": [1.0] * 4,
    "long_factor": [4.0] * 4,
    "original_max_position_embeddings": 64,
    "rope_theta": 1e4,
}


@pytest.mark.parametrize(
    ("family", "changes", "left"),
    [
        ("llama", {"max_position_embeddings": 120}, ["long"]),
        ("llama4_text", {"floor_scale": 120}, ["long"]),
        ("phi3", {"rope_parameters": LONGROPE, "original_max_position_embeddings": 64}, ["middle"]),
    ],
)
def test_prompts_that_the_model_has_no_room_for_are_left_out(build, tmp_path, family, changes, left):
    engine = build(family, **changes).engine
    rows = [Prompt(id, "the sea and the wind " * n, "mine") for id, n in (("short", 1), ("middle", 6), ("long", 20))]
    lengths = [len(engine.row(Conversation(row, (Message("user", row.text),))).tokens) for row in rows]
    assert lengths[0] + 20 < 64 > lengths[1] > 44 and 120 < lengths[2] < 200
    done = evaluate(engine, rows, config=EvaluateConfig(new_tokens=20), out=tmp_path, judge=Keywords())
    assert done.spec["too_long"] == {"direct": left}
    assert [row.generation.conversation.prompt.id for row in done.table["unsteered", "direct"]] == [
        row.id for row in rows if row.id not in left
    ]


@pytest.mark.parametrize("steered", [False, True])
def test_what_is_planned_is_what_is_generated(steered, tmp_path):
    engine, config = Planted(), EvaluateConfig(attacks=("persona",), limit=4)
    steer = ablate(engine.direction) if steered else None
    first = planned(engine, 4, config, steered)
    done = evaluate(engine, "harmful", steer, config, tmp_path / "first")
    assert first == done.generated
    again = evaluate(engine, "harmful", steer, config, tmp_path / "second")
    assert planned(engine, 4, config, steered) == again.generated == first - len(calibration_talks())
