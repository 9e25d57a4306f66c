"""`demur features` and `demur sae` from end to end on a tiny model."""

import json
from dataclasses import replace

import pytest
import torch

from demur.saes import SAE, load_features, load_sae, save_features, save_sae
from demur.types import Site


@pytest.fixture
def sae(model, tmp_path):
    """The folder of a random SAE of the tiny model: 32 wide, 48 latents, at 1.post."""
    generator = torch.Generator().manual_seed(0)

    def some(*shape):
        return torch.randn(*shape, generator=generator) / 6

    weights = {"W_enc": some(32, 48), "W_dec": some(48, 32), "b_enc": some(48), "b_dec": some(32)}
    metadata = {"model_name": str(model), "hook_name": "blocks.1.hook_resid_post"}
    save_sae(SAE("relu", weights, Site(1, "post"), metadata=metadata), folder := tmp_path / "sae")
    return folder


@pytest.fixture
def found(demur, model, sae, direction, tmp_path):
    """A feature set by cosine."""
    path = tmp_path / "features.json"
    said = demur("features", "find", model, "--sae", sae, "--method", "cosine", "--k", 3, "--direction", direction,
                 "--dtype", "fp32", "--out", path)  # fmt: skip
    assert said.status == 0, said
    assert "3 latents by cosine" in said.out
    return path


def test_found_latents_can_be_shown_suppressed_and_clamped(demur, model, found, direction, tmp_path):
    assert len(load_features(found).features) == 3
    page = tmp_path / "latents.html"
    said = demur("features", "show", model, found, "--direction", direction, "--limit", 2, "--dtype", "fp32", "--out",
                 page)  # fmt: skip
    assert said.status == 0, said
    assert said.out.count("cosine to refusal") == 2
    assert page.read_text(encoding="utf-8").startswith("<!doctype html>")
    for steer in (f"suppress:{found}", f"clamp:{found}:2"):
        said = demur("generate", model, "hi", "--steer", steer, "--max-new-tokens", 4, "--dtype", "fp32")
        assert said.status == 0, said


def test_latents_can_be_named(demur, refuses, model, sae, tmp_path):
    path = tmp_path / "one.json"
    said = demur("features", "pick", model, "1.post/7", "1.post/3", "--sae", sae, "--dtype", "fp32", "--out", path)
    assert said.status == 0, said
    chosen = load_features(path)
    assert [(str(f.site), f.index) for f in chosen.features] == [("1.post", 7), ("1.post", 3)]
    assert chosen.origin["norms"]["1.post"] > 0
    for steer in (f"clamp:{path}:0.5r", f"suppress:{path}"):
        said = demur("generate", model, "hi", "--steer", steer, "--max-new-tokens", 4, "--dtype", "fp32")
        assert said.status == 0, said
    for name, message in (("1.post", "SITE/INDEX"), ("1.post/48", "latents 0 to 47"), ("2.post/1", "1.post")):
        assert message in refuses("features", "pick", model, name, "--sae", sae)


def test_a_relative_clamp_needs_the_streams_norms(refuses, model, found, tmp_path):
    old = load_features(found)
    save_features(
        replace(old, origin={k: v for k, v in old.origin.items() if k != "norms"}), path := tmp_path / "o.json"
    )
    assert "does not say the streams' norms" in refuses("generate", model, "hi", "--steer", f"clamp:{path}:0.5r")


def test_a_set_without_a_hash_is_named(refuses, model, tmp_path):
    path = tmp_path / "hand.json"
    path.write_text('{"kind": "demur.features", "features": []}')
    assert "no field 'sha256'" in refuses("generate", model, "hi", "--steer", f"clamp:{path}:2")


@pytest.mark.parametrize(
    ("method", "option", "value"),
    [
        ("contrast", "--value", 0.3),
        ("cosine", "--n", 8),
        ("attribution", "--value", 0.3),
        ("one-prompt", "--per-site", 5),
    ],
)
def test_a_setting_that_the_method_does_not_read_is_refused(refuses, model, sae, method, option, value):
    said = refuses("features", "find", model, "--sae", sae, "--method", method, option, value)
    assert f"{option} says nothing to {method}" in said


def test_an_unknown_method_names_the_known_ones(refuses, model, sae):
    assert "attribution" in refuses("features", "find", model, "--sae", sae, "--method", "prayer")


def test_an_sae_is_trained_checked_and_converted(demur, model, tmp_path):
    pytest.importorskip("sae_lens")
    text = tmp_path / "text.txt"
    text.write_text("How do I bake bread? Write a short poem. What is the capital of France? " * 200)
    said = demur("sae", "train", model, "--site", "1.post", "--out", tmp_path / "saes", "--text", text, "--d-sae", 48,
                 "--k", 4, "--tokens", 2048, "--batch", 64, "--dtype", "fp32")  # fmt: skip
    assert said.status == 0, said
    folder = tmp_path / "saes" / "1.post"
    assert (load_sae(folder).kind, load_sae(folder).d_sae) == ("jumprelu", 48)
    said = demur("sae", "check", model, folder, "--text", text, "--chats", "", "--scored", 200, "--dtype", "fp32",
                 "--out", tmp_path / "card")  # fmt: skip
    assert said.status == 0, said
    metrics = {f["metric"] for f in json.loads((tmp_path / "card" / "results.json").read_text())["figures"]}
    assert {"l0", "variance_explained", "cross_entropy_recovered"} <= metrics
    said = demur("sae", "convert", folder, tmp_path / "half", "--bf16")
    assert said.status == 0, said
    assert load_sae(tmp_path / "half").weights["W_dec"].dtype == torch.bfloat16


def test_features_of_another_model_are_refused(refuses, demur, model, found, tmp_path):
    features = load_features(found)
    other = replace(features, origin={**features.origin, "weights": "a" * 64})
    path = save_features(other, tmp_path / "other.json")
    for command in (["features", "show", model, path], ["generate", model, "hi", "--steer", f"suppress:{path}"]):
        assert "found on a model with weights aaaaaaaaaaaa" in refuses(*command)
