import json
import shutil
from dataclasses import replace
from typing import Any

import pytest
import torch
from tests.hashed import rows
from tests.keywords import Keywords
from tests.planted import Planted

from demur.analysis.tables import METRICS, find
from demur.attacks import attack
from demur.directions.anything import load_direction
from demur.engines.mock import MockEngine
from demur.errors import InputError, NoAttack
from demur.evaluation.evaluator import Evaluator
from demur.evaluation.held_out import held_out_sets
from demur.experiments import baseline as job
from demur.experiments.baseline import (
    FULL,
    SETS,
    BaselineConfig,
    arms_of,
    baseline,
    choose,
    control_figures,
    measure,
    planned,
)
from demur.experiments.baseline_report import Chosen
from demur.fitting.attack_ranking import Ranking
from demur.fitting.candidates import Fit, Grid
from demur.fitting.choice import Choice
from demur.fitting.doses import DIRECTION_DOSES, where_refusal_begins
from demur.fitting.openings import Openings
from demur.fitting.refusal import DirectionConfig
from demur.interventions import add, read_spec
from demur.prompts.builtin import builtin
from demur.prompts.sets import PromptSets, builtin_sets
from demur.runs import Journal, read_results
from demur.types import SteeringVector

CONFIG = BaselineConfig(
    DirectionConfig(n=8, choose=6, grid=Grid(2, positions=(-1,))),
    validation=6,
    n=6,
    items=10,
    attacks=("persona", "fiction", "authority", "prefill"),
    doses=(0.3, 1.0),
    randoms=1,
)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    out = tmp_path_factory.mktemp("baseline") / "deeper" / "out"
    engine = Planted()
    return out, engine, baseline(engine, CONFIG, out)


def test_it_leaves_a_journal_figures_a_report_specs_the_direction_and_its_cache(run):
    out, _, done = run
    names = {path.name for path in out.iterdir() if not path.name.startswith("journal")}
    assert names == {"results.json", "report.html", "add.json", "ablate.json", "refusal.safetensors", "cache"}
    assert (done.out, done.report) == (out, out / "report.html")


def test_a_column_groups_the_rates_of_the_arms_that_are_no_controls(run, tmp_path):
    out, _, done = run
    parted = baseline(Planted(), replace(CONFIG, by="kind"), shutil.copytree(out, tmp_path / "again"))
    assert parted.generated == 0
    ours = [f for f in parted.figures if " [kind: " in f.set]
    assert {(f.arm, f.set) for f in ours} == {
        (arm, f"{name} [kind: {'harmful' if name == 'attacked' else name}]")
        for arm in ("unsteered", "add", "ablate")
        for name in SETS
    }
    assert tuple(f for f in parted.figures if f not in ours) == done.figures
    assert (parted.summary, parted.spec["by"]) == (done.summary, "kind")


def test_results_hold_every_arm_set_and_metric(run):
    out, _, done = run
    results = read_results(out)
    assert results.figures == done.figures
    shares = {(f.arm, f.set, f.metric) for f in results.figures if not f.versus}
    arms = ("unsteered", "add", "ablate", "random")
    assert shares >= {(arm, name, metric) for arm in arms for name in SETS for metric in METRICS.values()}
    assert shares >= {(arm, "capability", "accuracy") for arm in arms}
    assert shares >= {("random ablate", "harmful", metric) for metric in METRICS.values()}
    changes = {(f.arm, f.set, f.metric) for f in results.figures if f.versus == "unsteered"}
    assert changes >= {(arm, name, metric) for arm in arms[1:] for name in SETS for metric in METRICS.values()}
    assert {("random", "attacked", "largest_refusal_rate"), ("add", "capability", "accuracy")} <= changes
    assert all(f.low <= f.value <= f.high for f in results.figures)
    keys = [(f.arm, f.versus, f.set, f.metric) for f in results.figures]
    assert len(keys) == len(set(keys))


def test_shares_of_an_arm_on_a_set_sum_to_one(run):
    _, _, done = run
    totals: dict[tuple[str, str], float] = {}
    for f in done.figures:
        if not f.versus and f.metric in METRICS.values():
            totals[f.arm, f.set] = totals.get((f.arm, f.set), 0.0) + f.value
    assert list(totals.values()) == pytest.approx([1.0] * len(totals))


def test_the_planted_effects_are_found(run):
    _, engine, done = run
    value = {(f.arm, f.set, f.metric, f.versus): f.value for f in done.figures}
    assert value["unsteered", "harmful", "refusal_rate", ""] == 1
    assert value["unsteered", "attacked", "refusal_rate", ""] == 0
    assert value["add", "attacked", "refusal_rate", "unsteered"] == 1
    assert value["ablate", "harmful", "refusal_rate", "unsteered"] == -1
    assert abs(value["random", "attacked", "largest_refusal_rate", "unsteered"]) < 0.2
    assert value["add", "capability", "accuracy", "unsteered"] == 0
    assert abs(float(done.direction.vector @ engine.direction.vector)) > 0.99


def test_the_spec_says_what_was_run_and_what_was_chosen(run):
    out, engine, done = run
    spec = read_results(out).spec
    chosen = spec["chosen_on_validation"]
    assert spec["config"]["direction"]["n"] == 8
    assert spec["engine"]["weights"] == engine.fingerprint.weights
    assert spec["families"] == list(CONFIG.attacks)
    assert chosen["attacked"] == list(done.chosen.ranking.best)
    assert len(chosen["attacked"]) == 3
    assert chosen["dose"] == done.chosen.dose.key == 1.0
    assert chosen["dose_within_budget"] is True
    assert set(chosen["attack_compliance"]) == set(chosen["answered_on_topic"]) == set(CONFIG.attacks)
    ends = {(end["arm"], end["set"], end["outcome"]): end for end in spec["primary"]}
    assert set(ends) == {("add", "attacked", "refused"), ("ablate", "harmful", "complied")}
    assert all(0 < end["p"] <= end["holm"] <= 1 for end in ends.values())
    assert [(end.arm, end.holm) for end in done.endpoints] == [(end["arm"], end["holm"]) for end in spec["primary"]]


def test_the_report_stands_alone_and_runs_nothing(run):
    out, _, done = run
    page = (out / "report.html").read_text(encoding="utf-8")
    assert "<script" not in page.lower()
    assert "http://" not in page.replace("http://www.w3.org", "")
    assert 'src="' not in page.replace('src="data:', "")
    assert "mock: refusal, and what steering does to it" in page
    assert "refuses 100%" in page
    assert len(done.summary) == 4


def test_direction_and_specs_load_back_and_steer_as_they_did(run):
    out, engine, done = run
    loaded = load_direction(out / "refusal.safetensors", engine.fingerprint.weights)
    assert loaded.vector.equal(done.direction.vector)
    add, ablate = (read_spec(out / f"{name}.json").bind(engine.n_layers) for name in ("add", "ablate"))
    attacked, harmful = (done.table["unsteered", name][0].generation.conversation for name in ("attacked", "harmful"))
    assert [engine.decide(attacked, steer) for steer in (None, add)] == ["comply", "refuse"]
    assert [engine.decide(harmful, steer) for steer in (None, ablate)] == ["refuse", "comply"]


def test_a_rerun_calls_the_model_for_nothing_and_gives_the_same_figures(run):
    out, whole, done = run
    again = Planted()
    rerun = baseline(again, CONFIG, out)
    assert done.generated == whole.answered > 100
    assert rerun.generated == 0
    assert rerun.figures == done.figures
    assert not any(again.calls.values())
    with Journal(out / "journal.sqlite", readonly=True) as journal:
        (known,) = journal.runs()
        assert (known.name, known.status) == ("baseline", "finished")
        assert {row.set for row in journal.rows(known.id)} >= {*SETS, "validation attacked"}


def test_a_rerun_with_doses_of_its_own_choice_calls_the_model_for_nothing_too(tmp_path):
    config = replace(CONFIG, doses=None, n=4)
    first = baseline(Planted(), config, tmp_path)
    again = Planted()
    assert baseline(again, config, tmp_path).figures == first.figures
    assert not any(again.calls.values())


def test_a_killed_baseline_goes_on(run, tmp_path):
    _, whole, done = run

    class Dying(Planted):
        """Dies while the test sets are answered."""

        def generate(self, requests, decoding):
            if self.calls["generate"] == whole.calls["generate"] - 1:
                raise KeyboardInterrupt
            return super().generate(requests, decoding)

    with pytest.raises(KeyboardInterrupt):
        baseline(Dying(), CONFIG, tmp_path)
    assert not (tmp_path / "results.json").exists()
    resumed = baseline(Planted(), CONFIG, tmp_path)
    assert resumed.figures == done.figures
    assert 0 < resumed.generated < done.generated
    spec = json.loads((tmp_path / "results.json").read_text(encoding="utf-8"))["spec"]
    assert spec["experiment"] == "baseline"


def test_on_a_users_own_prompts_each_is_asked_for_its_own_use_and_no_other_is_steered(tmp_path):
    """What is chosen is chosen on validation prompts, what is scored are test prompts, all of them the user's."""
    rows = builtin_sets().prompts
    mine = PromptSets("mine", tuple(replace(p, id=f"mine {p.id}") for p in rows if p.kind != "borderline")[::3])
    done = baseline(Planted(), CONFIG, tmp_path, mine)
    with Journal(tmp_path / "journal.sqlite", readonly=True) as journal:
        (known,) = journal.runs()
        asked = [(row.set, row.generation.conversation.prompt) for row in journal.rows(known.id) if row.generation]
    assert {name for name, _ in asked} >= {"harmful", "attacked", "plain", "validation attacked"}
    for name, prompt in asked:
        assert prompt in mine.prompts
        assert prompt.use == ("validation" if name.startswith("validation") else "test")
    assert not any(f.set == "borderline" for f in done.figures)
    assert read_results(tmp_path).spec["prompts"] == json.loads(json.dumps(mine.record()))
    assert find(done.figures, "ablate", "harmful", "compliance_rate", "unsteered").value == 1


def chosen(dose: float = 0.5) -> Chosen:
    """A choice around the planted direction."""
    direction = Planted().direction
    fit = Fit(direction, SteeringVector({direction.site: direction.vector}), (), Openings(((1,),), 1.0, 1, 1))
    return Chosen(fit, Ranking(("persona",), {}, {}), Choice(dose, True, 1.0, ()))


def test_arms_are_unsteered_add_ablate_and_norm_matched_random_ones():
    direction = Planted().direction
    arms = {arm.name: arm.intervention for arm in arms_of(chosen(), 2)}
    assert list(arms) == [
        "unsteered",
        "add",
        "ablate",
        "random add 0",
        "random ablate 0",
        "random add 1",
        "random ablate 1",
    ]
    assert arms["unsteered"] is None
    made: Any = {name: how and how.bind(4) for name, how in arms.items()}
    norms = [float(made[name].deltas[direction.site].norm()) for name in ("add", "random add 0", "random add 1")]
    assert norms == pytest.approx([0.5 * direction.norm] * 3, rel=1e-5)
    assert made["ablate"].sites == made["random ablate 1"].sites
    assert len(made["ablate"].sites) == 12
    assert {made[name].where for name in ("ablate", "random ablate 1")} == {"after-first"}
    axes = torch.stack([made[name].inner.axis for name in ("ablate", "random ablate 0", "random ablate 1")])
    assert (axes @ axes.T - torch.eye(3)).abs().max() < 0.9


def test_the_test_sets_hold_test_prompts_only_and_the_same_requests_attacked():
    sets = held_out_sets(builtin_sets(), ("persona", "fiction", "prefill"), 5)
    assert list(sets) == ["harmful", "attacked", "borderline", "plain"]
    assert {c.prompt.use for rows in sets.values() for c in rows} == {"test"}
    assert [len(rows) for rows in sets.values()] == [5, 15, 5, 5]
    assert (
        {c.prompt for c in sets["attacked"]} == {c.prompt for c in sets["harmful"]} <= set(builtin("harmful", "test"))
    )
    fewer = held_out_sets(builtin_sets(), (), 5, benign=2)
    assert {name: len(rows) for name, rows in fewer.items()} == {"harmful": 5, "borderline": 2, "plain": 2}
    assert {c.prompt for c in fewer["plain"]} < {c.prompt for c in sets["plain"]}


def test_random_arms_are_pooled_over_their_seeds():
    table = {
        ("unsteered", "harmful"): rows("rrrr"),
        ("add", "harmful"): rows("rrrr"),
        ("random add 0", "harmful"): rows("rrrr"),
        ("random add 1", "harmful"): rows("rccc"),
        ("random ablate 0", "harmful"): rows("rrrc"),
    }
    found = control_figures(table, 2)
    assert {f.arm for f in found} == {"random", "random ablate"}
    assert find(found, "random", "harmful", "refusal_rate", "unsteered").value == -3 / 8
    assert find(found, "random", "harmful", "largest_refusal_rate", "unsteered").value == -0.75
    assert find(found, "random ablate", "harmful", "largest_refusal_rate", "unsteered").value == -0.25


def test_where_batches_change_numbers_the_unsteered_arm_runs_once_more_in_other_batches(judge, decoding):
    class Rounded(Planted):
        """Says that it computes in bf16."""

        @property
        def fingerprint(self):
            return replace(super().fingerprint, dtype="bf16")

    def table(engine):
        evaluator = Evaluator(engine, judge, decoding)
        return measure(evaluator, CONFIG, choose(evaluator, replace(CONFIG, doses=(1.0,))))

    assert {name for arm, name in table(Rounded()) if arm == "null"} == {"harmful", "attacked"}
    assert not any(arm == "null" for arm, _ in table(Planted()))


def test_of_several_random_directions_the_first_stands_on_all_sets_the_others_on_those_of_the_endpoints(
    judge, decoding
):
    evaluator = Evaluator(Planted(), judge, decoding)
    found = measure(evaluator, replace(CONFIG, randoms=2), chosen(1.0))
    at = {arm: {name for other, name in found if other == arm} for arm, _ in found if arm.startswith("random")}
    assert at == {"random add 0": {*SETS}, "random add 1": {"attacked"}, "random ablate 0": {"harmful"},
                  "random ablate 1": {"harmful"}}  # fmt: skip


def test_the_full_size_takes_all_families_and_candidates():
    assert (FULL.n, FULL.validation, FULL.attacks, FULL.randoms) == (100, 45, (), 5)
    assert FULL.direction.grid == Grid(ablated=None) and FULL.direction.n is None


@pytest.mark.parametrize("change", [{"randoms": 0}, {"doses": ()}])
def test_a_baseline_without_controls_or_doses_is_refused_before_anything_runs(change):
    with pytest.raises(InputError, match=r"a study needs a dose and a random direction"):
        BaselineConfig(**change)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"n": 0}, "n is 0; it must be 1 or more"),
        ({"validation": 0}, "validation is 0; it must be 1 or more"),
        ({"doses": (0.3, 0.0)}, "doses has 0.0; a dose of the direction is a number above 0"),
        ({"doses": (-0.2,)}, "doses has -0.2; a dose"),
    ],
)
def test_baselines_that_measure_nothing_are_refused(change, said):
    with pytest.raises(InputError, match=said):
        BaselineConfig(**change)


class Meek(MockEngine):
    """Refuses nothing."""

    def decide(self, c, steer):
        return "comply"


def test_a_model_that_refuses_nothing_is_measured_without_a_direction_and_says_so(tmp_path):
    done = baseline(Meek(), CONFIG, tmp_path)
    assert done.direction is None and done.endpoints == ()
    assert {f.arm for f in done.figures} == {"unsteered"}
    assert {f.set for f in done.figures} >= {*SETS, "capability"}
    assert find(done.figures, "unsteered", "harmful", "refusal_rate").value == 0
    assert done.summary[0].startswith("It refuses 0%")
    assert "No refusal direction was fitted, added or ablated: 0 of 16 fitting prompts were refused" in done.summary[-1]
    assert done.report is not None and done.report.exists() and not (tmp_path / "refusal.safetensors").exists()
    assert read_results(tmp_path).spec["primary"] == []


def test_where_no_attack_leaves_it_able_to_answer_the_rest_is_measured_and_said(tmp_path, monkeypatch):
    def none(*_):
        raise NoAttack("no attack family leaves harmless requests answerable on this model.")

    monkeypatch.setattr(job, "rank_attacks", none)
    done = baseline(Planted(), CONFIG, tmp_path)
    assert {name for _, name in done.table} == {"harmful", "borderline", "plain"}
    assert find(done.figures, "ablate", "harmful", "compliance_rate", "unsteered").value == 1
    assert done.summary[-1].startswith("Nothing is attacked: no attack family")
    assert [end.arm for end in done.endpoints] == ["ablate"]


def test_what_is_planned_is_what_is_generated_with_the_null_arm_of_bf16_or_hardly_more(run):
    _, whole, done = run
    null = sum(len(done.table["unsteered", name]) for name in ("harmful", "attacked"))
    assert whole.answered + null <= planned(Planted(), CONFIG) <= 1.02 * (whole.answered + null)


def test_doses_are_tried_from_where_refusal_begins(judge, decoding):
    """The planted direction makes the mock open with a refusal from some dose on; weaker ones are not tried."""
    engine = Planted()
    evaluator = Evaluator(engine, judge, decoding)
    fit = choose(evaluator, CONFIG).fit
    assert fit is not None
    doses = where_refusal_begins(evaluator, fit, ("persona",), 4)
    assert len(doses) == 2 and set(doses) <= set(DIRECTION_DOSES)
    talks = [attack(p, "persona") for p in builtin("harmful", "validation")[:4]]
    scores = [float(fit.openings.scores(engine, talks, add(fit.direction, dose, True)).mean()) for dose in
              DIRECTION_DOSES]  # fmt: skip
    first = next((dose for dose, score in zip(DIRECTION_DOSES, scores, strict=True) if score >= 0), doses[0])
    assert doses[0] == min(first, DIRECTION_DOSES[-2])


def test_a_baseline_takes_a_judge_of_the_users_own(tmp_path):
    engine = Planted()
    done = baseline(engine, replace(CONFIG, n=4, items=4), tmp_path, judge=Keywords())
    assert {f.judge for f in done.figures if f.judge} == {"keywords"}
    assert read_results(tmp_path).spec["judge"]["name"] == "keywords"
    assert find(done.figures, "unsteered", "harmful", "refusal_rate").value == 1
    assert find(done.figures, "ablate", "harmful", "refusal_rate").value == 0
