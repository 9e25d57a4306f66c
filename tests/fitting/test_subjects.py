"""What is audited: values, files and names."""

from pathlib import Path

import pytest
import torch
from tests.planted import Planted

from demur.directions.artifact import save_direction, save_vector
from demur.directions.vectors import steering_vector
from demur.errors import BadFile, BadVector, InputError, UnknownName
from demur.fitting import subjects
from demur.fitting.subjects import as_it_is, measurable, named, random_subjects, subject, subjects_from
from demur.interventions import ablate, add, at, write_spec
from demur.types import Direction, Site

SITE = Site(1, "post")
ENGINE = Planted()
WIDTH = ENGINE.d_model


@pytest.fixture
def vector():
    generator = torch.Generator().manual_seed(0)
    return steering_vector({SITE: torch.randn(WIDTH, generator=generator)}, {}, {SITE: 8.0})


def specs(some):
    """What each subject does at 1 and at 2."""
    return [[one.steer(dose).spec() for dose in (1.0, 2.0)] for one in some]


def test_names_are_those_that_are_given_else_the_files_or_the_behaviours():
    given = ["v=a/b.gguf", "a/c.safetensors", "fit:warmth", Path("d.svec"), "warm=fit:warmth", "x=ablate:r.safetensors"]
    assert named(given) == {"v": "a/b.gguf", "c": "a/c.safetensors", "warmth": "fit:warmth", "d": "d.svec",
                            "warm": "fit:warmth", "x": "ablate:r.safetensors"}  # fmt: skip
    assert named(["ablate:r.safetensors"]) == {"ablate:r.safetensors": "ablate:r.safetensors"}
    with pytest.raises(InputError, match=r"two subjects are named 'v'; .* as other=FILE"):
        named(["v.gguf", "x/v.svec"])
    for none in ([], {}):
        with pytest.raises(InputError, match="nothing to audit"):
            named(none)


def test_a_vector_in_memory_acts_from_the_last_prompt_token_on(vector):
    (found,) = subjects_from(ENGINE, {"v": vector})
    assert (found.name, found.vector) == ("v", vector)
    assert specs([found]) == [[at("from-last", add(vector, dose)).spec() for dose in (1.0, 2.0)]]
    assert found.doses((-1.0, 2.0)) == (-1.0, 2.0)


def test_a_direction_in_memory_is_a_vector_of_length_one():
    (found,) = subjects_from(ENGINE, {"r": ENGINE.direction})
    assert found.vector is not None
    assert found.vector.vectors[ENGINE.direction.site].equal(ENGINE.direction.vector)
    assert found.vector.norms == {ENGINE.direction.site: ENGINE.direction.norm}


def test_an_intervention_in_memory_is_audited_as_it_is(vector):
    steer = add(vector, 3.0)
    (found,) = subjects_from(ENGINE, {"spec": steer})
    assert found.vector is None and found.doses((-1.0, 2.0)) == (1.0,)
    assert found.steer(1.0) is found.steer(-2.0) is steer


def test_files_are_read_as_vectors_and_what_steer_takes_as_interventions(tmp_path, vector):
    origin = {"weights": ENGINE.fingerprint.weights}
    plain = save_vector(steering_vector(vector.vectors, origin, vector.norms), tmp_path / "v.safetensors")
    toward = save_direction(Direction(ENGINE.direction.vector, SITE, 2.0, origin), tmp_path / "r.safetensors")
    value, text, direction, steer = subjects_from(
        ENGINE, {"value": vector, "text": str(plain), "direction": toward, "steer": f"ablate:{toward}"}
    )
    assert specs([value]) == specs([text])
    assert direction.vector is not None and direction.vector.vectors[SITE].equal(ENGINE.direction.vector)
    assert steer.vector is None
    assert steer.steer(1.0).spec() == ablate(ENGINE.direction).spec()


def test_a_length_is_relative_to_the_norms_at_the_vectors_sites(vector):
    (found,) = subjects_from(ENGINE, {"v": vector}, length=0.5)
    assert found.vector is not None
    assert float(found.vector.vectors[SITE].norm()) == pytest.approx(0.5 * 8.0, rel=1e-5)
    bare = steering_vector(vector.vectors)
    (measured,) = subjects_from(ENGINE, {"v": bare}, length=0.5)
    assert measured.vector is not None
    norm = measured.vector.norms[SITE]
    assert norm != 8.0 and float(measured.vector.vectors[SITE].norm()) == pytest.approx(0.5 * norm, rel=1e-5)


def test_a_fitted_behaviour_stands_in_its_place_where_it_is_asked_for_and_files_are_read_first(monkeypatch, vector):
    asked = []

    def fitted(engine, name, sites, folder, progress):
        asked.append((name, tuple(sites)))
        return vector

    monkeypatch.setattr(subjects, "cached_behaviour", fitted)
    given = {"a": "fit:warmth", "b": vector, "c": "fit:openness"}
    assert [s.name for s in subjects_from(ENGINE, given, sites=[SITE])] == ["a", "b", "c"]
    assert asked == [("warmth", (SITE,)), ("openness", (SITE,))]
    asked.clear()
    with pytest.raises(UnknownName, match="known"):
        subjects_from(ENGINE, {"a": "fit:warmth", "b": "fit:warmht"})
    with pytest.raises(BadFile, match="is no vector file"):
        subjects_from(ENGINE, {"a": "fit:warmth", "b": "turn:around"})
    assert asked == []


def test_what_does_not_fit_is_refused(vector):
    with pytest.raises(BadVector, match="width"):
        subjects_from(ENGINE, {"v": steering_vector({SITE: torch.ones(WIDTH + 1)})})
    with pytest.raises(InputError, match="nothing is fitted; leave it out"):
        subjects_from(ENGINE, {"v": vector}, sites=[SITE])


def test_random_directions_are_as_long_as_the_vector(vector):
    found = random_subjects(vector, 3)
    values = [s.vector.vectors[SITE] for s in found if s.vector]
    assert [s.name for s in found] == ["random 0", "random 1", "random 2"]
    assert [float(value.norm()) for value in values] == pytest.approx(
        [float(vector.vectors[SITE].norm())] * 3, rel=1e-5
    )
    assert not torch.equal(values[0], values[1])
    other = random_subjects(vector, 1, seed=1)[0].vector
    assert other is not None and not torch.equal(values[0], other.vectors[SITE])


def test_a_vector_is_scored_on_the_behaviour_that_it_or_what_it_was_cleaned_of_was_fitted_for(vector):
    made = [
        subject("own", steering_vector(vector.vectors, {"behaviour": "warmth"})),
        subject("cleaned", steering_vector(vector.vectors, {"of": {"behaviour": "warmth"}})),
        subject("strange", steering_vector(vector.vectors, {"behaviour": "gone.jsonl"})),
        subject("bare", vector),
        as_it_is("spec", add(vector, 1.0)),
    ]
    found, (lacking,) = measurable(made)
    assert found == {"own": "warmth", "cleaned": "warmth"}
    assert lacking.startswith("strange is not scored on its behaviour: ") and "gone.jsonl" in lacking


@pytest.mark.unchecked
def test_a_lone_text_or_path_is_one_vector(tmp_path, vector):
    assert named("v.gguf") == named(Path("v.gguf")) == {"v": "v.gguf"}
    path = save_vector(vector, tmp_path / "v.safetensors")
    for given in (path, str(path), [path], {"v": path}):
        assert specs(subjects_from(ENGINE, given)) == specs(subjects_from(ENGINE, {"v": vector}))
    with pytest.raises(InputError, match="a SteeringVector in memory has no name"):
        subjects_from(ENGINE, vector)


def test_a_name_has_no_path_separator_so_an_equals_sign_in_a_folder_is_the_paths():
    assert named(["runs/x=1/w.gguf"]) == {"w": "runs/x=1/w.gguf"}
    assert named(["v=runs/x=1/w.gguf"]) == {"v": "runs/x=1/w.gguf"}
    assert named(["layer=3=v.gguf"]) == {"layer=3": "v.gguf"}
    assert named(["s=add:x=1/w.gguf:2"]) == {"s": "add:x=1/w.gguf:2"}
    assert named(["add:x=1/w.gguf:2"]) == {"add:x=1/w.gguf:2": "add:x=1/w.gguf:2"}
    assert named([Path("x=1.gguf")]) == {"x=1": "x=1.gguf"}


def test_the_file_of_a_spec_is_a_path_too(tmp_path, vector):
    write_spec(add(vector, 2.0), tmp_path / "s.json")
    (found,) = subjects_from(ENGINE, {"s": tmp_path / "s.json"})
    assert found.vector is None and found.steer(1.0).spec() == add(vector, 2.0).spec()


@pytest.mark.unchecked
def test_a_tensor_without_a_site_is_refused_and_the_fix_is_said():
    with pytest.raises(InputError, match=r"does not say where it stands; .*demur\.load_vector\(tensor, site="):
        subjects_from(ENGINE, {"x": torch.ones(WIDTH)})  # pyright: ignore
