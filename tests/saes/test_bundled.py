"""The SAEs that ship: whole, small, described, and about refusal."""

from pathlib import Path

import pytest
import torch

import demur.saes.bundled as bundled
from demur.engines.hf import HFEngine
from demur.features import contrast
from demur.fitting.doses import refusal_score_drop
from demur.fitting.find_features import FindConfig, find_features, saes_for
from demur.prompts.builtin import builtin
from demur.prompts.sets import builtin_sets
from demur.saes import check_model, encode, load_sae
from demur.types import Conversation, Message

NAMES = bundled.bundled_saes("smollm2-refuser")
WEIGHTS = Path(bundled.__file__).parent / "weights"


def test_three_or_more_ship_within_48_mb_and_the_card_names_each():
    assert len(NAMES) >= 3
    assert sum(path.stat().st_size for path in WEIGHTS.rglob("*") if path.is_file()) <= 48e6
    card = (WEIGHTS / "smollm2-refuser" / "README.md").read_text(encoding="utf-8")
    assert all(f"`{name}`" in card for name in NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_each_loads_as_an_sae_of_its_model_and_site(name):
    sae = load_sae(name)
    assert f"smollm2-refuser/{sae.site}" == name
    check_model(sae, "smollm2-refuser", 576, 30)
    assert sae.kind == "jumprelu"
    norms = sae.weights["W_dec"].float().norm(dim=-1)
    assert bool(torch.isfinite(norms).all()) and float(norms.min()) > 0
    assert bool((encode(sae, torch.zeros(1, 576)) >= 0).all())


@pytest.fixture(scope="module")
def engine():
    return HFEngine("smollm2-refuser")


def asked(name, n):
    return [Conversation(p, (Message("user", p.text),)) for p in builtin(name, "fit")[:n]]


@pytest.mark.real
def test_their_refusal_latents_lower_the_refusal_score_when_they_are_suppressed(engine):
    saes = saes_for(engine)
    found = contrast(engine, asked("harmful", 12), asked("plain", 12), saes).feature_set(10)
    rare = contrast(engine, asked("plain", 12), asked("borderline", 12), saes).feature_set(10)
    down, other = refusal_score_drop(engine, builtin_sets(), saes, 0.0, 12)([found, rare])
    assert down > 1.0
    assert down > other + 1.0


@pytest.mark.real
def test_finding_on_fitting_prompts_is_the_same_every_time(engine):
    saes = saes_for(engine)
    once, again = (find_features(engine, saes, "contrast", FindConfig(k=5, n=6)) for _ in range(2))
    assert once.features == again.features
    assert {f.site for f in once.features} <= set(saes)
