"""The audit as a run with files, on the mock whose refusals hang on one planted direction."""

import json

import pytest
import torch
from tests.audit.planted import Planted

from demur.audit.figures import find
from demur.audit.vector_audit import Plan, subject
from demur.audit.vector_study import audit_vectors
from demur.directions.difference import random_like
from demur.directions.vectors import steering_vector
from demur.errors import BadSpec, InputError
from demur.runs import read_results

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
    with pytest.raises(InputError, match="'other' is named for a behaviour"):
        audit_vectors(engine, "planted", subjects, PLAN, tmp_path, engine.direction, {"other": "warmth"})
    assert not list(tmp_path.iterdir())
    assert torch.isfinite(engine.direction.vector).all()
