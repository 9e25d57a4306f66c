"""What is chosen on validation prompts: the direction's dose on the mock; factors and clamps on a tiny model with a
random SAE, told what each of them does."""

import pytest
import torch
from tests.planted import Planted
from tests.told import told

from demur.engines.base import Scored
from demur.evaluation.evaluator import Evaluator
from demur.fitting.doses import (
    choose_dose,
    choose_doses,
    choose_factor,
    choose_value,
    effects,
    likelihoods,
    norms_of,
    refusal_score_drop,
    refusals,
    unit_of,
)
from demur.interventions import clamp, clamp_features, multiply_features
from demur.prompts.sets import builtin_sets
from demur.saes import SAE, load_sae, save_sae
from demur.types import Direction, Feature, FeatureSet, Site

SITE = Site(1, "post")


@pytest.fixture(scope="module")
def sae(tmp_path_factory) -> SAE:
    generator = torch.Generator().manual_seed(0)
    weights = {"W_enc": torch.randn(32, 60, generator=generator), "W_dec": torch.randn(60, 32, generator=generator),
               "b_enc": torch.full((60,), -2.0), "b_dec": torch.zeros(32)}  # fmt: skip
    return load_sae(save_sae(SAE("relu", weights, SITE), tmp_path_factory.mktemp("sae")))


@pytest.fixture(scope="module")
def saes(sae):
    return {SITE: sae}


@pytest.fixture(scope="module")
def features(sae) -> FeatureSet:
    return FeatureSet((Feature(SITE, 3), Feature(SITE, 9)), {SITE: sae.sha256}, {"saes": {str(SITE): sae.source}})


@pytest.fixture(scope="module")
def first(features) -> FeatureSet:
    return FeatureSet(features.features[:1], features.saes, features.origin)


@pytest.fixture(scope="module")
def engine(build):
    return build("llama", 3, max_position_embeddings=4096).engine


def skew(engine: Planted) -> Direction:
    """A direction that has some of another one, so that large doses break the mock."""
    other = engine.embedding[5] / engine.embedding[5].norm()
    vector = torch.nn.functional.normalize(engine.direction.vector + 0.7 * other, dim=0)
    return Direction(vector, Site(2), 2.0)


def dose(judge, decoding, *doses: float):
    engine = Planted()
    return choose_dose(Evaluator(engine, judge, decoding), skew(engine), ("persona",), 6, doses)


def test_the_dose_is_the_one_that_refuses_most_within_the_budget(judge, decoding):
    found = dose(judge, decoding, 0.1, 1.5, 60.0)
    assert (found.key, found.within_budget) == (1.5, True)


def test_of_equal_doses_the_smallest_is_taken_and_of_bad_ones_the_one_that_breaks_fewest(judge, decoding):
    found = dose(judge, decoding, 1.5, 2.0)
    assert (found.key, found.within_budget) == (1.5, True)
    found = dose(judge, decoding, 60.0, 90.0)
    assert (found.key, found.within_budget) == (60.0, False)


def test_doses_that_break_answers_are_not_chosen(engine, features, saes):
    unit = unit_of(engine, features)
    does = [
        (multiply_features(features, -1.0, saes=saes), "...."),
        (multiply_features(features, 0.0, saes=saes), "ccrr"),
        (clamp_features(features, 0.2 * unit, saes=saes), "rrrr"),
        (clamp_features(features, 0.4 * unit, saes=saes), "...."),
    ]
    found = choose_doses(told(engine, "rrrr", *does), features, saes, ["prefill"], 4, (-1.0, 0.0), (0.2, 0.4))
    assert (found.factor, found.value, found.gain) == (0.0, 0.2 * unit, 0.5)
    assert found.over_budget == ()
    assert {f.set for f in found.curve} == {"validation harmful", "validation attacked"}


def test_where_no_dose_stays_within_the_budget_it_is_said_of_which(engine, features, saes):
    does = [(multiply_features(features, 0.0, saes=saes), "ccrr"),
            (clamp_features(features, 0.2 * unit_of(engine, features), saes=saes), "rr..")]  # fmt: skip
    found = choose_doses(told(engine, "rrrr", *does), features, saes, ["prefill"], 4, (0.0,), (0.2,))
    assert found.over_budget == ("value",)


def test_how_many_latents_are_clamped_is_chosen_within_the_same_budget(engine, features, first, saes):
    does = [
        (clamp_features(some, value * unit_of(engine, some), saes=saes), outcomes)
        for some, both in ((first, ("ccrr", "crrr")), (features, ("rrrr", "....")))
        for value, outcomes in zip((0.2, 0.4), both, strict=True)
    ]
    evaluator = told(engine, "crrr", *does)
    found = choose_value(evaluator, features, saes, ["prefill"], 4, (0.2, 0.4), sizes=(1, 2))
    assert found.features.features == features.features[:2]
    assert (found.dose, found.choice.within_budget) == (pytest.approx(0.2 * unit_of(engine, features)), True)
    assert {prompt.use for prompt in evaluator.asked} == {"validation"}


def test_how_many_latents_are_suppressed_is_chosen_too(engine, features, first, saes):
    does = [
        (multiply_features(some, factor, saes=saes), outcomes)
        for some, both in ((first, ("crrr", "ccrr")), (features, ("cccr", "cc..")))
        for factor, outcomes in zip((0.5, 0.0), both, strict=True)
    ]
    evaluator = told(engine, "rrrr", *does)
    found = choose_factor(evaluator, features, saes, 4, (0.5, 0.0), sizes=(1, 2))
    assert (found.features.features, found.dose, found.choice.gain) == (features.features, 0.5, 0.75)
    found = choose_factor(evaluator, features, saes, 4, (0.0,), sizes=(1, 2))
    assert found.features.features == first.features


def test_a_subset_takes_the_mildest_factor_that_keeps_the_effect(engine, features, saes):
    factors = {0.5: "crrr", 0.3: "ccrr", 0.0: "cccr"}
    does = [(multiply_features(features, factor, saes=saes), outcomes) for factor, outcomes in factors.items()]
    evaluator = told(engine, "rrrr", *does)
    for enough, factor in ((0.25, 0.5), (0.3, 0.3), (0.5, 0.3), (0.9, 0.0), (None, 0.0)):
        assert choose_factor(evaluator, features, saes, 4, tuple(factors), enough=enough).dose == factor


def test_gains_are_measured_on_validation_prompts_and_broken_answers_count_against_them(engine, features, first, saes):
    whole, part = (multiply_features(some, 0.0, saes=saes) for some in (features, first))
    evaluator = told(engine, "rrrr", (whole, "cccr"), (part, "cc.."))
    assert effects(evaluator, saes, (0.0,), 4)([features, first]) == [0.75, 0.0]
    clamps = [clamp(saes[SITE], [index], 2.0) for index in (1, 2)]
    evaluator = told(engine, "cccc", (clamps[0], "rrrc"), (clamps[1], "rr.."))
    assert refusals(evaluator, ["prefill"], 4)(clamps) == [0.75, 0.0]
    assert {prompt.use for prompt in evaluator.asked} == {"validation"}


def test_a_set_is_taken_at_its_best_factor(engine, features, saes):
    does = [(multiply_features(features, factor, saes=saes), some) for factor, some in ((0.4, "crrr"), (0.0, "ccc."))]
    assert effects(told(engine, "rrrr", *does), saes, (0.4, 0.0), 4)([features]) == [0.5]


def test_a_shortlist_is_by_the_likelihood_of_the_refusal_under_each_clamp(engine, sae, monkeypatch):
    seen = []

    def logprobs(pairs, how):
        seen.append((pairs, how))
        return [Scored((-1.0, -3.0), False)] * (len(pairs) - 1) + [Scored((-4.0,), False)]

    monkeypatch.setattr(engine, "logprobs", logprobs)
    steering = [clamp(sae, [3], value) for value in (0.0, 4.0)]
    refusal = "I'm sorry, but I can't help with that because it hurts people."
    assert likelihoods(engine, builtin_sets(), refusal, ["direct", "prefill"], 2)(steering) == [-2.5, -2.5]
    assert [how for _, how in seen] == steering
    for pairs, _ in seen:
        assert [(c.attack, c.prompt.use) for c, _ in pairs] == [("direct", "validation")] * 2 + [
            ("prefill", "validation")
        ] * 2
        assert {answer for _, answer in pairs} == {"I'm sorry, but I can't help with that"}


def test_the_screen_is_how_far_the_refusal_score_falls_and_nothing_is_generated(engine, features, saes, monkeypatch):
    scores = iter([3.0, 1.0, 2.5])
    fitted, asked = [], []

    class Fake:
        def scores(self, engine, talks, intervention=None):
            asked.append(({c.prompt.use for c in talks}, intervention is None))
            return torch.full((len(talks),), next(scores), dtype=torch.float64)

    def measured(_folder, _engine, harmful, plain):
        fitted.extend(c.prompt.use for c in (*harmful, *plain))
        return Fake()

    monkeypatch.setattr("demur.fitting.doses.cached_openings", measured)
    assert refusal_score_drop(engine, builtin_sets(), saes, 0.0, 4)([features, features]) == [2.0, 0.5]
    assert asked == [({"validation"}, True), ({"validation"}, False), ({"validation"}, False)]
    assert set(fitted) == {"fit"}


def test_a_unit_is_the_median_norm_over_the_root_of_the_number_of_latents(engine, features, first):
    norms = norms_of(engine, features)
    assert list(norms) == [str(SITE)] and norms[str(SITE)] > 0
    assert unit_of(engine, first) == pytest.approx(norms[str(SITE)])
    assert unit_of(engine, features) == pytest.approx(norms[str(SITE)] / 2**0.5)
