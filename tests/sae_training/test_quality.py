import pytest
import torch

from demur.engines.reading import text_rows
from demur.errors import BadFile, InputError
from demur.sae_training.quality import constant, quality
from demur.saes import SAE
from demur.types import Site

SITE = Site(1, "post")
TEXT = "How do I bake bread with yeast, flour and warm water?\nWrite a short poem about the sea.\n" * 12


def perfect(width=32, **metadata):
    """relu(x) - relu(-x) = x."""
    eye = torch.eye(width)
    weights = {"W_enc": torch.cat([eye, -eye], 1), "W_dec": torch.cat([eye, -eye]), "b_enc": torch.zeros(2 * width),
               "b_dec": torch.zeros(width)}  # fmt: skip
    return SAE("relu", weights, SITE, metadata=metadata)


@pytest.fixture
def rows(tiny):
    return {"text": text_rows(tiny("llama").engine, TEXT, "a text", 24)}


def test_an_sae_that_reconstructs_everything_recovers_everything(tiny, rows):
    card = quality(tiny("llama").engine, [perfect()], rows)[0]
    found = card.sets[0]
    assert found.explained == pytest.approx(1, abs=1e-5)
    assert found.spliced == pytest.approx(found.clean, abs=1e-4)
    assert found.recovered == pytest.approx(1, abs=1e-3)
    assert found.l0 == pytest.approx(32, abs=0.01)
    assert found.ablated != pytest.approx(found.clean, abs=1e-3)


def test_an_sae_that_knows_the_mean_alone_recovers_nothing(tiny, rows):
    engine = tiny("llama").engine
    mean = torch.full((32,), 0.1)
    card = quality(engine, [constant(perfect(), mean)], rows, [mean])[0]
    assert card.sets[0].recovered == pytest.approx(0, abs=1e-6)
    assert card.sets[0].explained <= 0.01
    assert card.sets[0].l0 == 0


def test_silent_latents_are_called_dead_only_after_enough_tokens(tiny, rows, monkeypatch):
    eye = torch.cat([torch.eye(32), -torch.eye(32)], 1)
    bias = torch.zeros(64)
    bias[:16] = -1e6
    sae = SAE("relu", {"W_enc": eye, "W_dec": eye.T.clone(), "b_enc": bias, "b_dec": torch.zeros(32)}, SITE)
    engine = tiny("llama").engine
    few = quality(engine, [sae], rows)[0]
    assert few.dead is None
    assert few.silent == 0.25
    monkeypatch.setattr("demur.sae_training.quality.DEAD_TOKENS", 100)
    assert quality(engine, [sae], rows)[0].dead == 0.25


def test_outlier_dimensions_are_those_that_training_named(tiny, rows):
    engine = tiny("llama").engine
    half = perfect()
    weights = dict(half.weights)
    weights["W_dec"] = weights["W_dec"].clone()
    weights["W_dec"][:, 3] = 0
    plain, told = (SAE("relu", weights, SITE, metadata=m) for m in ({}, {"demur_outliers": [3]}))
    a, b = quality(engine, [plain, told], rows)
    assert a.sets[0].explained < 0.999
    assert b.sets[0].explained == pytest.approx(1, abs=1e-5)
    assert b.sets[0].explained_all == pytest.approx(a.sets[0].explained, abs=1e-6)


def test_an_sae_of_another_width_and_no_passages_are_errors(tiny, rows):
    engine = tiny("llama").engine
    with pytest.raises(BadFile, match="width"):
        quality(engine, [perfect(16)], rows)
    with pytest.raises(InputError, match="held-out"):
        quality(engine, [perfect()], {"text": []})


def test_every_figure_stands_under_its_sites_name(tiny, rows):
    figures = quality(tiny("llama").engine, [perfect()], rows)[0].figures()
    assert {f.arm for f in figures} == {"sae 1.post"}
    assert {f.metric for f in figures} >= {"l0", "variance_explained", "cross_entropy_recovered", "silent_share"}
