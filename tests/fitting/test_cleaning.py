"""Each way of cleaning, on a tiny model whose refusals are said to open with two tokens."""

from dataclasses import replace

import pytest
import torch

from demur.directions.vectors import steering_vector
from demur.errors import NoRefusal, UnknownName
from demur.fitting import cleaning
from demur.fitting.cleaning import WAYS, Cleaner, cleaned_subjects, refusal_gradients
from demur.fitting.edits import steered
from demur.fitting.gradients import WRAPPERS
from demur.fitting.openings import Openings
from demur.fitting.subjects import subject
from demur.types import Direction, Site

OPENINGS = Openings(((5,), (9,)), 1.0, 6, 6)
SITES = (Site(1, "pre"), Site(2, "pre"))


@pytest.fixture(autouse=True)
def opened(monkeypatch):
    calls = []
    monkeypatch.setattr(cleaning, "cached_openings", lambda *_, **__: calls.append(1) or OPENINGS)
    return calls


@pytest.fixture
def axis():
    value = torch.randn(32, generator=torch.Generator().manual_seed(1))
    return Direction(value / value.norm(), SITES[0], 6.0)


@pytest.fixture
def vector():
    generator = torch.Generator().manual_seed(3)
    return steering_vector({site: 0.5 * torch.randn(32, generator=generator) for site in SITES}, {"behaviour": "x"})


def change(cleaner, vector):
    scores = [cleaner.openings.scores(cleaner.engine, cleaner.held, how) for how in (steered(vector, 1.0), None)]
    return float((scores[0] - scores[1]).square().mean().sqrt())


@pytest.mark.parametrize("way", WAYS)
def test_every_way_leaves_less_of_the_change_or_nothing_of_the_direction(tiny, axis, vector, way):
    cleaner = Cleaner(tiny("llama").engine, axis, n=9)
    made, how = cleaner(vector, way)
    assert made.origin["cleaned"] == how["way"] == way
    assert made.origin["of"] == {"behaviour": "x"}
    if way != "direction":
        assert change(cleaner, made) < 0.7 * change(cleaner, vector)
    if way != "constrained":
        assert all(abs(float(value @ axis.vector)) < 1e-5 for value in made.vectors.values())


def test_a_subspace_begins_with_the_refusal_direction(tiny, axis, vector):
    cleaner = Cleaner(tiny("llama").engine, axis, n=9)
    made, how = cleaner(vector)
    k = int(str(how["k"]))
    assert 2 <= k <= 6 and made.origin["k"] == k
    for site, found in cleaner.gradients(SITES).items():
        assert abs(float(made.vectors[site] @ axis.vector)) < 1e-5
        assert float((found.basis[: k - 1] @ made.vectors[site]).abs().max()) < 1e-4


def test_a_fixed_subspace_is_the_same_for_all_vectors(tiny, axis, vector):
    made, how = Cleaner(tiny("llama").engine, axis, n=9, construction="iterative")(vector)
    assert made.origin["construction"] == "iterative" and "curve" in how


def test_families_that_an_audit_tests_are_no_wrappers(tiny, axis):
    cleaner = Cleaner(tiny("llama").engine, axis, n=24, tested=("fiction", "base64", "direct"))
    seen = {talk.attack for talk in (*cleaner.fitting, *cleaner.held)}
    assert "fiction" not in seen and seen == set(cleaner.families)
    assert set(WRAPPERS) - seen == {"fiction"}


def test_unknown_ways_and_constructions_name_the_known_ones(tiny, axis, vector):
    with pytest.raises(UnknownName, match="constrained, direction, subspace"):
        Cleaner(tiny("llama").engine, axis)(vector, "prayer")
    with pytest.raises(UnknownName, match="categories, gradients, iterative"):
        Cleaner(tiny("llama").engine, axis, construction="cones")


def test_cleaned_vectors_and_gradients_are_cached_until_something_that_decides_them_changes(
    tiny, axis, vector, tmp_path, opened, monkeypatch
):
    engine, given = tiny("llama").engine, [subject("v", vector)]

    def files(dose=1.0, toward=axis, k=3):
        cleaner = Cleaner(engine, toward, folder=tmp_path, k=k, n=9)
        (after,) = cleaned_subjects(cleaner, given, "subspace", dose)
        rows, lacking = refusal_gradients(cleaner, SITES)
        assert after.name == "v, subspace" and len(rows) == k and not lacking
        return len(list((tmp_path / "cache").iterdir())), rows

    first, rows = files()
    assert first == 4 and len(opened) == 1
    for site in SITES:
        basis = torch.stack([row.vectors[site] for row in rows])
        assert torch.allclose(basis @ basis.T, torch.eye(3), atol=1e-5)
    assert rows[0].origin["weights"] == engine.fingerprint.weights
    assert files()[0] == 4 and len(opened) == 1  # read from files
    assert files(dose=2.0)[0] == 5
    assert files(toward=Direction(-axis.vector, SITES[0], 6.0))[0] == 6
    assert files(k=2)[0] == 9
    reworded = cleaning.wrapped
    monkeypatch.setattr(cleaning, "wrapped", lambda *given: [replace(t, prefill="Well,") for t in reworded(*given)])
    assert files()[0] == 13


def test_a_model_that_refuses_too_little_has_no_refusal_gradients_and_says_so(tiny, tmp_path, monkeypatch):
    def few(*_, **__):
        raise NoRefusal("2 of 9 fitting prompts were refused.")

    monkeypatch.setattr(cleaning, "cached_openings", few)
    rows, lacking = refusal_gradients(Cleaner(tiny("llama").engine, folder=tmp_path), SITES)
    assert rows == [] and "2 of 9 fitting prompts" in lacking[0]
    assert refusal_gradients(Cleaner(tiny("llama").engine), []) == ([], [])
    assert not list(tmp_path.iterdir())
