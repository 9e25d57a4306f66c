"""`demur features` and `demur sae` from end to end on a tiny model."""

import json
import re
from dataclasses import replace

import pytest
import torch

from demur.analysis.tables import find
from demur.runs import read_results
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


def test_an_sae_of_a_model_with_another_name_is_taken_when_told(demur, refuses, model, sae, tmp_path):
    found = load_sae(sae)
    save_sae(replace(found, metadata={**found.metadata, "model_name": "acme/another"}), sae)
    path = tmp_path / "one.json"
    pick = ("features", "pick", model, "1.post/7", "--sae", sae, "--dtype", "fp32", "--out", path)
    assert "was trained on acme/another" in refuses(*pick) and "--other-model" in refuses(*pick)
    assert demur(*pick, "--other-model").status == 0
    find = ("features", "find", model, "--sae", sae, "--dtype", "fp32", "--method", "contrast", "--n", 4, "--k", 1,
            "--out", path)  # fmt: skip
    assert "--other-model" in refuses(*find)
    said = demur(*find, "--other-model")
    assert said.status == 0, said


def test_what_is_named_is_read_before_the_model_is_loaded(refuses, sae, direction, tmp_path, monkeypatch):
    monkeypatch.setattr("demur.cli.features.opened", None)
    find, pick = ("features", "find", "m"), ("features", "pick", "m")
    assert "no folder nowhere" in refuses(*find, "--sae", "nowhere")
    assert "no folder nowhere" in refuses(*pick, "1.post/3", "--sae", "nowhere")
    assert "write SITE/INDEX" in refuses(*pick, "1.post", "--sae", sae)
    assert "no direction at none.safetensors" in refuses(*find, "--sae", sae, "--direction", "none.safetensors")
    assert "is a folder; give a file in it" in refuses(*find, "--sae", sae, "--out", tmp_path)
    (tmp_path / "file").write_text("")
    assert "file is a file" in refuses(*pick, "1.post/3", "--sae", sae, "--out", tmp_path / "file" / "x.json")
    assert "file is a file" in refuses("features", "verify", "m", "f.json", "--out", tmp_path / "file")


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


@pytest.mark.parametrize(
    ("method", "options", "first", "score"),
    [
        ("attribution", ("--n", 12), 7, "estimated to give the refusal's first token"),
        ("contrast", ("--n", 12), 7, "mean on harmful less that on harmless"),
        ("cosine", (), 3, "the cosine of their decoder rows"),
        ("one-prompt", ("--n", 12, "--value", 2), 3, "rise of refusals under attack when clamped"),
    ],
)
def test_each_method_finds_the_planted_latent(demur, planted, planted_sae, tmp_path, method, options, first, score):
    path = tmp_path / "features.json"
    said = demur("features", "find", "mock", "--sae", planted_sae, "--method", method, "--k", 2, *options,
                 "--out", path)  # fmt: skip
    assert (said.status, said.err) == (0, ""), said
    found = load_features(path)
    assert found.features[0].index == first
    assert found.features[0].score > 0.4
    assert found.origin["norms"]["3.post"] > 0
    assert score in said.out and f"Prove them: demur features verify mock {path}" in said.out
    assert ("trying directions" in said.phases) == (method in ("attribution", "cosine"))


def test_verify_proves_a_planted_latent_and_writes_its_figures(demur, planted, planted_sae, tmp_path):
    path, out = tmp_path / "one.json", tmp_path / "proof"
    assert demur("features", "pick", "mock", "3.post/7", "--sae", planted_sae, "--out", path).status == 0
    said = demur("features", "verify", "mock", path, "--n", 4, "--randoms", 1, "--items", 4, "--max-new-tokens", 20,
                 "--out", out)  # fmt: skip
    assert (said.status, said.err) == (0, ""), said
    results = read_results(out)
    done = find(results.figures, "suppress", "harmful", "compliance_rate", "unsteered")
    assert (done.value, done.n) == (1.0, 4)
    assert find(results.figures, "random suppress", "harmful", "compliance_rate", "unsteered").value == 0.0
    assert find(results.figures, "suppress", "capability", "accuracy").n == 4
    assert results.spec["config"]["proof"] == {"n": 4, "randoms": 1, "items": 4}
    assert results.spec["features"] == [["3.post", 7]]
    assert "features suppressed" in said.out and "random features suppressed" in said.out
    assert "Suppressed (0 times), 1 latents change compliance" in said.out
    assert f"Report: {out / 'report.html'}" in said.out


def test_an_sae_is_trained_checked_and_converted(demur, model, weights, tmp_path):
    pytest.importorskip("sae_lens")
    text = tmp_path / "text.txt"
    text.write_text("How do I bake bread? Write a short poem. What is the capital of France? " * 200)
    said = demur("sae", "train", model, "--site", "1.post", "--out", tmp_path / "saes", "--text", text, "--d-sae", 48,
                 "--k", 4, "--tokens", 2048, "--batch", 64, "--dtype", "fp32")  # fmt: skip
    assert said.status == 0, said
    assert re.search(
        r"2,048 of [\d,]+ tokens are read: about \d+ s here. Training on 2,048 tokens: about \d+ s\.", said.out
    )
    assert said.phases[1:] == ["collecting activations", "training 1.post"] and said.err == ""
    folder = tmp_path / "saes" / "1.post"
    assert (load_sae(folder).kind, load_sae(folder).d_sae) == ("jumprelu", 48)
    assert load_sae(folder).metadata["demur_weights"] == weights
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


def test_what_an_sae_needs_is_checked_before_anything_is_computed(refuses, demur, model, tmp_path, monkeypatch):
    pytest.importorskip("sae_lens")
    monkeypatch.setattr("demur.sae_training.data.passages", None)
    train = ("sae", "train", model, "--out", tmp_path / "saes", "--dtype", "fp32")
    line = refuses(*train, "--site", "7.post", "--chats", "plain")
    assert "has no layer 7; known: 0 to 2" in line
    assert "no text file at none.txt" in refuses(*train, "--site", "1.post", "--text", "none.txt")
    line = refuses(*train, "--site", "1.post", "--chats", "plane")
    assert "Did you mean 'plain'?" in line
    assert "there is nothing to read" in refuses(*train, "--site", "1.post")
    (tmp_path / "file").write_text("")
    taken = ("sae", "train", model, "--out", tmp_path / "file", "--site", "1.post", "--chats", "plain")
    assert "file is a file; give a folder" in refuses(*taken)
    monkeypatch.setattr("demur.cli.sae.find_spec", lambda _: None)
    said = demur(*train, "--site", "1.post", "--chats", "plain")
    assert said.status == 1
    assert said.err == "error: training an SAE needs sae-lens; install it with: pip install 'demur[train]'.\n"
    assert said.phases == []
    assert not (tmp_path / "saes").exists()
