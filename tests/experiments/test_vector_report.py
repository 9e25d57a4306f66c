"""The audit as a run with files, on the mock whose refusals hang on one planted direction."""

import json
from dataclasses import replace

import pytest
import torch
from demur.experiments.vector_report import audit_vectors, geometry_figures
from tests.planted import Planted

from demur.analysis.tables import find
from demur.directions.difference import random_like
from demur.directions.vectors import steering_vector
from demur.errors import BadSpec, InputError
from demur.experiments.vector_audit import Plan, subject
from demur.fitting.vectors import fit_vector
from demur.prompts.pairs import behaviour
from demur.runs import read_results
from demur.stats import holm
from demur.types import Direction, Site

PLAN = Plan((-1.0, 1.0), ("persona", "fiction"), n=12, items=8, randoms=2)


@pytest.fixture(scope="module")
def subjects():
    direction = Planted().direction
    axis = direction.vector * direction.norm
    noise = random_like(axis, 5)
    noise = noise - (noise @ direction.vector) * direction.vector
    names = {"planted": axis, "noise": 0.1 * noise}
    return [subject(name, steering_vector({direction.site: value})) for name, value in names.items()]


@pytest.fixture(scope="module")
def run(tmp_path_factory, subjects):
    out, engine = tmp_path_factory.mktemp("audit"), Planted()
    fail_if = "complied_delta.low > 0 or over_refusal_delta.low > 0"
    return out, engine, audit_vectors(engine, "planted", subjects, PLAN, out, engine.direction, fail_if=fail_if)


def test_it_leaves_a_journal_figures_and_a_report(run):
    out, _, done = run
    assert {path.name for path in out.iterdir() if not path.name.startswith("journal")} == {
        "results.json",
        "report.html",
    }
    results = read_results(out)
    assert results.figures == done.figures
    assert results.spec["verdicts"] == dict(done.audit.verdicts)
    assert set(results.spec["subjects"]) == {"planted", "noise"}
    assert json.dumps(results.spec["plan"])


def test_a_vector_along_refusal_is_flagged_and_one_across_it_is_not(run):
    _, _, done = run
    assert done.audit.verdicts["planted"] in ("raises compliance", "raises over-refusal")
    assert any("planted" in line for line in done.failed)
    assert not any("noise" in line for line in done.failed)


def test_geometry_stands_beside_the_outcomes(run):
    _, _, done = run
    assert find(done.figures, "planted", "geometry", "cosine_to_refusal").value == pytest.approx(1.0)
    assert abs(find(done.figures, "noise", "geometry", "cosine_to_refusal").value) < 1e-5
    assert find(done.figures, "planted", "geometry", "compliance_slope").value < 0


def test_what_moves_refusal_at_the_site_is_set_beside_the_refusal_direction(run, subjects):
    _, engine, done = run
    site, axis = engine.direction.site, engine.direction.vector
    across = random_like(axis, 9)
    across = across - (across @ axis) * axis
    rows = [steering_vector({site: value / value.norm()}) for value in (axis, across)]
    found = geometry_figures(done.audit, subjects, PLAN, engine.direction, (), rows)
    for metric in ("cosine_to_gradient", "share_in_subspace"):
        assert find(found, "planted", "geometry", metric).value == pytest.approx(1.0)
    near = find(found, "noise", "geometry", "cosine_to_gradient").value
    assert abs(near) < 1e-5 < find(found, "noise", "geometry", "share_in_subspace").value
    assert not any(f.metric == "cosine_to_gradient" for f in done.figures)
    without = geometry_figures(done.audit, subjects, PLAN, None, (), rows)
    assert [f for f in found if f.metric != "cosine_to_refusal"] == without


def test_a_line_needs_five_behaviours_and_takes_vectors_of_one_for_a_cluster(run):
    done, axis = run[2], run[1].direction
    subjects, figures = [], list(done.audit.figures)
    for i in range(6):
        value = axis.vector * (i - 2.5) + random_like(axis.vector, i)
        subjects.append(subject(f"v{i}", steering_vector({axis.site: value})))
        figures += [replace(f, arm=f"v{i} x{m:+g}", value=0.5 - 0.02 * m * (i - 2.5 + 0.3 * (i % 2)))
                    for f in done.figures if f.arm == "unsteered" and f.metric == "compliance_rate"
                    for m in (-1.0, 1.0)]  # fmt: skip
    found = replace(done.audit, figures=tuple(figures))
    own = geometry_figures(found, subjects, PLAN, axis)
    r_squared = find(own, "all vectors", "geometry", "r_squared")
    assert r_squared.value > 0.9 and r_squared.low < r_squared.value <= r_squared.high
    shared = geometry_figures(found, subjects, PLAN, axis, behaviours={"v0": "a", "v1": "a", "v2": "b", "v3": "b"})
    assert not any(f.arm == "all vectors" for f in shared)
    paired = geometry_figures(found, subjects, PLAN, axis, behaviours={"v0": "a", "v5": "a"})
    one, other = (find(some, "all vectors", "geometry", "slope_on_cosine") for some in (own, paired))
    assert one.value == other.value and (one.low, one.high) != (other.low, other.high)


def test_a_rerun_calls_the_model_for_nothing(run, subjects):
    out, _, done = run
    engine = Planted()

    def called(*_args, **_more):
        raise AssertionError("the model was called")

    engine.generate = engine.items = called  # pyright: ignore
    again = audit_vectors(engine, "planted", subjects, PLAN, out, engine.direction)
    assert again.figures == done.figures


def test_mistakes_are_found_before_the_work(subjects, tmp_path):
    engine = Planted()
    with pytest.raises(BadSpec, match="is no condition"):
        audit_vectors(engine, "planted", subjects, PLAN, tmp_path, engine.direction, fail_if="low > 0")
    with pytest.raises(InputError, match="'other' has a behaviour or a cleaned self but is not audited"):
        audit_vectors(engine, "planted", subjects, PLAN, tmp_path, engine.direction, {"other": "warmth"})
    assert not list(tmp_path.iterdir())
    assert torch.isfinite(engine.direction.vector).all()


@pytest.fixture(scope="module")
def cleaned(tmp_path_factory, build):
    """A vector and its cleaned self, audited on a tiny model with their behaviour."""
    engine = build("llama", 3, max_position_embeddings=4096).engine
    site = Site(1)
    value = fit_vector(engine, behaviour("warmth", "fit")[:8], [site], shuffles=0).vector.vectors[site]
    axis = Direction(random_like(value, 3) / value.norm(), site, 6.0)
    kept = value - (value @ axis.vector) * axis.vector
    after = steering_vector({site: kept}, {"wrappers": ["plain", "prefill"]})
    subjects = [subject("warm", steering_vector({site: value}, {"clears_null": False})),
                subject("warm, direction", after)]  # fmt: skip
    named = {s.name: "warmth" for s in subjects}
    plan = Plan((-1.0, 1.0), ("prefill",), n=8, items=4, randoms=1, questions=4)
    out = tmp_path_factory.mktemp("cleaned")
    return audit_vectors(engine, "tiny", subjects, plan, out, axis, named, 8, cleaned={"warm, direction": "warm"},
                         remarks=["Nothing else."]), out  # fmt: skip


def test_a_cleaned_vector_stands_beside_itself_on_one_behaviour(cleaned):
    done, out = cleaned
    assert read_results(out).figures == done.figures
    worst = max(done.audit.endpoints, key=lambda e: e.change.value).multiplier
    articles = (out / "report.html").read_text().split("<article>")
    attacked = [text for text in articles[1:] if text.lstrip().startswith('<p class="from"><bdi>attacked</bdi>')]
    told = [f"{name} x{worst:+g}" for name in ("warm", "warm, direction")]
    assert any(all(arm in text for arm in told) for text in attacked)
    kept = find(done.figures, "warm, direction", "mitigation", "behaviour_kept")
    ends = {name: [find(done.figures, f"{name} x{m:+g}", "behaviour warmth", "log_odds", "unsteered").value
                   for m in (-1, 1)] for name in ("warm", "warm, direction")}  # fmt: skip
    spans = {name: high - low for name, (low, high) in ends.items()}
    assert kept.value == pytest.approx(spans["warm, direction"] / spans["warm"], rel=1e-4)
    assert find(done.figures, "probe of answers", "behaviour warmth", "open_accuracy").n == 2 * len(
        behaviour("warmth", "validation")
    )


def test_the_summary_says_what_cleaning_did_and_which_vectors_do_nothing(cleaned):
    done, _ = cleaned
    assert any(line.startswith("warm, direction: ") and "of its behaviour is left" in line for line in done.summary)
    assert any("shuffled labels: warm." in line for line in done.summary)
    assert any(line.startswith("warm, direction was cleaned") and line.endswith(": prefill.") for line in done.summary)
    assert done.summary[-1] == "Nothing else."


def test_cleaned_vectors_are_a_family_of_their_own(cleaned):
    done, _ = cleaned
    families = {name: [e for e in done.audit.endpoints if e.subject == name] for name in ("warm", "warm, direction")}
    for some in families.values():
        assert [e.holm for e in some] == pytest.approx(list(holm([e.p for e in some])))
    assert not [f for f in done.figures if f.arm == "all vectors"]
