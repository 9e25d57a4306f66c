"""The audit of one model as a user asks for it: what is tested is not what cleaning sees."""

import json

import pytest
import torch
from demur.experiments.model_audit import Asked, audit_model
from demur.experiments.vector_report import Audited

from demur.directions.artifact import save_direction, save_vector
from demur.directions.vectors import steering_vector
from demur.errors import InputError
from demur.experiments import model_audit
from demur.experiments.vector_audit import Audit, Plan
from demur.fitting import cleaning
from demur.fitting.openings import Openings
from demur.types import Direction, Site


@pytest.fixture
def engine(build):
    return build("llama", 3, max_position_embeddings=4096).engine


@pytest.fixture
def asked(engine, tmp_path):
    """Asks for vectors of the engine, by name, with a direction of its own."""
    generator = torch.Generator().manual_seed(1)
    origin = {"weights": engine.fingerprint.weights}
    axis = torch.randn(32, generator=generator)
    toward = save_direction(Direction(axis / axis.norm(), Site(1), 6.0, origin), tmp_path / "refusal.safetensors")
    save_vector(steering_vector({Site(1): torch.randn(32, generator=generator)}, origin), tmp_path / "v.safetensors")

    def ask(vectors=("v",), attacks=("fiction", "prefill"), **more):
        paths = [str(tmp_path / f"{name}.safetensors") if name == "v" else f"ablate:{toward}" for name in vectors]
        return Asked(paths, Plan((-1.0, 1.0), attacks, n=8), direction=toward, **more)

    return ask


@pytest.fixture
def audited(monkeypatch):
    """What is handed to `audit_vectors`."""
    given: list[tuple] = []

    def audit_vectors(*arguments):
        given.append(arguments)
        return Audited(Audit({}, (), (), {}, {}), (), (), ())

    monkeypatch.setattr(model_audit, "audit_vectors", audit_vectors)
    monkeypatch.setattr(cleaning, "measure_openings", lambda *_, **__: Openings(((5,), (9,)), 1.0, 6, 6))
    return given


def test_cleaning_and_moves_see_no_family_that_is_tested_and_say_which_they_saw(engine, asked, audited, tmp_path):
    audit_model(engine, asked(clean="subspace"), tmp_path / "out")
    (given,) = audited
    subjects, moves = given[2], given[-2]
    cleaned = next(s for s in subjects if s.name == "v, subspace").vector.origin["wrappers"]
    assert {"plain", "persona"} <= {*cleaned} and not {"fiction", "prefill"} & {*cleaned}
    assert moves[0].origin["wrappers"] == cleaned


def test_named_families_are_not_ranked(engine, asked, audited, tmp_path, monkeypatch):
    monkeypatch.setattr(model_audit, "kept_bench", None)
    audit_model(engine, asked(), tmp_path / "out")
    plan = audited[0][3]
    assert plan.attacks == ("fiction", "prefill") and not plan.chosen


def test_what_cannot_be_cleaned_is_refused_before_anything_is_made(engine, asked, audited, tmp_path):
    with pytest.raises(InputError, match="no vector to clean"):
        audit_model(engine, asked(("ablate",), (), clean="direction"), tmp_path / "out")
    assert not list((tmp_path / "out").glob("*")) and not audited


def test_a_behaviour_without_test_pairs_is_refused_when_it_is_asked_for(asked, tmp_path):
    answers = {"answer_matching_behavior": "Yes.", "answer_not_matching_behavior": "Not so."}
    row = json.dumps({"question": "Q?", **answers, "use": "fit"})
    (pairs := tmp_path / "pairs.jsonl").write_text(f"{row}\n")
    with pytest.raises(InputError, match="no test pairs"):
        asked(behaviours={"v": str(pairs)})
