import json

import pytest
from demur.experiments.quickstart import SETS, run_study
from tests.planted import Planted

from demur.directions.artifact import load_direction
from demur.experiments.baseline import Size
from demur.fitting.candidates import Grid
from demur.interventions import read_spec
from demur.judges.outcome import METRICS
from demur.runs import Journal, read_results

SIZE = Size(
    fit=8,
    choose=6,
    validation=6,
    test=6,
    items=10,
    families=("persona", "fiction", "authority", "prefill"),
    doses=(0.3, 1.0),
    randoms=1,
    grid=Grid(2, positions=(-1,)),
)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    out = tmp_path_factory.mktemp("study") / "deeper" / "out"
    engine = Planted()
    return out, engine, run_study(engine, out, "planted", SIZE)


def test_it_leaves_a_journal_figures_a_report_specs_and_the_direction(run):
    out, _, _ = run
    names = {path.name for path in out.iterdir() if not path.name.startswith("journal")}
    assert names == {"results.json", "report.html", "add.json", "ablate.json", "refusal.safetensors", "cache"}


def test_results_hold_every_arm_set_and_metric(run):
    out, _, done = run
    results = read_results(out)
    assert results.figures == done.figures
    shares = {(f.arm, f.set, f.metric) for f in results.figures if not f.versus}
    arms = ("unsteered", "add", "ablate", "random")
    assert shares >= {(arm, name, metric) for arm in arms for name in SETS for metric in METRICS.values()}
    assert shares >= {(arm, "capability", "accuracy") for arm in ("unsteered", "add", "ablate", "random")}
    assert shares >= {("random ablate", "harmful", metric) for metric in METRICS.values()}
    changes = {(f.arm, f.set, f.metric) for f in results.figures if f.versus == "unsteered"}
    assert changes >= {(arm, name, metric) for arm in arms[1:] for name in SETS for metric in METRICS.values()}
    assert {("random", "attacked", "largest_refusal_rate"), ("add", "capability", "accuracy")} <= changes
    assert all(f.low <= f.value <= f.high for f in results.figures)


def test_shares_of_an_arm_on_a_set_sum_to_one(run):
    _, _, done = run
    totals: dict[tuple[str, str], float] = {}
    for f in done.figures:
        if not f.versus and f.metric in METRICS.values():
            totals[f.arm, f.set] = totals.get((f.arm, f.set), 0.0) + f.value
    assert list(totals.values()) == pytest.approx([1.0] * len(totals))


def test_the_planted_effects_are_found(run):
    _, _, done = run
    value = {(f.arm, f.set, f.metric, f.versus): f.value for f in done.figures}
    assert value["unsteered", "harmful", "refusal_rate", ""] == 1
    assert value["unsteered", "attacked", "refusal_rate", ""] == 0
    assert value["add", "attacked", "refusal_rate", "unsteered"] == 1
    assert value["ablate", "harmful", "refusal_rate", "unsteered"] == -1
    assert abs(value["random", "attacked", "largest_refusal_rate", "unsteered"]) < 0.2
    assert value["add", "capability", "accuracy", "unsteered"] == 0


def test_the_spec_says_what_was_run_and_what_was_chosen(run):
    out, engine, done = run
    spec = read_results(out).spec
    chosen = spec["chosen_on_validation"]
    assert spec["size"]["fit"] == 8
    assert spec["engine"]["weights"] == engine.fingerprint.weights
    assert spec["families"] == list(SIZE.families)
    assert chosen["attacked"] == list(done.study.attacks)
    assert len(chosen["attacked"]) == 3
    assert chosen["dose"] == done.study.dose == 1.0
    assert chosen["dose_within_price"]
    ends = {(end["arm"], end["set"], end["outcome"]): end for end in spec["primary"]}
    assert set(ends) == {("add", "attacked", "refused"), ("ablate", "harmful", "complied")}
    assert all(0 < end["p"] <= end["holm"] <= 1 for end in ends.values())


def test_the_report_stands_alone_and_runs_nothing(run):
    out, _, done = run
    page = (out / "report.html").read_text(encoding="utf-8")
    assert "<script" not in page.lower()
    assert "http://" not in page.replace("http://www.w3.org", "")
    assert 'src="' not in page.replace('src="data:', "")
    assert "planted: refusal, and what steering does to it" in page
    assert "refuses 100%" in page
    assert len(done.summary) == 4


def test_direction_and_specs_load_back_and_steer_as_in_the_study(run):
    out, engine, done = run
    loaded = load_direction(out / "refusal.safetensors", engine.fingerprint.weights)
    assert loaded.vector.equal(done.study.fit.direction.vector)
    add, ablate = read_spec(out / "add.json"), read_spec(out / "ablate.json")
    table = done.study.table
    attacked, harmful = (table["unsteered", name][0].generation.conversation for name in ("attacked", "harmful"))
    assert [engine.decide(attacked, steer) for steer in (None, add)] == ["comply", "refuse"]
    assert [engine.decide(harmful, steer) for steer in (None, ablate)] == ["refuse", "comply"]


def test_a_rerun_generates_nothing_and_gives_the_same_figures(run):
    out, _, done = run
    again = Planted()
    rerun = run_study(again, out, "planted", SIZE)
    assert done.generated > 100
    assert rerun.generated == 0
    assert rerun.figures == done.figures
    assert not any(again.calls.values())
    with Journal(out / "journal.sqlite", readonly=True) as journal:
        (known,) = journal.runs()
        assert (known.name, known.status) == ("quickstart", "finished")
        assert {row.set for row in journal.rows(known.id)} >= {*SETS, "validation attacked"}


def test_a_killed_study_goes_on(run, tmp_path):
    _, whole, done = run

    class Dying(Planted):
        """Dies while the test sets are answered."""

        def generate(self, requests, decoding):
            if self.calls["generate"] == whole.calls["generate"] - 1:
                raise KeyboardInterrupt
            return super().generate(requests, decoding)

    with pytest.raises(KeyboardInterrupt):
        run_study(Dying(), tmp_path, "planted", SIZE)
    assert not (tmp_path / "results.json").exists()
    resumed = run_study(Planted(), tmp_path, "planted", SIZE)
    assert resumed.figures == done.figures
    assert 0 < resumed.generated < done.generated
    spec = json.loads((tmp_path / "results.json").read_text(encoding="utf-8"))["spec"]
    assert spec["job"] == "study"
