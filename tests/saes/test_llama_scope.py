"""Against OpenMOSS' loading written out here: weights standardised for the raw stream, decoder rows made units."""

import importlib
import json

import pytest
import torch
from safetensors.torch import save_file

from demur.errors import BadFile, BadVector, UnknownName
from demur.saes import decode, encode, load_sae
from demur.types import Site

NORM, THRESHOLD = 6.3125, 0.2021484375
NAME = "fnlp/Llama3_1-8B-Base-LXR-8x/Llama3_1-8B-Base-L15R-8x"


@pytest.fixture
def folder(tmp_path, weights):
    """folder(name, tensors=, **changes to hyperparams.json) as fnlp publishes it."""

    def make(name=NAME, tensors=None, config="hyperparams.json", file="checkpoints/final.safetensors", **changes):
        path = tmp_path / name
        (path / file).parent.mkdir(parents=True, exist_ok=True)
        settings = {
            "d_model": 8, "d_sae": 24, "expansion_factor": 3, "dtype": "torch.bfloat16", "act_fn": "jumprelu",
            "hook_point_in": "blocks.15.hook_resid_post", "hook_point_out": "blocks.15.hook_resid_post",
            "jump_relu_threshold": THRESHOLD, "norm_activation": "dataset-wise", "top_k": 5, "use_decoder_bias": True,
            "dataset_average_activation_norm": {"in": NORM, "out": NORM}, "use_glu_encoder": False,
            "apply_decoder_bias_to_pre_encoder": False, "sparsity_include_decoder_norm": True,
        }  # fmt: skip
        (path / config).write_text(json.dumps({k: v for k, v in {**settings, **changes}.items() if v is not None}))
        save_file(tensors or stored(weights), path / file)
        return path

    return make


def stored(weights):
    w = weights("relu")
    names = {"encoder.weight": w["W_enc"].T, "decoder.weight": 0.3 * w["W_dec"].T}
    return {k: v.contiguous() for k, v in {**names, "encoder.bias": w["b_enc"], "decoder.bias": w["b_dec"]}.items()}


def openmoss(state, stream, mask, scale=8**0.5 / NORM):
    """(unit-decoder latents, reconstruction) of the raw stream: its loader, then its encode and decode."""
    norms = state["decoder.weight"].norm(dim=0)
    before = (stream @ state["encoder.weight"].T + state["encoder.bias"] / scale) * norms
    f = before.relu() * mask(before)
    return f, f @ (state["decoder.weight"] / norms).T + state["decoder.bias"] / scale, norms, scale


def test_a_jumprelu_file_keeps_and_reconstructs_what_openmoss_does(folder, weights, x):
    loaded = load_sae(folder())
    f, out, norms, scale = openmoss(stored(weights), x(40), lambda p: p > THRESHOLD)
    assert loaded.kind == "jumprelu"
    assert encode(loaded, x(40)).gt(0).equal(f.gt(0))
    assert 0 < f.gt(0).float().mean() < 0.5
    torch.testing.assert_close(encode(loaded, x(40)), f * scale / norms)
    torch.testing.assert_close(decode(loaded, encode(loaded, x(40))), out)


def test_latents_are_in_the_units_that_sae_lens_uses(folder, weights, x):
    """W_enc * scale, W_dec and b_dec / scale, and where decoder norms do not count its threshold * scale."""
    loaded = load_sae(folder(sparsity_include_decoder_norm=False))
    state, scale = stored(weights), 8**0.5 / NORM
    torch.testing.assert_close(loaded.weights["W_enc"], state["encoder.weight"].T * scale)
    torch.testing.assert_close(loaded.weights["W_dec"], state["decoder.weight"].T / scale)
    torch.testing.assert_close(loaded.weights["b_dec"], state["decoder.bias"] / scale)
    torch.testing.assert_close(loaded.weights["threshold"], torch.full((24,), THRESHOLD * scale))


def test_sae_lens_loader_gives_the_same_where_decoder_norms_do_not_count(saelens, folder, x, monkeypatch):
    path = folder(sparsity_include_decoder_norm=False)
    loaders = importlib.import_module("sae_lens.loading.pretrained_sae_loaders")

    def local(repo_id, filename, subfolder="", **_):
        return str(path.parent / subfolder / filename)

    monkeypatch.setattr(loaders, "hf_hub_download", local)
    load = loaders.llama_scope_sae_huggingface_loader
    config, state, _ = load("fnlp/any", path.name, cfg_overrides={"dtype": "float32"})
    theirs = saelens.JumpReLUSAE(saelens.JumpReLUSAEConfig(8, 24, apply_b_dec_to_input=config["apply_b_dec_to_input"]))
    theirs.load_state_dict(state)
    theirs.fold_activation_norm_scaling_factor(8**0.5 / NORM)
    f = encode(load_sae(path), x(20))
    torch.testing.assert_close(f, theirs.encode(x(20)).detach())
    torch.testing.assert_close(decode(load_sae(path), f), theirs(x(20)).detach())


def test_a_topk_file_chooses_by_decoder_norm(folder, weights, x):
    loaded = load_sae(folder(act_fn="topk", jump_relu_threshold=0.0))
    f, out, _, _ = openmoss(stored(weights), x(40), lambda p: p >= p.topk(5, dim=-1).values[:, -1:])
    assert (loaded.kind, loaded.k, loaded.rescale_acts_by_decoder_norm) == ("topk", 5, True)
    torch.testing.assert_close(encode(loaded, x(40)), f)
    torch.testing.assert_close(decode(loaded, encode(loaded, x(40))), out)


def test_a_topk_file_with_a_threshold_is_jumprelu(folder):
    assert load_sae(folder(act_fn="topk")).sha256 == load_sae(folder(act_fn="jumprelu")).sha256


def test_bf16_weights_are_scaled_in_float32(folder, weights):
    half = {name: tensor.bfloat16() for name, tensor in stored(weights).items()}
    loaded = load_sae(folder(tensors=half))
    assert loaded.weights["W_enc"].dtype == torch.float32
    torch.testing.assert_close(loaded.weights["W_enc"], half["encoder.weight"].float().T * (8**0.5 / NORM))


@pytest.mark.parametrize(
    ("hook", "name", "site"),
    [
        ("blocks.15.hook_resid_post", NAME, Site(15, "post")),
        ("blocks.15.hook_mlp_out", "Llama3_1-8B-Base-L15M-8x", Site(15, "mlp_out")),
        ("blocks.0.hook_attn_out", "Llama3_1-8B-Base-L0A-32x", Site(0, "attn_out")),
        ("blocks.15.hook_resid_post", "L15R-8x", Site(15, "post")),
        ("blocks.3.hook_resid_post", "renamed", Site(3, "post")),
    ],
)
def test_the_hook_is_the_site_and_agrees_with_the_folder(folder, hook, name, site):
    assert load_sae(folder(name, hook_point_in=hook, hook_point_out=hook)).site == site


def test_the_model_is_known_from_the_path_alone(folder):
    assert load_sae(folder()).model == "meta-llama/Llama-3.1-8B"
    assert load_sae(folder("L15R-8x")).model == ""


def test_the_r1_release_has_a_threshold_for_each_latent_on_the_scaled_stream(folder, weights, x):
    logs = torch.linspace(-2, 0, 24)
    norm = {"dataset_average_activation_norm.blocks.15.hook_resid_post": torch.tensor(NORM)}
    changes = {"dataset_average_activation_norm": None, "jump_relu_threshold": None}
    path = folder("Llama-Scope-R1-Distill/L15R", {**stored(weights), "log_jumprelu_threshold": logs, **norm},
                  "config.json", "sae_weights.safetensors", **changes)  # fmt: skip
    loaded = load_sae(path)
    f, out, _, _ = openmoss(stored(weights), x(40), lambda p: p * (8**0.5 / NORM) > logs.exp())
    assert encode(loaded, x(40)).gt(0).equal(f.gt(0))
    torch.testing.assert_close(decode(loaded, encode(loaded, x(40))), out)
    assert (loaded.site, loaded.model) == (Site(15, "post"), "deepseek-ai/DeepSeek-R1-Distill-Llama-8B")


REFUSED = [
    ({"hook_point_out": "blocks.15.hook_mlp_out"}, BadFile, "a transcoder; give an SAE"),
    ({"hook_point_in": "blocks.14.hook_resid_post", "hook_point_out": "blocks.14.hook_resid_post"}, BadFile,
     r"is of blocks.14.hook_resid_post, the folder Llama3_1-8B-Base-L15R-8x of 15.post"),
    ({"hook_point_in": None}, BadFile, "has hook_point_in None"),
    ({"act_fn": "gelu"}, UnknownName, "act_fn 'gelu'; known: relu, topk, jumprelu"),
    ({"norm_activation": "batch-wise"}, UnknownName, "norm_activation 'batch-wise'; known: dataset-wise"),
    ({"dataset_average_activation_norm": None}, BadFile, "scaled dataset-wise, but its dataset_average"),
    ({"dataset_average_activation_norm": {"in": 0.0}}, BadFile, "scaled dataset-wise, but its dataset_average"),
    ({"use_glu_encoder": True}, BadFile, "use_glu_encoder"),
    ({"jump_relu_threshold": None}, BadFile, "has jump_relu_threshold None"),
]  # fmt: skip


@pytest.mark.parametrize(("changes", "kind", "message"), REFUSED)
def test_what_demur_cannot_run_is_refused(folder, changes, kind, message):
    with pytest.raises(kind, match=message):
        load_sae(folder(**changes))


def test_bad_weights_are_refused(folder, weights):
    with pytest.raises(BadVector, match=r"W_dec has shape \[9, 8\]"):
        load_sae(folder(tensors={**stored(weights), "decoder.weight": torch.ones(8, 9)}, act_fn="relu"))
    bad = stored(weights)
    bad["encoder.weight"][0, 0] = float("nan")
    with pytest.raises(BadVector, match="entries of W_enc are NaN"):
        load_sae(folder(tensors=bad))
    with pytest.raises(BadFile, match=r"has no tensor 'encoder.bias'"):
        load_sae(folder(tensors={k: v for k, v in stored(weights).items() if k != "encoder.bias"}))
