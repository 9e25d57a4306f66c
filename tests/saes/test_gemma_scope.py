import json

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from demur.errors import BadFile, BadVector, UnknownName
from demur.saes import encode, load_sae
from demur.types import Site

RES = "google/gemma-scope-2b-pt-res/layer_20/width_16k/average_l0_71"
HEADS = "model.layers.17.self_attn.o_proj.input"
CACHED = "models--google--gemma-scope-9b-it-res/snapshots/0a1b/layer_31/width_16k/average_l0_76"


@pytest.fixture
def npz(tmp_path, weights):
    """npz(folder, **arrays changed) -> the folder, with params.npz as Google publishes it."""

    def make(name=RES, **changes):
        folder = tmp_path / name
        folder.mkdir(parents=True)
        arrays = {key: value.numpy() for key, value in weights("jumprelu").items()}
        np.savez(folder / "params.npz", **{**arrays, **changes})
        return folder

    return make


@pytest.mark.parametrize(
    ("name", "site", "model"),
    [
        (RES, Site(20, "post"), "google/gemma-2-2b"),
        (CACHED, Site(31, "post"), "google/gemma-2-9b-it"),
        ("gemma-scope-2b-pt-mlp/layer_3/width_16k/average_l0_71", Site(3, "mlp_out"), "google/gemma-2-2b"),
        ("copy/layer_20/width_16k/average_l0_71", Site(20, "post"), ""),
        ("layer_3/of/mine/layer_20/width_16k/average_l0_71", Site(20, "post"), ""),
        ("layer_0/width_65k/canonical", Site(0, "post"), ""),
    ],
)
def test_the_folders_name_is_the_site(npz, name, site, model):
    loaded = load_sae(npz(name))
    assert (loaded.site, loaded.model) == (site, model)


def test_the_weights_are_the_arrays_and_the_bias_stays_on_the_stream(npz, weights, x):
    loaded, tensors = load_sae(npz()), weights("jumprelu")
    assert loaded.kind == "jumprelu"
    assert not loaded.apply_b_dec_to_input
    assert all(loaded.weights[name].equal(tensor) for name, tensor in tensors.items())
    before = x(4) @ tensors["W_enc"] + tensors["b_enc"]
    torch.testing.assert_close(encode(loaded, x(4)), before.relu() * (before > tensors["threshold"]))
    assert (loaded.metadata["prepend_bos"], loaded.metadata["context_size"]) == (True, 1024)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("gemma-scope-2b-pt-att/layer_3/width_16k/average_l0_71", r"Gemma Scope's 'att', no site; known: res, mlp"),
        ("gemma-scope-2b-pt-transcoders/layer_3/width_16k/average_l0_76", r"Gemma Scope's 'transcoders'"),
        ("gemma-scope-2b-pt-res/embedding/width_4k/average_l0_6", "does not say its layer; keep Gemma Scope's folders"),
    ],
)
def test_what_is_no_site_of_the_stream_is_refused(npz, name, message):
    with pytest.raises(BadFile, match=message):
        load_sae(npz(name))


def test_pickled_arrays_are_not_opened(npz):
    with pytest.raises(BadFile, match="not a readable npz of plain arrays: Object arrays cannot be loaded"):
        load_sae(npz(b_enc=np.array([{"a": 1}], dtype=object)))


@pytest.mark.parametrize("content", [b"", b"no zip at all", b"PK\x03\x04 cut"])
def test_bytes_that_are_no_npz_are_refused(npz, content):
    folder = npz()
    (folder / "params.npz").write_bytes(content)
    with pytest.raises(BadFile, match="not a readable npz"):
        load_sae(folder)


def test_bad_arrays_are_refused(npz):
    with pytest.raises(BadVector, match="W_dec has shape"):
        load_sae(npz("a/layer_1", W_dec=np.ones((8, 24), np.float32)))
    with pytest.raises(BadVector, match="24 of 24 entries of threshold are NaN"):
        load_sae(npz("b/layer_1", threshold=np.full(24, np.nan, np.float32)))


@pytest.fixture
def second(tmp_path, weights):
    """second(**changes to config.json) -> a folder of Gemma Scope 2."""

    def make(**changes):
        config = {"hf_hook_point_in": "model.layers.17.output", "hf_hook_point_out": "model.layers.17.output"}
        config |= {"model_name": "google/gemma-3-4b-pt", "architecture": "jump_relu", "type": "sae"}
        (tmp_path / "config.json").write_text(json.dumps({**config, **changes}))
        tensors = {key.lower(): value for key, value in weights("jumprelu").items()}
        save_file(tensors, tmp_path / "params.safetensors")
        return tmp_path

    return make


def test_the_second_release_names_its_hook(second, weights):
    loaded = load_sae(second())
    assert (loaded.site, loaded.model) == (Site(17, "post"), "google/gemma-3-4b-pt")
    assert loaded.weights["W_enc"].equal(weights("jumprelu")["W_enc"])
    mlp = "model.layers.17.post_feedforward_layernorm.output"
    assert load_sae(second(hf_hook_point_in=mlp, hf_hook_point_out=mlp)).site == Site(17, "mlp_out")


@pytest.mark.parametrize(
    ("changes", "kind", "message"),
    [
        ({"type": "transcoder"}, BadFile, "is of a transcoder"),
        ({"type": "crosscoder"}, BadFile, "is of a crosscoder"),
        ({"hf_hook_point_out": "model.layers.18.output"}, BadFile, "a transcoder"),
        ({"architecture": "topk"}, BadFile, "architecture 'topk'"),
        ({"hf_hook_point_in": HEADS, "hf_hook_point_out": HEADS}, UnknownName, "o_proj.input' is no site"),
    ],
)
def test_what_the_second_release_has_beside_saes_is_refused(second, changes, kind, message):
    with pytest.raises(kind, match=message):
        load_sae(second(**changes))
