"""A behaviour's vector with its null, on a tiny model."""

from dataclasses import asdict

import pytest

from demur.errors import UnknownName
from demur.evaluation.behaviour import log_odds
from demur.fitting.behaviours import VectorConfig, cached_behaviour, fit_behaviour, middle
from demur.fitting.edits import steered
from demur.prompts.pairs import behaviour
from demur.types import Site

CONFIG = VectorConfig((Site(1),), shuffles=2, n=8)


@pytest.fixture(scope="module")
def engine(build):
    return build("llama", 3, max_position_embeddings=4096).engine


@pytest.fixture(scope="module")
def fit(engine):
    return fit_behaviour(engine, "warmth", CONFIG)


def test_the_effect_is_half_the_change_of_log_odds_on_validation_pairs(engine, fit):
    held = behaviour("warmth", "validation")
    up, down = log_odds(engine, held, [steered(fit.vector, dose) for dose in (1.0, -1.0)])
    assert fit.effect == pytest.approx((sum(up) - sum(down)) / (2 * len(held)), abs=1e-4)


def test_it_says_whether_it_beats_shuffled_labels(fit):
    assert len(fit.nulls) == len(fit.fitted.nulls) == 2
    assert fit.beats_null == (fit.effect > max(map(abs, fit.nulls)))
    origin = fit.vector.origin
    assert (origin["behaviour"], origin["effect"], origin["beats_null"]) == ("warmth", fit.effect, fit.beats_null)
    assert list(origin["null_effects"]) == list(fit.nulls)
    assert origin["pairs"] == 8


def test_without_a_null_it_beats_none(engine):
    found = fit_behaviour(engine, "warmth", VectorConfig((Site(1),), shuffles=0, n=4))
    assert (found.nulls, found.beats_null) == ((), False)


def test_it_stands_at_the_middle_block_unless_told_where(engine):
    assert middle(engine) == (Site(1, "pre"),)
    assert asdict(VectorConfig())["sites"] == ()


def test_a_cached_vector_is_read_and_another_site_is_another_vector(engine, tmp_path, monkeypatch):
    monkeypatch.setattr("demur.fitting.behaviours.VectorConfig", lambda sites: VectorConfig(sites, shuffles=0, n=4))
    first = cached_behaviour(engine, "warmth", (), tmp_path)
    assert list(first.vectors) == [Site(1)]
    cached_behaviour(engine, "warmth", [Site(2)], tmp_path)
    monkeypatch.setattr("demur.fitting.behaviours.fit_behaviour", None)
    again = cached_behaviour(engine, "warmth", [Site(1)], tmp_path)
    assert again.vectors[Site(1)].equal(first.vectors[Site(1)])
    assert len(list((tmp_path / "cache").iterdir())) == 2


def test_an_unknown_behaviour_names_the_known_ones(engine):
    with pytest.raises(UnknownName, match="warmth"):
        fit_behaviour(engine, "warmht", CONFIG)
