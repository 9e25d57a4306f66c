"""What is fitted once is read again while nothing that decides it changes, and never trusted when it may have."""

from dataclasses import replace

import pytest
import torch

import demur
from demur.directions.anything import load_direction
from demur.directions.artifact import save_direction
from demur.directions.sealed import read_sealed, write_sealed
from demur.directions.vectors import steering_vector
from demur.errors import BadFile, BadSpec, NoRefusal
from demur.fitting import cache
from demur.fitting.cache import cached
from demur.fitting.candidates import Candidate, Fit
from demur.fitting.openings import Openings
from demur.types import Direction, EngineFingerprint, Site, SteeringVector

ENGINE = EngineFingerprint("hf", "a" * 64, "b" * 64, "c" * 64, "fp32")
SITE = Site(3, "mid")
AXIS = Direction(torch.tensor([0.6, 0.8]), SITE, 7.0, {"weights": "a" * 64, "version": demur.__version__})
VECTOR = steering_vector({SITE: torch.tensor([3.0, 4.0]), Site(5): torch.ones(2)}, AXIS.origin, {SITE: 7.0})
FIT = Fit(AXIS, SteeringVector({SITE: 5 * AXIS.vector}, {SITE: 7.0}, AXIS.origin),
          (Candidate(3, -1, 0.1, 0.2, 0.3),), Openings(((5, 9), (7, 2)), 0.98, 12, 14))  # fmt: skip


class Making:
    """Counts how often it makes its value."""

    def __init__(self, value):
        self.value, self.times = value, 0

    def __call__(self):
        self.times += 1
        return self.value


def alike(a, b):
    if isinstance(a, Fit):
        return alike(a.direction, b.direction) and alike(a.difference, b.difference) \
            and (a.candidates, a.openings) == (b.candidates, b.openings)  # fmt: skip
    if isinstance(a, Direction):
        return a.vector.equal(b.vector) and (a.site, a.norm, a.origin) == (b.site, b.norm, b.origin)
    if isinstance(a, SteeringVector):
        same = a.vectors.keys() == b.vectors.keys() and all(a.vectors[s].equal(b.vectors[s]) for s in a.vectors)
        return same and (a.norms, a.origin) == (b.norms, b.origin)
    return a == b


VALUES = [AXIS, VECTOR, FIT, {"rates": [0.5, None], "é": "x"}, [], 3.25, None]


@pytest.mark.parametrize("value", VALUES, ids=lambda value: type(value).__name__)
def test_everything_that_is_fitted_is_made_once_and_read_whole(tmp_path, value):
    make = Making(value)
    first, second = (cached(tmp_path, "a name: of, sorts", [1, "x"], ENGINE, make) for _ in range(2))
    assert make.times == 1
    assert type(first) is type(second) is type(value)
    assert alike(first, value) and alike(second, value)
    (file,) = (tmp_path / "cache").iterdir()
    assert file.name.startswith("a-name-of-sorts-") and file.suffix == ".safetensors"


def test_without_a_folder_it_is_made_and_not_kept():
    make = Making(AXIS)
    assert cached(None, "axis", [], ENGINE, make) is cached(None, "axis", [], ENGINE, make) is AXIS
    assert make.times == 2


@pytest.mark.parametrize("changed", ["name", "about", "engine", "sources", "rules"])
def test_what_decides_it_makes_it_again_and_both_are_kept(tmp_path, monkeypatch, changed):
    make = Making(AXIS)
    cached(tmp_path, "axis", {"n": 3}, ENGINE, make)
    if changed == "sources":
        monkeypatch.setattr(cache, "source_hash", lambda rooms: "otherwise")
    if changed == "rules":
        monkeypatch.setattr(cache, "rules_hash", lambda: "otherwise")
    name = "Axis" if changed == "name" else "axis"
    engine = replace(ENGINE, dtype="bf16") if changed == "engine" else ENGINE
    for _ in range(2):
        cached(tmp_path, name, {"n": 4 if changed == "about" else 3}, engine, make)
    assert make.times == 2
    monkeypatch.undo()
    cached(tmp_path, "axis", {"n": 3}, ENGINE, make)
    assert make.times == 2


def test_the_sources_that_are_hashed_are_those_that_decide_a_fit(tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(cache, "source_hash", lambda rooms: asked.extend(rooms) or "h")
    cached(tmp_path, "axis", [], ENGINE, Making(AXIS))
    assert {
        "models",
        "engines",
        "interventions",
        "saes",
        "activations",
        "directions",
        "evaluation",
        "features",
        "fitting",
    } == set(asked)


@pytest.mark.parametrize("value", [AXIS, VECTOR, FIT, [1]], ids=lambda value: type(value).__name__)
def test_a_damaged_file_is_made_again(tmp_path, value):
    make = Making(value)
    cached(tmp_path, "x", [], ENGINE, make)
    (file,) = (tmp_path / "cache").iterdir()
    whole = file.read_bytes()
    places = (0, 7, 8, 20, len(whole) // 2, len(whole) - 5, len(whole) - 1)
    damaged = [whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :] for place in places]
    for times, content in enumerate([*damaged, b"", whole[:-1], b"id,text\n" * 9], 2):
        file.write_bytes(content)
        assert alike(cached(tmp_path, "x", [], ENGINE, make), value)
        assert make.times == times
    assert file.stat().st_size == len(whole)


def test_a_whole_file_of_something_else_in_its_place_is_made_again(tmp_path):
    make = Making(FIT)
    cached(tmp_path, "x", [], ENGINE, make)
    (file,) = (tmp_path / "cache").iterdir()
    content = read_sealed(file, "cached result", [cache.FIT])
    stale = replace(content, facts={**content.facts, "key": "0" * 64})
    short = replace(content, facts={"key": content.facts["key"]})
    bare = replace(content, tensors={})
    for times, other in enumerate([stale, short, bare], 2):
        write_sealed(file, other)
        assert alike(cached(tmp_path, "x", [], ENGINE, make), FIT)
        assert make.times == times
    save_direction(AXIS, file)
    assert alike(cached(tmp_path, "x", [], ENGINE, make), FIT) and make.times == 5


def test_what_making_raises_is_raised_and_nothing_is_kept(tmp_path):
    def refuse():
        raise NoRefusal("2 of 9 were refused.")

    with pytest.raises(NoRefusal, match="2 of 9"):
        cached(tmp_path, "x", [], ENGINE, refuse)
    with pytest.raises(BadSpec, match="is no JSON"):
        cached(tmp_path, "x", [], ENGINE, lambda: {"a": object()})
    assert not (tmp_path / "cache").exists()


def test_a_folder_that_cannot_be_written_is_bad_input(tmp_path):
    (tmp_path / "cache").write_text("")
    with pytest.raises(BadFile, match="choose a folder you may write"):
        cached(tmp_path, "x", [], ENGINE, Making(AXIS))


def test_a_cached_direction_and_vector_load_as_any_other_and_a_fit_says_what_it_is(tmp_path):
    for name, value in (("axis", AXIS), ("fit", FIT)):
        cached(tmp_path, name, [], ENGINE, Making(value))
    axis, fit = sorted((tmp_path / "cache").iterdir())
    assert alike(load_direction(axis, "a" * 64), AXIS)
    with pytest.raises(BadFile, match="a fit that a run keeps for its own reruns"):
        load_direction(fit)
