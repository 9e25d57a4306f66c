"""The one way to a model's refusal direction."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from tests.planted import Planted

from demur.directions.artifact import save_direction
from demur.directions.exchange import write_vector
from demur.engines.mock import MockEngine
from demur.errors import BadFile, BadVector, InputError, NoRefusal
from demur.fitting.candidates import Bounds, Grid
from demur.fitting.find_features import find_features
from demur.fitting.norms import activation_norms
from demur.fitting.refusal import (
    DirectionConfig,
    direction_or_why,
    fit_refusal_direction,
    refusal_direction,
    search_direction,
)
from demur.prompts.sets import PromptSets, builtin_sets
from demur.types import Site, SteeringVector

CONFIG = DirectionConfig(n=8, choose=6, grid=Grid(2, positions=(-1,)))


class Watching(Planted):
    """Notes whose streams, logits and answers are asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: dict[str, list[Any]] = {"activations": [], "generate": [], "last_logits": []}

    def activations(self, conversations, sites, tail=None, intervention=None):
        self.seen["activations"] += [c.prompt for c in conversations]
        return super().activations(conversations, sites, tail, intervention)

    def generate(self, requests, decoding):
        self.seen["generate"] += [r.conversation.prompt for r in requests]
        return super().generate(requests, decoding)

    def last_logits(self, conversations, intervention=None):
        self.seen["last_logits"] += [c.prompt for c in conversations]
        return super().last_logits(conversations, intervention)


class Meek(MockEngine):
    """Refuses nothing."""

    def decide(self, c, steer):
        return "comply"


@pytest.fixture(scope="module")
def given() -> PromptSets:
    """Prompts of the user's own: every third of the built-in ones."""
    rows = builtin_sets().prompts
    return PromptSets("mine", tuple(replace(p, id=f"mine {p.id}") for p in rows[::3]))


def test_the_direction_is_fitted_and_chosen_on_its_own_uses():
    engine = Watching()
    fit = search_direction(engine, CONFIG)
    assert {p.use for p in engine.seen["generate"]} == {"fit"}
    # Openings and means are measured on fitting prompts, candidates on validation ones.
    assert {p.use for p in engine.seen["last_logits"]} == {p.use for p in engine.seen["activations"]}
    assert {p.use for p in engine.seen["activations"]} == {"fit", "validation"}
    assert abs(float(fit.direction.vector @ engine.direction.vector)) > 0.99
    origin: Any = fit.direction.origin
    assert (origin["search"]["n"], origin["prompts"]["name"]) == (8, "built-in")


def test_on_a_users_own_prompts_no_other_request_is_fitted_on_or_chosen_by(given):
    engine = Watching()
    fit = search_direction(engine, CONFIG, given)
    asked = [*engine.seen["generate"], *engine.seen["last_logits"]]
    assert asked and {p.use for p in asked} == {"fit", "validation"}
    assert all(p in given.prompts for p in asked)
    origin: Any = fit.direction.origin
    assert origin["prompts"] == given.record()


def test_a_cached_fit_is_read_back_and_made_again_when_anything_that_decides_it_changes(tmp_path, given):
    engine, again = Planted(), Planted()
    first = search_direction(engine, CONFIG, folder=tmp_path)
    read = search_direction(again, CONFIG, folder=tmp_path)
    assert not any(again.calls.values())
    assert read.direction.vector.equal(first.direction.vector)
    site = first.direction.site
    assert read.difference.vectors[site].equal(first.difference.vectors[site])
    assert (read.direction.site, read.direction.norm) == (first.direction.site, first.direction.norm)
    assert (read.candidates, read.openings) == (first.candidates, first.openings)
    (file,) = (tmp_path / "cache").glob("refusal-direction-*")
    for config, prompts in ((replace(CONFIG, n=6), None), (replace(CONFIG, bounds=Bounds(0.4)), None), (CONFIG, given)):
        calls = sum(again.calls.values())
        search_direction(again, config, prompts, tmp_path)
        assert sum(again.calls.values()) > calls
    whole = bytearray(file.read_bytes())
    whole[-1] ^= 1
    for damaged in (b"cut off", bytes(whole)):
        file.write_bytes(damaged)
        calls = sum(again.calls.values())
        search_direction(again, CONFIG, folder=tmp_path)
        assert sum(again.calls.values()) > calls
    assert search_direction(Planted(), CONFIG, folder=tmp_path).direction.vector.equal(first.direction.vector)


def test_the_papers_bounds_are_asked_of_every_model():
    assert DirectionConfig().bounds == Bounds(max_kl=0.1, min_induced=0.0)


def test_looser_bounds_and_a_larger_grid_measure_only_what_was_not(tmp_path):
    """A fit keeps its candidates' scores, whatever became of them."""
    narrow, wide = Planted(6), Planted(6)
    config = replace(CONFIG, grid=Grid(ablated=2))
    first = search_direction(narrow, config, folder=tmp_path)
    search_direction(wide, replace(config, bounds=Bounds(9.0, -99.0)), folder=tmp_path)
    assert narrow.calls["last_logits"] > 4 and wide.calls["last_logits"] == 0
    third = search_direction(wide, replace(config, grid=Grid(ablated=3)), folder=tmp_path)
    assert 0 < wide.calls["last_logits"] <= 4
    measured = [sum(c.ablated is not None for c in fit.candidates) for fit in (first, third)]
    assert measured == [2, 3]


def test_there_is_a_candidate_in_every_model():
    for n_layers in (2, 3, 4):
        engine = Planted(n_layers)
        found = search_direction(engine, DirectionConfig(n=8, choose=6))
        assert abs(float(found.direction.vector @ engine.direction.vector)) > 0.99


def test_a_direction_that_is_given_is_taken_as_a_value_or_a_file_of_this_model(tmp_path):
    engine = Planted()
    told = replace(engine.direction, origin={"weights": engine.fingerprint.weights})
    assert refusal_direction(engine, told) is told
    path = save_direction(told, tmp_path / "refusal.safetensors")
    for one in (path, str(path)):
        assert refusal_direction(engine, one).vector.equal(told.vector)
    with pytest.raises(BadFile):
        refusal_direction(Planted(seed=108), path)
    assert not any(engine.calls.values())


def test_a_model_without_a_direction_goes_on_and_says_why():
    engine = Planted()
    found, why = direction_or_why(engine, engine.direction)
    assert (found, why) == (engine.direction, [])
    found, (why,) = direction_or_why(Meek())
    assert found is None
    assert why.startswith("This model has no refusal direction: 0 of ") and "fitting prompts were refused" in why
    with pytest.raises(NoRefusal):
        refusal_direction(Meek())


def test_where_no_candidate_keeps_the_bounds_the_nearest_is_taken_and_said():
    # The plain mock refuses, but without its direction its helpful first word is gone, so the KL is large.
    found, (why,) = direction_or_why(MockEngine())
    assert found is not None and found.origin["bounds_relaxed"] > 0
    assert why.startswith("No candidate for the refusal direction kept a KL of 0.1 and an induced refusal score of 0")
    assert f"site {found.site}, KL" in why


def test_that_a_model_refuses_too_little_is_cached_too(tmp_path):
    first, again = Meek(), Meek()
    told = direction_or_why(first, folder=tmp_path)
    assert first.calls["generate"] == 1 and first.answered == 72
    assert direction_or_why(again, folder=tmp_path) == told and told[0] is None
    assert not any(again.calls.values())


@pytest.mark.parametrize("ending", ["safetensors", "gguf", "svec", "pt"])
def test_a_vector_of_one_site_in_any_format_is_a_direction_and_its_norm_is_measured_once(tmp_path, ending):
    engine, axis = Planted(), Planted().direction
    site = Site(1, "post")
    vector = SteeringVector({site: 3.0 * axis.vector})
    path = write_vector(vector, tmp_path / f"v.{ending}")
    for given in (path, vector):
        found = refusal_direction(engine, given, folder=tmp_path)
        torch.testing.assert_close(found.vector, axis.vector)
        assert found.site == (Site(2, "pre") if (ending, given) == ("svec", path) else site)
        assert found.norm == pytest.approx(activation_norms(engine, [found.site])[found.site])
        again = Planted()
        assert refusal_direction(again, given, folder=tmp_path).norm == found.norm
        assert not any(again.calls.values())


@pytest.mark.unchecked
def test_a_direction_in_memory_of_another_model_is_refused_at_once():
    engine = Planted()
    axis = engine.direction
    others = [
        (replace(axis, origin={"weights": "b" * 64}), BadFile, "was fitted on a model with weights bbb"),
        (replace(axis, vector=torch.ones(4) / 2), BadVector, "has width 4; mock has 16"),
        (replace(axis, site=Site(9, "pre")), BadVector, "mock has layers 0 to 3"),
        (SteeringVector({Site(1): axis.vector, Site(2): axis.vector}), BadFile, "a direction stands at one site"),
        (axis.vector, InputError, r"demur\.load_vector\(tensor, site="),
    ]
    for given, kind, said in others:
        with pytest.raises(kind, match=said):
            refusal_direction(engine, given)
        with pytest.raises(kind, match=said):
            find_features(engine, {}, "cosine", direction=given)
    assert not any(engine.calls.values())


def test_no_harmful_prompts_are_none_and_not_the_built_in_ones():
    for given in ({"harmful": []}, {"harmless": []}):
        engine = Planted()
        with pytest.raises(InputError, match="0 for fit"):
            fit_refusal_direction(engine, **given)  # pyright: ignore
        assert not any(engine.calls.values())
    with pytest.raises(InputError, match="n is 0; it must be 1 or more"):
        DirectionConfig(n=0)
