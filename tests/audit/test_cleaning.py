"""Each way of cleaning, on a tiny model whose refusals are said to open with two tokens."""

import pytest
import torch

from demur.audit import cleaning
from demur.audit.cleaning import WAYS, Cleaner, cleaned_subjects, moves
from demur.audit.vector_audit import subject
from demur.directions.vectors import steering_vector
from demur.errors import InputError, UnknownName
from demur.selection.clean import steered
from demur.selection.openings import Openings
from demur.types import Direction, Site

OPENINGS = Openings(((5,), (9,)), 1.0, 6, 6)
SITES = (Site(1, "pre"), Site(2, "pre"))


@pytest.fixture(autouse=True)
def opened(monkeypatch):
    calls = []
    monkeypatch.setattr(cleaning, "measure_openings", lambda *_: calls.append(1) or OPENINGS)
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
    cleaner = Cleaner(tiny("llama").engine, way, axis, n=9)
    made, how = cleaner(vector)
    assert made.origin["cleaned"] == how["way"] == way
    assert made.origin["of"] == {"behaviour": "x"}
    if way != "direction":
        assert change(cleaner, made) < 0.7 * change(cleaner, vector)
    if way != "constrained":
        assert all(abs(float(value @ axis.vector)) < 1e-5 for value in made.vectors.values())


def test_a_subspace_begins_with_the_refusal_direction(tiny, axis, vector):
    cleaner = Cleaner(tiny("llama").engine, "subspace", axis, n=9)
    made, how = cleaner(vector)
    assert 1 <= int(str(how["k"])) <= 6 and made.origin["k"] == how["k"]
    for site, found in cleaner.moving(SITES).items():
        rows = found.basis[: int(str(how["k"])) - 1]
        assert rows.numel() == 0 or float((rows @ made.vectors[site]).abs().max()) < 1e-4


def test_a_fixed_subspace_is_the_same_for_all_vectors(tiny, axis, vector):
    made, how = Cleaner(tiny("llama").engine, "subspace", axis, n=9, construction="iterative")(vector)
    assert made.origin["construction"] == "iterative" and "curve" in how


def test_unknown_ways_and_constructions_name_the_known_ones(tiny, axis):
    with pytest.raises(UnknownName, match="constrained, direction, subspace"):
        Cleaner(tiny("llama").engine, "prayer", axis)
    with pytest.raises(UnknownName, match="categories, gradients, iterative"):
        Cleaner(tiny("llama").engine, "subspace", axis, construction="cones")


def test_cleaned_vectors_and_moves_are_kept(tiny, axis, vector, tmp_path, opened):
    engine = tiny("llama").engine
    for _ in range(2):
        cleaned_subjects(engine, [subject("v", vector)], "subspace", axis, tmp_path)
        moves(engine, SITES, tmp_path, k=3)
    assert len(opened) == 2  # once for the vector, once for the moves: the second round reads files
    (after,) = cleaned_subjects(engine, [subject("v", vector)], "subspace", axis, tmp_path)
    rows, lacking = moves(engine, SITES, tmp_path, k=3)
    assert after.name == "v, subspace" and len(rows) == 3 and not lacking
    for site in SITES:
        basis = torch.stack([row.vectors[site] for row in rows])
        assert torch.allclose(basis @ basis.T, torch.eye(3), atol=1e-5)


def test_a_model_that_refuses_too_little_has_no_moves_and_says_so(tiny, tmp_path, monkeypatch):
    def few(*_):
        raise InputError("2 of 9 fitting prompts were refused.")

    monkeypatch.setattr(cleaning, "measure_openings", few)
    rows, lacking = moves(tiny("llama").engine, SITES, tmp_path)
    assert rows == [] and "2 of 9 fitting prompts" in lacking[0]
    assert moves(tiny("llama").engine, [], tmp_path) == ([], [])
