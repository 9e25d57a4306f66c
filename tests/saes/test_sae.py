import re
from dataclasses import replace

import pytest
import torch
from jaxtyping import TypeCheckError

from demur.errors import BadFile, BadSpec, BadVector
from demur.saes import check_model
from demur.saes.sae import NEEDS, fold_scale
from demur.types import Site

KINDS = list(NEEDS)


@pytest.mark.parametrize("kind", KINDS)
def test_an_sae_knows_its_width_its_latents_and_its_model(sae, kind):
    made = sae(kind)
    assert (made.d_in, made.d_sae, made.model) == (8, 24, "tiny")
    assert sae(kind, metadata={}).model == ""


@pytest.mark.parametrize("kind", KINDS)
def test_every_tensor_must_be_there_and_have_its_shape(sae, weights, kind):
    for name in NEEDS[kind]:
        rest = {key: value for key, value in weights(kind).items() if key != name}
        with pytest.raises(BadVector, match=rf"here: a {kind} SAE has .*{name}"):
            sae(kind, weights=rest, source="here")
        wrong = {**weights(kind), name: torch.ones(3, 5) if name != "W_enc" else torch.ones(3)}
        with pytest.raises(BadVector, match="has shape"):
            sae(kind, weights=wrong)
    with pytest.raises(BadVector, match="this has .*W_skip"):
        sae(kind, weights={**weights(kind), "W_skip": torch.ones(8, 8)})


def test_a_transposed_decoder_and_another_width_are_told_with_both_shapes(sae, weights):
    with pytest.raises(BadVector, match=r"W_dec has shape \[8, 24\]; with W_enc \[8, 24\] it is \[24, 8\]"):
        sae(weights={**weights("relu"), "W_dec": torch.ones(8, 24)})


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
@pytest.mark.parametrize("name", ["W_enc", "W_dec", "b_enc", "b_dec", "threshold"])
def test_nan_and_infinity_are_refused_by_tensor_and_count(sae, weights, name, bad):
    tensors = weights("jumprelu")
    tensors[name].view(-1)[3] = bad
    with pytest.raises(BadVector, match=rf"there: 1 of \d+ entries of {name} are NaN or infinite"):
        sae("jumprelu", weights=tensors, source="there")


def test_integers_are_no_weights(sae, weights):
    with pytest.raises(BadVector, match=r"b_enc holds torch.int64"):
        sae(weights={**weights("relu"), "b_enc": torch.ones(24, dtype=torch.long)})


BAD_SPECS = [
    ("relu", {"k": 3}, "k is 3 for kind relu"),
    ("topk", {"k": 0}, "k is 0 for kind topk"),
    ("topk", {"k": 25}, "k is 25, but there are 24 latents"),
    ("relu", {"rescale_acts_by_decoder_norm": True}, "rescale_acts_by_decoder_norm is for topk"),
]


@pytest.mark.parametrize(("kind", "fields", "message"), BAD_SPECS)
def test_settings_that_mean_nothing_are_refused(sae, kind, fields, message):
    with pytest.raises(BadSpec, match=message):
        sae(kind, **fields)


def test_an_unknown_kind_or_normalisation_is_refused(sae):
    """By name; with signatures checked, by their types already."""
    with pytest.raises((BadSpec, TypeCheckError), match="whitening"):
        sae(normalisation="whitening")
    with pytest.raises((BadSpec, TypeCheckError), match="tanh"):
        replace(sae(), kind="tanh")


def test_the_hash_is_of_what_decides_the_numbers(sae, weights):
    one = sae("topk")
    assert re.fullmatch("[0-9a-f]{64}", one.sha256)
    assert sae("topk", metadata={"model_name": "other"}, source="elsewhere").sha256 == one.sha256
    other = weights("topk")
    other["b_dec"][0] += 1e-6
    changes = [
        {"weights": other},
        {"k": 4},
        {"site": Site(6, "post")},
        {"apply_b_dec_to_input": False},
        {"normalisation": "layer_norm"},
        {"rescale_acts_by_decoder_norm": True},
    ]
    hashes = {sae("topk", **change).sha256 for change in changes}
    assert len(hashes | {one.sha256}) == len(changes) + 1


def test_a_bf16_sae_and_its_float32_copy_have_one_hash(sae):
    half = sae("gated").to(dtype=torch.bfloat16)
    assert half.weights["W_enc"].dtype == torch.bfloat16
    assert half.to(dtype=torch.float32).sha256 == half.sha256 != sae("gated").sha256


def test_the_hash_does_not_see_memory_layout(sae, weights):
    tensors = weights("relu")
    strided = {name: tensor.mT.contiguous().mT if tensor.ndim == 2 else tensor for name, tensor in tensors.items()}
    assert sae(weights=strided).sha256 == sae(weights=tensors).sha256


@pytest.mark.parametrize(
    ("trained", "name"),
    [
        ("gemma-2-2b", "google/gemma-2-2b-it"),
        ("meta-llama/Meta-Llama-3-8B", "meta-llama/Llama-3-8B-Instruct"),
        ("gpt2-small", "openai-community/gpt2"),
        ("", "anything"),
    ],
)
def test_a_base_models_sae_fits_its_chat_model(sae, trained, name):
    check_model(sae(metadata={"model_name": trained}), name, d_model=8, n_layers=6)


def test_an_sae_of_another_width_depth_or_model_is_refused_in_one_line(sae):
    made = sae(source="saes/five", metadata={"model_name": "gemma-2-2b"})
    with pytest.raises(
        BadFile, match=r"saes/five reads a stream of width 8; smollm2 has 576: give an SAE .*gemma-2-2b"
    ):
        check_model(made, "smollm2", d_model=576, n_layers=30)
    with pytest.raises(BadFile, match=r"stands at 5.post; gemma-2-2b has layers 0 to 4"):
        check_model(made, "gemma-2-2b", d_model=8, n_layers=5)
    with pytest.raises(
        BadFile, match=r"was trained on gemma-2-2b, not gemma-2b: give an SAE of gemma-2b; or, if .*--other-model"
    ):
        check_model(made, "gemma-2b", d_model=8, n_layers=6)
    check_model(made, "my-finetune", d_model=8, n_layers=6, other_model=True)


@pytest.mark.parametrize(
    ("trained", "name"),
    [
        ("acme/tiny-chat", "/cache/hub/models--acme--tiny-chat/snapshots/299a8560"),
        ("acme/tiny-chat", "models--acme--tiny-chat/snapshots/299a8560b1c2d3e4f5a6978899aabbccddeeff00/"),
        ("/home/one/.cache/models--acme--tiny-chat/snapshots/299a8560", "acme/tiny-chat"),
        ("acme/tiny-chat", "models/Tiny_Chat/"),
        ("acme/tiny-chat", "runs/tiny-chat/checkpoint-500"),
        ("acme/tiny-chat", "gguf/tiny-chat.Q4_K_M.gguf"),
        ("acme/tiny-chat", "other/tiny-chat-bnb-4bit"),
        ("acme\\tiny-chat", "tiny-chat-bf16"),
    ],
)
def test_a_copy_of_the_saes_own_model_is_known_by_any_of_its_names(sae, trained, name):
    check_model(sae(metadata={"model_name": trained}), name, d_model=8, n_layers=6)


@pytest.mark.parametrize(
    "name", ["acme/tiny-chat-2", "tiny-chat/sft", "models--acme--other/snapshots/299a8560", "chat"]
)
def test_another_model_is_refused_whatever_folder_it_lies_in(sae, name):
    with pytest.raises(BadFile, match="was trained on acme/tiny-chat"):
        check_model(sae(metadata={"model_name": "acme/tiny-chat"}), name, d_model=8, n_layers=6)


def test_a_link_goes_by_the_name_of_what_it_leads_to(sae, tmp_path):
    (tmp_path / "models--acme--tiny-chat" / "snapshots" / "299a8560").mkdir(parents=True)
    (tmp_path / "mine").symlink_to(tmp_path / "models--acme--tiny-chat" / "snapshots" / "299a8560")
    check_model(sae(metadata={"model_name": "acme/tiny-chat"}), str(tmp_path / "mine"), d_model=8, n_layers=6)


def test_an_sae_trained_on_these_very_weights_fits_whatever_the_folder_is_called(sae):
    made = sae(metadata={"model_name": "acme/tiny-chat", "demur_weights": "ab12"})
    check_model(made, "my-copy", d_model=8, n_layers=6, weights="ab12")
    with pytest.raises(BadFile, match="was trained on acme/tiny-chat, not my-copy"):
        check_model(made, "my-copy", d_model=8, n_layers=6, weights="cd34")


@pytest.mark.parametrize("scale", [0.0, -1.0, float("inf"), float("nan")])
def test_a_scale_is_a_positive_number(weights, scale):
    with pytest.raises(BadSpec, match="cannot be scaled"):
        fold_scale(weights("relu"), scale)
