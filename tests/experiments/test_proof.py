"""The proof on a tiny model with random SAEs and a judge that looks at lengths: what is compared with what."""

import pytest
import torch
from tests.hashed import Hashed, rows

from demur.analysis.tables import find
from demur.engines.base import Scored
from demur.errors import InputError
from demur.evaluation.evaluator import Bench
from demur.experiments.proof import against_random, prove
from demur.fitting.doses import (
    Doses,
    choose_doses,
    choose_factor,
    choose_value,
    effects,
    likelihoods,
    refusals,
    unit_of,
    unlikely,
)
from demur.interventions import clamp
from demur.saes import SAE, load_sae, save_sae
from demur.types import (
    Decoding,
    Direction,
    Feature,
    FeatureSet,
    Site,
)

SITE = Site(1, "post")


@pytest.fixture(scope="module")
def sae(tmp_path_factory) -> SAE:
    generator = torch.Generator().manual_seed(0)
    weights = {"W_enc": torch.randn(32, 60, generator=generator), "W_dec": torch.randn(60, 32, generator=generator),
               "b_enc": torch.full((60,), -2.0), "b_dec": torch.zeros(32)}  # fmt: skip
    return load_sae(save_sae(SAE("relu", weights, SITE), tmp_path_factory.mktemp("sae")))


@pytest.fixture
def features(sae) -> FeatureSet:
    return FeatureSet((Feature(SITE, 3), Feature(SITE, 9)), {SITE: sae.sha256}, {"saes": {str(SITE): sae.source}})


@pytest.fixture
def bench(build):
    return Bench(build("llama", 3, max_position_embeddings=4096).engine, Hashed(), Decoding(6))


def test_an_arm_is_set_against_the_mean_and_the_worst_of_random_sets():
    table = {
        ("unsteered", "harmful"): rows("rrrrrrrr"),
        ("suppress", "harmful"): rows("ccccccrr"),
        ("random suppress 0", "harmful"): rows("rrrrrrrr"),
        ("random suppress 1", "harmful"): rows("ccrrrrrr"),
    }
    found = against_random(table, "suppress", "random suppress ", "harmful", "compliance_rate")
    assert find(found, "random suppress", "harmful", "compliance_rate", "unsteered").value == pytest.approx(1 / 8)
    assert find(found, "suppress", "harmful", "compliance_rate", "random suppress").value == pytest.approx(5 / 8)
    assert find(found, "random suppress", "harmful", "largest_compliance_rate", "unsteered").value == 0.25
    beaten = "sets_at_least_as_large_compliance_rate"
    assert find(found, "suppress", "harmful", beaten, "random suppress").value == 0


def test_a_random_set_that_does_as_much_is_counted():
    table = {
        ("unsteered", "harmful"): rows("rrrr"),
        ("suppress", "harmful"): rows("ccrr"),
        ("random suppress 0", "harmful"): rows("rrcc"),
        ("random suppress 1", "harmful"): rows("rrrr"),
    }
    found = against_random(table, "suppress", "random suppress ", "harmful", "compliance_rate")
    beaten = "sets_at_least_as_large_compliance_rate"
    assert find(found, "suppress", "harmful", beaten, "random suppress").value == 1


def test_doses_that_break_answers_are_not_chosen(bench, features, sae, monkeypatch):
    def run(arms, sets, run=""):
        shares = {
            "unsteered": "rrrr",
            "suppress -1": "....",
            "suppress 0": "ccrr",
            "clamp 0.2r": "rrrr",
            "clamp 0.4r": "....",
        }
        return {(arm.name, name): rows(shares[arm.name]) for arm in arms for name in sets}

    monkeypatch.setattr(bench, "run", run)
    doses = choose_doses(bench, features, {SITE: sae}, ["prefill"], 4, (-1.0, 0.0), (0.2, 0.4))
    assert (doses.factor, doses.value) == (0.0, 0.2 * unit_of(bench.engine, features))


def test_every_arm_of_the_proof_is_there_on_its_sets(bench, features, sae):
    direction = Direction(torch.eye(32)[0], Site(2), 4.0)
    doses = Doses(-1.0, 4.0, 0.5, ())
    found = prove(bench, features, {SITE: sae}, direction, doses, ["prefill", "fiction"], n=6, randoms=3, items=4,
                  minimal=(FeatureSet(features.features[:1], features.saes), 0.0))  # fmt: skip
    places = set(found.table)
    for arm in ("suppress", "suppress without direction", "ablate", "suppress minimal"):
        assert (arm, "harmful") in places
    for arm in ("clamp", "clamp without direction", "add", "clamp minimal"):
        assert {(arm, name) for name in ("attacked", "plain", "borderline")} <= places
    assert {f"random suppress {i}" for i in range(3)} <= {arm for arm, _ in places}
    assert len(found.table["unsteered", "attacked"]) == 12
    few = [found.table[arm, "attacked, a share"] for arm in ("random clamp 0", "clamp", "unsteered")]
    asked = [[judged.generation.conversation.messages for judged in some] for some in few]
    assert asked[0] == asked[1] == asked[2]
    for arm in ("suppress", "clamp", "ablate", "add"):
        assert find(found.figures, arm, "capability", "accuracy", "unsteered").n == 4
    assert {f.arm for f in found.figures if f.metric == "holm_p"} == {"suppress", "clamp"}
    assert find(found.figures, "random suppress", "controls", "norm_ratio").value == pytest.approx(1.0, abs=0.05)
    keys = [(f.arm, f.versus, f.set, f.metric) for f in found.figures]
    assert len(keys) == len(set(keys))
    assert {judged.generation.conversation.prompt.use for some in found.table.values() for judged in some} == {"test"}


def test_a_proof_without_random_sets_is_refused(bench, features, sae):
    direction = Direction(torch.eye(32)[0], SITE, 1.0)
    with pytest.raises(InputError, match="random sets"):
        prove(bench, features, {SITE: sae}, direction, Doses(0.0, 1.0, 0.5, ()), ["prefill"], randoms=0)


def test_the_screen_is_how_far_the_refusal_score_falls_and_nothing_is_generated(bench, features, sae, monkeypatch):
    scores = iter([3.0, 1.0, 2.5])
    asked = []

    class Fake:
        def scores(self, engine, talks, intervention=None):
            asked.append(({c.prompt.use for c in talks}, intervention is None))
            return torch.full((len(talks),), next(scores), dtype=torch.float64)

    monkeypatch.setattr("demur.fitting.doses.measure_openings", lambda *_: Fake())
    assert unlikely(bench.engine, {SITE: sae}, 0.0, 4)([features, features]) == [2.0, 0.5]
    assert asked == [({"validation"}, True), ({"validation"}, False), ({"validation"}, False)]


def test_gains_are_measured_on_validation_prompts_and_broken_answers_count_against_them(
    bench, features, sae, monkeypatch
):
    seen = []

    def run(arms, sets, run=""):
        seen.extend(c.prompt.use for some in sets.values() for c in some)
        shares = {"unsteered": "rrrr", "candidate 0": "cccr", "candidate 1": "cc.."}
        return {(arm.name, name): rows(shares[arm.name]) for arm in arms for name in sets}

    monkeypatch.setattr(bench, "run", run)
    assert effects(bench, {SITE: sae}, (0.0,), 4)([features, features]) == [0.75, 0.0]
    assert refusals(bench, ["prefill"], 4)([clamp(sae, [1], 2.0), clamp(sae, [2], 2.0)]) == [-0.75, -1.5]
    assert set(seen) == {"validation"}


def test_a_shortlist_is_by_the_likelihood_of_the_refusal_under_each_clamp(bench, sae, monkeypatch):
    seen = []

    def logprobs(pairs, how):
        seen.append((pairs, how))
        return [Scored((-1.0, -3.0), False)] * (len(pairs) - 1) + [Scored((-4.0,), False)]

    monkeypatch.setattr(bench.engine, "logprobs", logprobs)
    steering = [clamp(sae, [3], value) for value in (0.0, 4.0)]
    refusal = "I'm sorry, but I can't help with that because it hurts people."
    assert likelihoods(bench.engine, refusal, ["plain", "prefill"], 2)(steering) == [-2.5, -2.5]
    assert [how for _, how in seen] == steering
    for pairs, _ in seen:
        assert [(c.attack, c.prompt.use) for c, _ in pairs] == [("plain", "validation")] * 2 + [
            ("prefill", "validation")
        ] * 2
        assert {answer for _, answer in pairs} == {"I'm sorry, but I can't help with that"}


def test_how_many_latents_are_clamped_is_chosen_at_the_same_price(bench, features, sae, monkeypatch):
    def run(arms, sets, run=""):
        assert {c.prompt.use for some in sets.values() for c in some} == {"validation"}
        shares = {"unsteered": "crrr", "clamp 1 at 0.2r": "ccrr", "clamp 1 at 0.4r": "crrr", "clamp 2 at 0.2r": "rrrr",
                  "clamp 2 at 0.4r": "...."}  # fmt: skip
        return {(arm.name, name): rows(shares[arm.name]) for arm in arms for name in sets}

    monkeypatch.setattr(bench, "run", run)
    chosen = choose_value(bench, features, {SITE: sae}, ["prefill"], 4, (0.2, 0.4), sizes=(1, 2))
    few = chosen.features
    assert few.features == features.features[:2]
    assert (chosen.dose, chosen.within_price) == (pytest.approx(0.2 * unit_of(bench.engine, few)), True)


def test_how_many_latents_are_suppressed_is_chosen_too(bench, features, sae, monkeypatch):
    def run(arms, sets, run=""):
        shares = {"unsteered": "rrrr", "suppress 1 by 0": "ccrr", "suppress 1 by 0.5": "crrr",
                  "suppress 2 by 0": "cc..", "suppress 2 by 0.5": "cccr"}  # fmt: skip
        return {(arm.name, name): rows(shares[arm.name]) for arm in arms for name in sets}

    monkeypatch.setattr(bench, "run", run)
    chosen = choose_factor(bench, features, {SITE: sae}, 4, (0.5, 0.0), sizes=(1, 2))
    assert (chosen.features.features, chosen.dose) == (features.features[:2], 0.5)
    assert chosen.gain == 0.75
    chosen = choose_factor(bench, features, {SITE: sae}, 4, (0.0,), sizes=(1, 2))
    assert len(chosen.features.features) == 1


def test_a_subset_takes_the_mildest_factor_that_keeps_the_effect(bench, features, sae, monkeypatch):
    def run(arms, sets, run=""):
        shares = {"unsteered": "rrrr", "suppress 0.5": "crrr", "suppress 0.3": "ccrr", "suppress 0": "cccr"}
        return {(arm.name, name): rows(shares[arm.name]) for arm in arms for name in sets}

    monkeypatch.setattr(bench, "run", run)
    for enough, dose in ((0.25, 0.5), (0.3, 0.3), (0.5, 0.3), (0.9, 0.0), (None, 0.0)):
        assert choose_factor(bench, features, {SITE: sae}, 4, (0.5, 0.3, 0.0), enough=enough).dose == dose
