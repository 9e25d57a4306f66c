import json
import subprocess
import sys

import pytest
import torch
from safetensors.torch import load_file, save_file

from demur.errors import BadFile, BadVector, OutOfRoom, UnknownName
from demur.saes import encode, load_sae, save_sae
from demur.saes.sae import NEEDS, NORMALISATIONS
from demur.types import Site

KINDS = list(NEEDS)
NAMES = {"relu": "standard", "topk": "topk", "jumprelu": "jumprelu", "gated": "gated"}


@pytest.fixture
def folder(tmp_path, weights):
    """folder(kind, **changes to cfg.json) -> a folder in version 6's layout; None removes a key."""

    def make(kind="relu", tensors=None, **changes):
        config = {"d_in": 8, "d_sae": 24, "dtype": "float32", "device": "cpu", "apply_b_dec_to_input": True}
        config |= {"normalize_activations": "none", "reshape_activations": "none", "architecture": NAMES[kind]}
        config["metadata"] = {"sae_lens_version": "6.1.0", "model_name": "m", "hook_name": "blocks.5.hook_resid_post"}
        if kind == "topk":
            config |= {"k": 5, "rescale_acts_by_decoder_norm": False}
        config = {key: value for key, value in {**config, **changes}.items() if value is not None}
        (tmp_path / "cfg.json").write_text(json.dumps(config))
        save_file(tensors or weights(kind), tmp_path / "sae_weights.safetensors")
        return tmp_path

    return make


def cfg(path):
    return json.loads((path / "cfg.json").read_text())


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("kind", KINDS)
def test_a_round_trip_is_exact(sae, tmp_path, kind, dtype):
    made = sae(kind, normalisation="layer_norm").to(dtype=dtype)
    loaded = load_sae(save_sae(made, tmp_path / "new" / "sae"))
    assert {name: tensor.dtype for name, tensor in loaded.weights.items()} == dict.fromkeys(NEEDS[kind], dtype)
    assert all(loaded.weights[name].equal(made.weights[name]) for name in NEEDS[kind])
    same = ("kind", "site", "k", "apply_b_dec_to_input", "normalisation", "rescale_acts_by_decoder_norm", "metadata")
    assert [getattr(loaded, name) for name in same] == [getattr(made, name) for name in same]
    assert loaded.sha256 == made.sha256
    assert loaded.source == str(tmp_path / "new" / "sae")


@pytest.mark.parametrize("normalisation", NORMALISATIONS)
@pytest.mark.parametrize("kind", KINDS)
def test_what_sae_lens_wrote_comes_back_to_the_letter(saelens, weights, tmp_path, kind, normalisation):
    name = {"relu": "Standard", "topk": "TopK", "jumprelu": "JumpReLU", "gated": "Gated"}[kind]
    metadata = saelens.saes.sae.SAEMetadata(model_name="m", hook_name="blocks.18.hook_resid_pre", context_size=64)
    more = {"k": 5, "rescale_acts_by_decoder_norm": True} if kind == "topk" else {}
    config = getattr(saelens, f"{name}SAEConfig")(
        d_in=8, d_sae=24, metadata=metadata, normalize_activations=normalisation, **more
    )
    theirs = getattr(saelens, f"{name}SAE")(config)
    theirs.load_state_dict(weights(kind))
    theirs.save_model(tmp_path / "theirs")
    save_sae(load_sae(tmp_path / "theirs"), tmp_path / "ours")
    assert cfg(tmp_path / "ours") == cfg(tmp_path / "theirs")
    before, after = (load_file(tmp_path / who / "sae_weights.safetensors") for who in ("theirs", "ours"))
    assert before.keys() == after.keys()
    assert all(before[key].equal(after[key]) for key in before)


def test_a_tied_encoder_can_be_written(sae, weights, tmp_path):
    tied = weights("relu")
    tied["W_enc"] = tied["W_dec"].T
    assert load_sae(save_sae(sae(weights=tied), tmp_path)).weights["W_enc"].equal(tied["W_dec"].T)


def test_an_sae_of_another_format_is_written_with_its_hook_and_a_version(sae, tmp_path):
    metadata = {"model_name": "m", "hf_hook_name": "layers.5", "sae_lens_version": "3.2.0"}
    written = cfg(save_sae(sae(metadata=metadata), tmp_path))["metadata"]
    assert written["hook_name"] == "blocks.5.hook_resid_post"
    assert written["sae_lens_version"] == "6.0.0"


@pytest.mark.parametrize(
    ("hook", "site"),
    [
        ("blocks.18.hook_resid_pre", Site(18, "pre")),
        ("blocks.5.hook_resid_post", Site(5, "post")),
        ("blocks.0.hook_mlp_out", Site(0, "mlp_out")),
        ("blocks.7.hook_attn_out", Site(7, "attn_out")),
        ("blocks.7.hook_resid_mid", Site(7, "mid")),
        ("model.layers.12", Site(12, "post")),
    ],
)
@pytest.mark.parametrize("layout", ["flat", "flat-older", "6"])
def test_the_hook_is_this_site_in_every_layout(folder, hook, site, layout):
    changes = {
        "flat": {"metadata": None, "hook_name": hook, "hook_layer": 99, "sae_lens_version": "5.3.0"},
        "flat-older": {"metadata": None, "hook_point": hook, "hook_point_layer": 99},
        "6": {"metadata": {"hook_name": hook, "sae_lens_version": "6.2.1"}},
    }[layout]
    assert load_sae(folder(**changes)).site == site


def test_a_flat_config_gives_its_model_and_data_but_not_its_training_run(folder):
    changes = {"metadata": None, "hook_point": "blocks.2.hook_resid_pre", "model_name": "gpt2-small"}
    loaded = load_sae(folder(**changes, context_size=128, lr=4e-4, wandb_project="x", architecture=None))
    expected = {"model_name": "gpt2-small", "hook_name": "blocks.2.hook_resid_pre"}
    assert loaded.metadata == {**expected, "context_size": 128, "prepend_bos": True}
    assert (loaded.kind, loaded.apply_b_dec_to_input) == ("relu", True)


def test_a_flat_topk_config_has_its_k_in_the_activations_arguments(folder, weights):
    flat = {"metadata": None, "hook_point": "blocks.2.hook_resid_pre", "activation_fn_str": "topk"}
    loaded = load_sae(folder(tensors=weights("topk"), **flat, activation_fn_kwargs={"k": 7}))
    assert (loaded.kind, loaded.k) == ("topk", 7)


def test_a_batch_topk_checkpoint_is_jumprelu_with_its_threshold(folder, weights, x):
    tensors = {**weights("relu"), "topk_threshold": torch.tensor(0.75, dtype=torch.double)}
    loaded = load_sae(folder(tensors=tensors, architecture="batchtopk", k=3.5))
    assert (loaded.kind, loaded.k) == ("jumprelu", 0)
    assert loaded.weights["threshold"].equal(torch.full((24,), 0.75))
    alone = torch.stack([encode(loaded, token) for token in x(5)])
    torch.testing.assert_close(encode(loaded, x(5)), alone)


def test_an_older_training_checkpoint_keeps_the_log_of_its_threshold(folder, weights):
    tensors = weights("jumprelu")
    logs = {**{k: v for k, v in tensors.items() if k != "threshold"}, "log_threshold": tensors["threshold"].log()}
    torch.testing.assert_close(load_sae(folder("jumprelu", logs)).weights["threshold"], tensors["threshold"])


def test_a_scale_that_no_file_holds_must_be_given(folder, weights):
    path = folder(normalize_activations="expected_average_only_in")
    with pytest.raises(
        BadFile, match=r"'expected_average_only_in', whose scale no file holds; give load_sae\(\.\.\., sc"
    ):
        load_sae(path)
    assert load_sae(path, scale=1.0).weights["W_enc"].equal(weights("relu")["W_enc"])
    torch.testing.assert_close(load_sae(path, scale=2.0).weights["W_dec"], weights("relu")["W_dec"] / 2)
    assert load_sae(path, scale=2.0).source == ""
    assert load_sae(folder(normalize_activations=None, metadata=cfg(path)["metadata"])).normalisation == "none"


REFUSED = [
    ({"architecture": "temporal"}, UnknownName, r"architecture 'temporal'; known: standard, topk"),
    ({"architecture": "transcoder", "d_out": 8}, BadFile, "of a transcoder"),
    ({"architecture": "jumprelu_skip_transcoder"}, BadFile, "of a transcoder"),
    ({"d_out": 8}, BadFile, r"of a transcoder \(standard, d_out 8\)"),
    ({"activation_fn_str": "tanh-relu"}, UnknownName, r"activation 'tanh-relu'; known: relu, topk"),
    ({"normalize_activations": "covariance_whitening"}, UnknownName, "'covariance_whitening'; known: none, constant"),
    ({"metadata": {"sae_lens_version": "6.1.0"}}, BadFile, r"has no hook_name; add metadata.hook_name"),
    ({"metadata": {"hook_name": "blocks.3.attn.hook_z"}}, UnknownName, r"'blocks.3.attn.hook_z' is no site"),
    ({"metadata": {"hook_name": "blocks.3.hook_attn_out", "hook_head_index": 4}}, BadFile, "attention head 4 alone"),
    ({"d_in": 16}, BadFile, r"cfg.json has d_in 16, the weights 8"),
    ({"d_sae": 48}, BadFile, r"cfg.json has d_sae 48, the weights 24"),
]


@pytest.mark.parametrize(("changes", "kind", "message"), REFUSED)
def test_what_demur_cannot_run_is_refused_with_the_value_and_a_fix(folder, changes, kind, message):
    with pytest.raises(kind, match=message) as caught:
        load_sae(folder(**changes))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("k", [None, "5", True, 2.5])
def test_a_topk_config_needs_a_whole_k(folder, k):
    with pytest.raises(BadFile, match=rf"cfg.json has k {k!r}; it is of type int"):
        load_sae(folder("topk", k=k))


def test_bad_weights_are_refused_with_the_folder(folder, weights):
    tensors = weights("relu")
    tensors["W_dec"][3, 1] = float("nan")
    with pytest.raises(BadVector, match=r".*: 1 of 192 entries of W_dec are NaN"):
        load_sae(folder(tensors=tensors))
    with pytest.raises(BadVector, match=r"W_dec has shape \[24, 9\].*a transcoder"):
        load_sae(folder(tensors={**weights("relu"), "W_dec": torch.ones(24, 9)}))
    with pytest.raises(BadFile, match=r"has no tensor 'b_enc'; it has W_dec"):
        load_sae(folder(tensors={k: v for k, v in weights("relu").items() if k != "b_enc"}))
    with pytest.raises(BadFile, match="W_skip: a transcoder"):
        load_sae(folder(tensors={**weights("relu"), "W_skip": torch.ones(8, 8)}))
    with pytest.raises(BadFile, match="scaling_factor that is not 1"):
        load_sae(folder(tensors={**weights("relu"), "scaling_factor": torch.full((24,), 2.0)}))
    assert load_sae(folder(tensors={**weights("relu"), "scaling_factor": torch.ones(24)})).kind == "relu"


@pytest.mark.parametrize("text", ["", "[]", "{", "\xff", '"cfg"'])
def test_a_config_that_is_no_object_is_refused(folder, text):
    path = folder()
    (path / "cfg.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(BadFile, match=r"cfg.json (is not readable JSON|holds a JSON \w+, not an object)"):
        load_sae(path)


@pytest.mark.parametrize("length", [0, 7, 100, 1000])
def test_truncated_weights_are_refused(folder, length):
    path = folder() / "sae_weights.safetensors"
    path.write_bytes(path.read_bytes()[:length])
    with pytest.raises(BadFile, match="is not a readable safetensors file"):
        load_sae(path.parent)


def test_a_change_after_writing_is_noticed(sae, tmp_path):
    save_sae(sae("topk"), tmp_path)
    weights = tmp_path / "sae_weights.safetensors"
    whole = weights.read_bytes()
    weights.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    with pytest.raises(BadFile, match=r"does not match the sha256 it was written with"):
        load_sae(tmp_path)
    weights.write_bytes(whole)
    (tmp_path / "cfg.json").write_text(json.dumps({**cfg(tmp_path), "k": 4}))
    with pytest.raises(BadFile, match=r"does not match the sha256"):
        load_sae(tmp_path)


def test_a_full_disk_leaves_what_was_there(sae, tmp_path, monkeypatch):
    save_sae(sae("relu"), tmp_path)

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.replace", full)
    with pytest.raises(OutOfRoom, match="no room to write"):
        save_sae(sae("relu", seed=1), tmp_path)
    monkeypatch.undo()
    assert load_sae(tmp_path).sha256 == sae("relu").sha256
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cfg.json", "sae_weights.safetensors"]


@pytest.mark.parametrize("old", ['"tiny"', "hook_resid_post", "6.54.12"])
def test_metadata_that_was_changed_is_found(sae, tmp_path, old):
    path = save_sae(sae("relu"), tmp_path) / "cfg.json"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, '"other"' if old == '"tiny"' else "hook_mlp_out" if "hook" in old else "6.55.0"))
    with pytest.raises(BadFile, match="does not match the sha256 it was written with: a file was changed"):
        load_sae(tmp_path)


FULL = """
import resource, sys
from demur.errors import OutOfRoom
from demur.saes import load_sae, save_sae
sae = load_sae(sys.argv[1])
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[3]), int(sys.argv[3])))
try:
    save_sae(sae, sys.argv[2])
except OutOfRoom as error:
    print(error)
"""


@pytest.mark.parametrize("most", [100, 1000])
def test_a_full_disk_leaves_the_sae_that_stood_there_whole(sae, tmp_path, most):
    first, second = sae("relu"), sae("relu", 1)
    save_sae(first, tmp_path / "there")
    save_sae(second, tmp_path / "other")
    command = [sys.executable, "-c", FULL, str(tmp_path / "other"), str(tmp_path / "there"), str(most)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.stderr == "" and done.stdout.startswith("no room to write ")
    assert load_sae(tmp_path / "there").sha256 == first.sha256
    assert sorted(file.name for file in (tmp_path / "there").iterdir()) == ["cfg.json", "sae_weights.safetensors"]
