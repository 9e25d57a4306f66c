import importlib
import json
import pickle

import pytest
import torch

from demur.errors import BadFile, BadVector, UnknownName
from demur.saes import decode, encode, load_sae
from demur.types import Site


@pytest.fixture
def folder(tmp_path, weights):
    """folder(class, state=, buffer=, **changes to the trainer's config), as its trainers save them."""

    def make(name="AutoEncoderTopK", state=None, buffer=None, **changes):
        trainer = {"dict_class": name, "trainer_class": "T", "activation_dim": 8, "dict_size": 24, "layer": 12, "k": 5}
        trainer |= {"lm_name": "EleutherAI/pythia-70m", "submodule_name": "resid_post_layer_12"}
        config = {"trainer": {**trainer, **changes}, "buffer": {"ctx_len": 128, "io": "out", **(buffer or {})}}
        (tmp_path / "config.json").write_text(json.dumps(config))
        torch.save(state if state is not None else states(weights)[name], tmp_path / "ae.pt")
        return tmp_path

    return make


def states(weights):
    """dict_class -> its state dict, on the same random weights."""
    w, g = weights("jumprelu"), weights("gated")
    linear = {"encoder.weight": w["W_enc"].T, "decoder.weight": w["W_dec"].T}
    biased = {**linear, "encoder.bias": w["b_enc"]}
    one = {"k": torch.tensor(5), "threshold": torch.tensor(0.8)}
    return {
        "AutoEncoder": {**biased, "bias": w["b_dec"]},
        "AutoEncoderNew": {**biased, "decoder.bias": w["b_dec"]},
        "AutoEncoderTopK": {**biased, "b_dec": w["b_dec"], **one},
        "BatchTopKSAE": {**biased, "b_dec": w["b_dec"], **one},
        "MatryoshkaBatchTopKSAE": {**w, **one, "group_sizes": torch.tensor([8, 16])},
        "JumpReluAutoEncoder": dict(w),
        "GatedAutoEncoder": {
            "encoder.weight": g["W_enc"].T,
            "decoder.weight": g["W_dec"].T,
            "decoder_bias": g["b_dec"],
            "r_mag": g["r_mag"],
            "gate_bias": g["b_gate"],
            "mag_bias": g["b_mag"],
        },
    }


def by_class(name, weights, x):
    """Latents as the class computes them."""
    w = weights("gated" if name == "GatedAutoEncoder" else "jumprelu")
    z = x if name in ("AutoEncoderNew", "JumpReluAutoEncoder") else x - w["b_dec"]
    linear = z @ w["W_enc"]
    if name == "GatedAutoEncoder":
        return (w["r_mag"].exp() * linear + w["b_mag"]).relu() * (linear + w["b_gate"] > 0)
    f = (linear + w["b_enc"]).relu()
    if name == "AutoEncoderTopK":
        top = f.topk(5)
        return torch.zeros_like(f).scatter(-1, top.indices, top.values)
    if name == "JumpReluAutoEncoder":
        return f * (f > w["threshold"])
    return f * (f > 0.8) if "BatchTopK" in name else f


CLASSES = {
    "AutoEncoder": "relu",
    "AutoEncoderNew": "relu",
    "AutoEncoderTopK": "topk",
    "BatchTopKSAE": "jumprelu",
    "MatryoshkaBatchTopKSAE": "jumprelu",
    "JumpReluAutoEncoder": "jumprelu",
    "GatedAutoEncoder": "gated",
}


@pytest.mark.parametrize(("name", "kind"), CLASSES.items())
def test_each_class_gives_its_own_numbers(folder, weights, x, name, kind):
    loaded = load_sae(folder(name))
    assert loaded.kind == kind
    f = by_class(name, weights, x(6))
    torch.testing.assert_close(encode(loaded, x(6)), f)
    w = weights("gated" if kind == "gated" else "jumprelu")
    torch.testing.assert_close(decode(loaded, f), f @ w["W_dec"] + w["b_dec"])


@pytest.mark.parametrize("name", [name for name in CLASSES if name != "AutoEncoderNew"])
def test_sae_lens_loader_gives_the_same(saelens, folder, x, monkeypatch, name):
    """But for AutoEncoderNew, which has no bias at the decoder's entry; its loader takes it for AutoEncoder."""
    path = folder(name)
    loaders = importlib.import_module("sae_lens.loading.pretrained_sae_loaders")
    monkeypatch.setattr(loaders, "hf_hub_download", lambda filename, **_: str(path.parent / filename))
    config, state, _ = loaders.dictionary_learning_sae_huggingface_loader_1("any/any", path.name)
    config = loaders.handle_config_defaulting(config)
    kind, settings = saelens.registry.get_sae_class(config["architecture"])
    theirs = kind(settings.from_dict(config))
    theirs.load_state_dict(state)
    f = encode(load_sae(path), x(6))
    torch.testing.assert_close(f, theirs.encode(x(6)).detach())
    torch.testing.assert_close(decode(load_sae(path), f), theirs(x(6)).detach())


@pytest.mark.parametrize(
    ("changes", "site"),
    [
        ({}, Site(12, "post")),
        ({"submodule_name": None}, Site(12, "post")),
        ({"submodule_name": None, "buffer": {"io": "in"}}, Site(12, "pre")),
        ({"submodule_name": "mlp_out_layer_12"}, Site(12, "mlp_out")),
        ({"submodule_name": "gpt_neox.layers.12"}, Site(12, "post")),
        ({"submodule_name": "resid_post_layer_0", "layer": 0}, Site(0, "post")),
    ],
)
def test_the_layer_and_submodule_are_the_site(folder, changes, site):
    loaded = load_sae(folder(**changes))
    assert loaded.site == site
    metadata = {"model_name": "EleutherAI/pythia-70m", "context_size": 128, "dict_class": "AutoEncoderTopK"}
    assert loaded.metadata == metadata


@pytest.mark.parametrize(
    ("changes", "kind", "message"),
    [
        (
            {"name": "CrossCoder", "state": {}},
            UnknownName,
            "no dictionary class named 'CrossCoder'; known: AutoEncoder,",
        ),
        ({"submodule_name": "resid_post_layer_11"}, BadFile, "has layer 12 but submodule_name 'resid_post_layer_11'"),
        ({"submodule_name": "attention_layer_12"}, UnknownName, "is no site"),
        ({"submodule_name": None, "buffer": {"io": "in_and_out"}}, BadFile, "io 'in_and_out': a transcoder"),
        ({"layer": "12"}, BadFile, "has layer '12'; it is of type int"),
        ({"k": None}, BadFile, "has k None"),
        ({"state": {"encoder.weight": torch.ones(3, 2)}}, BadFile, "has no tensor 'decoder.weight'"),
        ({"state": torch.ones(3)}, BadFile, "holds a Tensor, not a state dict"),
    ],
)
def test_what_demur_cannot_run_is_refused(folder, changes, kind, message):
    with pytest.raises(kind, match=message):
        load_sae(folder(**changes))


def test_batch_topk_without_a_measured_threshold_is_refused(folder, weights):
    state = {**states(weights)["BatchTopKSAE"], "threshold": torch.tensor(-1.0)}
    with pytest.raises(BadFile, match="has threshold -1, so none was measured"):
        load_sae(folder("BatchTopKSAE", state))


def test_bad_weights_are_refused(folder, weights):
    state = states(weights)["AutoEncoder"]
    with pytest.raises(BadVector, match="8 of 8 entries of b_dec are NaN"):
        load_sae(folder("AutoEncoder", {**state, "bias": torch.full((8,), float("nan"))}))


class Malicious:
    """Unpickling this would write a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (str(self.path), "w"))


@pytest.mark.parametrize("writer", ["torch.save", "inside a state dict", "bare pickle"])
def test_a_pickle_that_would_run_code_is_refused_and_does_not_run(folder, tmp_path, writer):
    path, trace = folder(), tmp_path / "was-run"
    if writer == "bare pickle":
        (path / "ae.pt").write_bytes(pickle.dumps(Malicious(trace)))
    elif writer == "torch.save":
        torch.save(Malicious(trace), path / "ae.pt")
    else:
        torch.save({"encoder.weight": torch.ones(2), "x": Malicious(trace)}, path / "ae.pt")
    with pytest.raises(BadFile, match=r"ae.pt is damaged, or holds more than tensors \(not run\)") as caught:
        load_sae(path)
    assert not trace.exists()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"no pickle", b"PK\x03\x04 cut", b"\x80\x02."])
def test_bytes_that_are_no_pickle_are_refused(folder, content):
    path = folder()
    (path / "ae.pt").write_bytes(content)
    with pytest.raises(BadFile, match=r"ae.pt is damaged"):
        load_sae(path)
