"""Nothing is fitted or chosen on prompts that leak, be they reserved for a use or a user's own of none."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from tests.planted import Planted

from demur.attacks import attack
from demur.directions.artifact import save_direction
from demur.directions.vectors import steering_vector
from demur.engines.mock import MockEngine
from demur.errors import InputError
from demur.evaluation.behaviour import log_odds
from demur.features import attribute, contrast
from demur.fitting.candidates import Grid
from demur.fitting.cleaning import clean_vector
from demur.fitting.direction_search import choose_direction
from demur.fitting.edits import constrained_edit, projected
from demur.fitting.find_features import FindConfig, find_features
from demur.fitting.gradients import gradient_subspaces
from demur.fitting.openings import Openings, measure_openings
from demur.fitting.refusal import DirectionConfig, refusal_direction, search_direction
from demur.fitting.subspace import fit_subspace
from demur.fitting.vectors import fit_vector
from demur.prompts import uses
from demur.prompts.pairs import Pair
from demur.prompts.sets import PromptSets, builtin_sets
from demur.types import Direction, Prompt, Site

SITE = Site(1, "pre")
OPENINGS = Openings(((5,),), 1.0, 6, 6)
HARMFUL = ("steal a lantern", "forge my passport", "poison their well", "burn the barn")
HARMLESS = ("bake some bread", "water roses", "tune a violin", "fold paper cranes")
HELD = ("rob an old bank", "hack this website"), ("knit a scarf", "peel ripe mangoes")


class Untouched(MockEngine):
    """Fails the test when a model is asked anything."""

    def generate(self, *_: Any, **__: Any) -> Any:
        raise AssertionError("the model was called before the prompts were checked")

    activations = last_logits = gradients = logprobs = generate


def talks(texts, use=None) -> Any:
    return [attack(Prompt(text, text, "mine", use=use), "direct") for text in texts]


VECTOR = steering_vector({SITE: torch.ones(8)})
BASES = {SITE: torch.eye(8)[:1]}
DIRECTION = Direction(torch.eye(8)[0], SITE, 1.0)

CHOOSE: dict[str, Any] = {
    "direction": lambda e, fit, plain, held: choose_direction(e, fit, plain, held, talks(HELD[1])),
    "direction, harmless": lambda e, fit, plain, held: choose_direction(e, fit, plain, talks(HELD[0]), held),
    "subspace": lambda e, fit, plain, held: fit_subspace(e, fit, plain, held, SITE, OPENINGS),
    "edit": lambda e, fit, plain, held: constrained_edit(e, VECTOR, [*fit, *plain], held, OPENINGS),
}
"""What is fitted on some prompts and chosen on others."""


@pytest.mark.parametrize("name", CHOOSE)
@pytest.mark.parametrize("leak", [HARMFUL[1], "Forge my passport!", "please forge passport", HARMLESS[2]])
@pytest.mark.parametrize("use", [None, "validation"])
def test_a_validation_prompt_that_repeats_a_fitting_one_is_refused(name, leak, use):
    fit, plain = talks(HARMFUL), talks(HARMLESS)
    with pytest.raises(InputError, match="both the fitting and the validation split|are near-duplicates"):
        CHOOSE[name](Untouched(), fit, plain, [*talks(HELD[0][1:]), *talks([leak], use)])


@pytest.mark.parametrize("name", CHOOSE)
def test_prompts_that_do_not_leak_reach_the_model(name):
    with pytest.raises(AssertionError, match="the model was called"):
        CHOOSE[name](Untouched(), talks(HARMFUL), talks(HARMLESS), talks(["sell fake medals"]))


FIT: dict[str, Any] = {
    "openings": lambda e, some: measure_openings(e, some, talks(HARMLESS)),
    "gradients": lambda e, some: gradient_subspaces(e, some, [SITE], OPENINGS),
    "contrast": lambda e, some: contrast(e, some, talks(HARMLESS), SAES),
    "attribution": lambda e, some: attribute(e, some, SAES, DIRECTION),
}
SAES: Any = {}


@pytest.fixture(autouse=True)
def saes(random_sae):
    SAES[SITE] = random_sae(site=SITE)


@pytest.mark.parametrize("name", FIT)
@pytest.mark.parametrize("use", ["validation", "test", "training"])
def test_what_is_only_fitted_takes_no_prompt_that_is_reserved(name, use):
    with pytest.raises(InputError, match=f"prompt '{HARMFUL[0]}' is reserved for {use}; fitting prompts are"):
        FIT[name](Untouched(), talks(HARMFUL, use))


@pytest.mark.parametrize("use", ["fit", "test"])
def test_projection_is_judged_on_validation_prompts_only(use):
    with pytest.raises(InputError, match=f"is reserved for {use}; validation prompts are"):
        projected(Untouched(), VECTOR, BASES, talks(HARMFUL, use), OPENINGS)


def test_vectors_take_fitting_pairs_and_behaviours_held_out_ones(tiny):
    fit, held = (Pair("p", "Tea now?", "Yes.", "No.", use=use) for use in ("fit", "test"))
    with pytest.raises(InputError, match="pair 'p' is reserved for test; fitting pairs are"):
        fit_vector(tiny("llama").engine, [held], [SITE])
    with pytest.raises(InputError, match="pair 'p' is reserved for fit; held-out pairs are"):
        log_odds(Untouched(), [fit], [None])


ROWS = [replace(p, id=f"own {p.id}") for p in builtin_sets().prompts[::3] if p.kind != "borderline"]
A = PromptSets("A", tuple(ROWS))
TURNED: Any = {"fit": "test", "test": "fit", "validation": "validation"}
B = PromptSets("B", tuple(replace(p, use=TURNED[p.use]) for p in ROWS))
"""The same prompts, those for fitting and those for the test exchanged."""
LEAKS = r"nearly repeats the test prompt .* \(B\); fit again with these prompts"
CONFIG = DirectionConfig(n=8, choose=6, grid=Grid(2, positions=(-1,)))


def test_a_direction_says_what_it_was_fitted_on_and_is_refused_where_that_is_tested(tmp_path):
    engine = Planted()
    found = search_direction(engine, CONFIG, A)
    (record,) = found.direction.origin["fitted_on"]
    asked = [A.take(kind, use, n) for use, n in (("fit", 8), ("validation", 6)) for kind in ("harmful", "plain")]  # pyright: ignore[reportArgumentType]
    assert record == {"name": "A", "sha256": A.sha256, "texts": [p.text for some in asked for p in some]}
    assert found.difference.origin["fitted_on"] == [record]
    path = save_direction(found.direction, tmp_path / "refusal.safetensors")
    assert refusal_direction(engine, path, A).vector.equal(found.direction.vector)
    calls = engine.calls.copy()
    for given in (found.direction, path):
        with pytest.raises(InputError, match=LEAKS):
            refusal_direction(engine, given, B)
    assert engine.calls == calls
    (record,) = search_direction(engine, CONFIG).direction.origin["fitted_on"]
    assert record == {"name": "built-in", "sha256": builtin_sets().sha256}


def test_a_feature_set_says_what_it_and_its_direction_were_found_on(random_sae):
    engine = Planted()
    sae = {SITE: random_sae(site=SITE, d_in=16)}
    found = find_features(engine, sae, "contrast", FindConfig(k=2, n=8), prompts=A)
    assert found.origin["fitted_on"] == [A.fitted_on()]
    assert {*found.origin["fitted_on"][0]["texts"]} == {p.text for p in ROWS if p.use != "test"}
    uses.check_artifact(found.origin, A)
    with pytest.raises(InputError, match=LEAKS):
        uses.check_artifact(found.origin, B)
    toward = search_direction(engine, CONFIG, A).direction
    by_direction = find_features(engine, sae, "cosine", FindConfig(k=2), toward)
    assert by_direction.origin["fitted_on"] == [builtin_sets().fitted_on(), *toward.origin["fitted_on"]]
    with pytest.raises(InputError, match=LEAKS):
        uses.check_artifact(by_direction.origin, B)
    with pytest.raises(InputError, match=LEAKS):
        find_features(engine, sae, "cosine", FindConfig(k=2), toward, B)


def test_a_cleaned_vector_says_what_it_was_cleaned_on():
    engine = Planted()
    axis = engine.direction
    vector = steering_vector({axis.site: axis.vector + 0.1})
    made = clean_vector(engine, vector, "direction", direction=axis, prompts=A)
    uses.check_artifact(made.origin, A)
    with pytest.raises(InputError, match=LEAKS):
        uses.check_artifact(made.origin, B)
    toward = search_direction(engine, CONFIG, A).direction
    with pytest.raises(InputError, match=LEAKS):
        clean_vector(engine, vector, "direction", direction=toward, prompts=B)
