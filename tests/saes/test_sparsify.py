import json

import pytest
import torch
from safetensors.torch import save_file

from demur.errors import BadFile, BadVector, UnknownName
from demur.saes import decode, encode, load_sae
from demur.types import Site


@pytest.fixture
def folder(tmp_path, weights):
    """folder(hookpoint, tensors=, **changes to cfg.json), config.json beside it, as sparsify's trainer saves them."""

    def make(name="layers.12", tensors=None, run=True, **changes):
        path = tmp_path / name
        path.mkdir(exist_ok=True)
        config = {"activation": "topk", "expansion_factor": 3, "normalize_decoder": True, "num_latents": 24, "k": 5}
        config |= {"multi_topk": False, "skip_connection": False, "transcode": False, "d_in": 8}
        (path / "cfg.json").write_text(json.dumps({**config, **changes}))
        w = weights("topk")
        names = {"encoder.weight": w["W_enc"].T.contiguous(), "encoder.bias": w["b_enc"]}
        save_file({**names, "W_dec": w["W_dec"], "b_dec": w["b_dec"], **(tensors or {})}, path / "sae.safetensors")
        if run:
            beside = {"model": "EleutherAI/pythia-70m", "ctx_len": 2048, "dataset": "pile", "hookpoints": [name]}
            (tmp_path / "config.json").write_text(json.dumps(beside))
        return path

    return make


@pytest.mark.parametrize("unit", [True, False])
def test_the_numbers_are_sparsifys(folder, weights, x, unit):
    """The bias comes off whatever normalize_decoder says: that is about training."""
    loaded, w = load_sae(folder(normalize_decoder=unit)), weights("topk")
    before = (x(6) - w["b_dec"]) @ w["W_enc"] + w["b_enc"]
    top = before.relu().topk(5)
    f = torch.zeros(6, 24).scatter(-1, top.indices, top.values)
    torch.testing.assert_close(encode(loaded, x(6)), f)
    torch.testing.assert_close(decode(loaded, f), f @ w["W_dec"] + w["b_dec"])
    assert (loaded.kind, loaded.k) == ("topk", 5)


@pytest.mark.parametrize(
    ("name", "site"),
    [
        ("layers.12", Site(12, "post")),
        ("layers.0", Site(0, "post")),
        ("layers.3.mlp", Site(3, "mlp_out")),
        ("layers.3.attention", Site(3, "attn_out")),
        ("h.7", Site(7, "post")),
    ],
)
def test_the_folders_name_is_the_module_whose_output_it_reads(folder, name, site):
    assert load_sae(folder(name)).site == site


def test_the_model_is_named_in_the_config_beside_it(folder):
    metadata = {"model_name": "EleutherAI/pythia-70m", "context_size": 2048, "dataset_path": "pile"}
    assert load_sae(folder()).metadata == {**metadata, "hf_hook_name": "layers.12"}


def test_without_that_config_the_model_is_unknown(folder):
    assert load_sae(folder(run=False)).model == ""


@pytest.mark.parametrize(
    ("changes", "kind", "message"),
    [
        ({"transcode": True}, BadFile, "has transcode: not a plain SAE"),
        ({"skip_connection": True}, BadFile, "has skip_connection"),
        ({"activation": "groupmax"}, UnknownName, "activation 'groupmax'; known: topk"),
        ({"signed": True}, UnknownName, "activation 'signed topk'"),
        ({"k": None}, BadFile, "has k None"),
        ({"d_in": 9}, BadFile, "has d_in 9, the weights 8"),
        ({"name": "embed_tokens"}, UnknownName, "'embed_tokens' is no site"),
        ({"tensors": {"W_skip": torch.ones(8, 8)}}, BadFile, "W_skip: a transcoder"),
        ({"tensors": {"W_dec": torch.ones(8, 24)}}, BadVector, "W_dec has shape"),
    ],
)
def test_what_demur_cannot_run_is_refused(folder, changes, kind, message):
    with pytest.raises(kind, match=message):
        load_sae(folder(**changes))
