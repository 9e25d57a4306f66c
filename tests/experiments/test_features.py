"""The proof from end to end, on the mock and an SAE of which one latent is the planted direction."""

import json
from dataclasses import replace
from typing import Any

import pytest
import torch
from tests.planted import Planted

from demur.analysis.tables import find
from demur.errors import InputError
from demur.experiments.features import VerifyConfig, verify_features
from demur.experiments.proof import ProofConfig
from demur.prompts.sets import PromptSets, builtin_sets
from demur.runs import Journal, read_results
from demur.saes import SAE, load_features, load_sae, save_sae
from demur.types import Feature, FeatureSet, Site

SITE = Site(1, "post")
FEW = PromptSets("few", builtin_sets().prompts[::4])
CONFIG = VerifyConfig(ProofConfig(n=6, randoms=3, items=5), minimal=True)


@pytest.fixture(scope="module")
def sae(tmp_path_factory) -> SAE:
    """Latent 0 reads and writes the planted direction; the others fire as much, and write across it."""
    axis = Planted().direction.vector
    across = torch.nn.functional.normalize(torch.randn(23, 16, generator=torch.Generator().manual_seed(2)), dim=-1)
    across = across - (across @ axis)[:, None] * axis
    encoder, decoder = torch.cat([axis[None] / 2, across]), torch.cat([2 * axis[None], across])
    bias = torch.cat([torch.zeros(1), torch.full((23,), 1.2)])
    weights = {"W_enc": encoder.T.contiguous(), "W_dec": decoder, "b_enc": bias, "b_dec": torch.zeros(16)}
    made = SAE("relu", weights, SITE)
    return load_sae(save_sae(made, tmp_path_factory.mktemp("sae")))


@pytest.fixture(scope="module")
def features(sae) -> FeatureSet:
    origin = {"saes": {str(SITE): sae.source}, "method": "planted"}
    return FeatureSet((Feature(SITE, 0), Feature(SITE, 7)), {SITE: sae.sha256}, origin)


@pytest.fixture(scope="module")
def run(tmp_path_factory, features):
    out, engine = tmp_path_factory.mktemp("verify"), Planted()
    return out, verify_features(engine, features, CONFIG, out, engine.direction, FEW)


def change(done, arm: str, name: str, metric: str, versus: str = "unsteered") -> float:
    return find(done.figures, arm, name, metric, versus).value


def test_the_planted_latent_is_necessary_and_sufficient_and_random_ones_are_not(run):
    _, done = run
    assert change(done, "suppress", "harmful", "compliance_rate") == 1
    assert change(done, "clamp", "attacked", "refusal_rate") == 1
    assert change(done, "random suppress", "harmful", "compliance_rate") == 0
    assert change(done, "random clamp", "attacked, a share", "refusal_rate") == 0
    beaten = "sets_at_least_as_large_compliance_rate"
    assert change(done, "suppress", "harmful", beaten, "random suppress") == 0
    assert change(done, "ablate", "harmful", "compliance_rate") == 1


def test_without_the_direction_in_its_row_it_does_nothing(run):
    _, done = run
    assert change(done, "suppress without direction", "harmful", "compliance_rate") == 0
    assert change(done, "clamp without direction", "attacked", "refusal_rate") == 0


def test_the_smallest_subset_is_the_planted_latent_and_is_written_down(run, features):
    out, done = run
    assert done.minimal is not None and done.minimal.features == features.features[:1]
    assert load_features(out / "minimal.json").features == features.features[:1]
    assert change(done, "suppress minimal", "harmful", "compliance_rate") == 1
    chosen = read_results(out).spec["chosen_on_validation"]
    assert chosen["minimal"]["features"] == [["1.post", 0]]


def test_results_say_what_was_proved_with_what_and_chosen_where(run, features, sae):
    out, done = run
    results = read_results(out)
    assert results.figures == done.figures
    spec = results.spec
    assert spec["features"] == [["1.post", 0], ["1.post", 7]]
    assert (spec["saes"], spec["method"]) == ({"1.post": sae.sha256}, "planted")
    chosen = spec["chosen_on_validation"]
    assert (chosen["factor"], chosen["value"]) == (done.doses.factor, done.doses.value) and done.doses.factor == 0
    assert len(chosen["attacked"]) == 3
    curves = {f.set for f in done.doses.curve}
    assert curves == {"validation harmful", "validation attacked"}
    assert {f.set for f in results.figures} >= curves
    assert done.summary[0].startswith("Suppressed (0 times), 2 latents change compliance with harmful requests by +100")
    assert json.dumps(spec)


def test_a_rerun_answers_nothing_again(run, features):
    out, done = run
    engine = Planted()
    again = verify_features(engine, features, CONFIG, out, engine.direction, FEW)
    assert (again.figures, again.generated) == (done.figures, 0)
    assert engine.calls["generate"] == 0


def test_the_run_is_listed_and_asked_only_the_prompts_that_it_was_given(run):
    out, _ = run
    with Journal(out / "journal.sqlite", readonly=True) as journal:
        (one,) = journal.runs()
        asked = [(row.set, row.generation.conversation.prompt) for row in journal.rows(one.id) if row.generation]
    assert (one.name, one.status) == ("features verify", "finished")
    for name, prompt in asked:
        assert prompt in FEW.prompts
        assert prompt.use == ("validation" if name.startswith("validation") else "test")


def test_all_that_was_generated_is_counted_the_fit_of_the_direction_too_and_a_rerun_generates_nothing(
    tmp_path, features
):
    config = VerifyConfig(ProofConfig(n=4, randoms=1, items=2), minimal=True)
    engine, again = Planted(), Planted()
    done = verify_features(engine, features, config, tmp_path, prompts=FEW)
    assert done.generated == engine.answered > 100
    rerun = verify_features(again, features, config, tmp_path, prompts=FEW)
    assert (rerun.figures, rerun.generated) == (done.figures, 0)
    assert again.calls["generate"] == again.answered == 0


@pytest.mark.parametrize("what", ["features", "direction"])
def test_what_was_found_on_prompts_that_are_tested_is_refused_before_any_work(tmp_path, features, what):
    turned: Any = {"fit": "test", "test": "fit", "validation": "validation"}
    other = PromptSets("other", tuple(replace(p, use=turned[p.use]) for p in FEW.prompts))
    engine = Planted()
    origin = {**engine.direction.origin, "fitted_on": [other.fitted_on()]}
    toward = engine.direction
    if what == "direction":
        toward = replace(toward, origin=origin)
    else:
        features = replace(features, origin={**features.origin, **origin})
    with pytest.raises(InputError, match=r"fitted or chosen on \(other\), nearly repeats the test prompt .* \(few\)"):
        verify_features(engine, features, CONFIG, tmp_path, toward, FEW)
    assert not any(engine.calls.values()) and not list(tmp_path.iterdir())
