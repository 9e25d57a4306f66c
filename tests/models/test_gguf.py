"""A .gguf file against the model that it was written from. Damage is in test_gguf_damage.py."""

import copy
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from gguf import GGMLQuantizationType as Type
from gguf import dequantize
from tests import gguf_files
from tests.conftest import tokenizer

from demur.directions.gguf_file import GGUFFile
from demur.errors import BadFile, OutOfRoom, UnknownName
from demur.models import fingerprint, gguf, kept
from demur.models.gguf import gguf_folder
from demur.models.load import load

IDS = torch.randint(3, 300, (2, 24), generator=torch.Generator().manual_seed(0))


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("DEMUR_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "models"


def logits(folder: Path) -> torch.Tensor:
    from transformers import AutoModelForCausalLM

    model: Any = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    with torch.no_grad():
        return model.eval()(IDS).logits


@pytest.mark.parametrize("name", gguf_files.MODELS)
def test_a_file_of_every_architecture_gives_the_logits_of_the_model_it_was_written_from(name, tmp_path):
    made = gguf_files.model(name)
    folder = gguf_folder(gguf_files.write(tmp_path / "x.gguf", name, made))
    with torch.no_grad():
        expected = made(IDS).logits
    assert expected.std() > 0.1
    torch.testing.assert_close(logits(folder), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", gguf_files.MODELS)
def test_the_config_says_what_the_models_own_says(name, tmp_path):
    from transformers import AutoConfig

    made = gguf_files.model(name)
    folder = gguf_folder(gguf_files.write(tmp_path / "x.gguf", name, made))
    found, own = AutoConfig.from_pretrained(folder).to_dict(), made.config.to_dict()
    beside = {"architectures", "dtype", "transformers_version", "_name_or_path", "head_dim", "mlp_bias", "n_inner"}
    if name.startswith("gpt"):
        beside |= {"rms_norm_eps", "num_key_value_heads", "intermediate_size", "rope_parameters"}  # not all have them
    beside |= {"attention_bias"} if name.startswith("qwen2") else set()  # always there in these
    beside |= {"router_aux_loss_coef", "initializer_range", "intermediate_size"} if "moe" in name else set()
    wanted = {key: own[key] for key in own if key not in beside}
    assert {key: found[key] for key in wanted} == wanted


STORED = ("F32", "F16", "BF16", "Q8_0", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q2_K", "Q3_K", "Q4_K", "Q5_K", "Q6_K")


@pytest.mark.parametrize("stored", STORED)
def test_each_storage_type_gives_the_tokens_of_its_dequantised_folder(stored, tmp_path):
    """The folder is written by save_pretrained, from blocks unpacked by transformers where it can, else by gguf."""
    from transformers.integrations.gguf.dequant import GGML_BLOCK
    from transformers.integrations.gguf.dequant import dequantize as other

    kind = Type[stored]
    made = gguf_files.model("qwen2", hidden_size=256, intermediate_size=256, num_hidden_layers=2)
    path = gguf_files.write(tmp_path / "x.gguf", "qwen2", made, kind)
    by_name = gguf_files.tensors("qwen2", made)
    kinds = {"F32": torch.float32, "F16": torch.float16}
    with torch.no_grad():
        for parameter in made.parameters():
            if parameter.ndim > 1:
                value = next(
                    v for v in by_name.values() if v.shape == parameter.shape and (v == parameter.numpy()).all()
                )
                packed = gguf_files.pack(value, kind)
                if int(kind) in GGML_BLOCK:
                    flat = other(torch.from_numpy(packed.reshape(-1)), int(kind))
                else:
                    flat = torch.from_numpy(np.array(dequantize(packed, kind)))
                parameter.copy_(flat.reshape(parameter.shape))
    made.to(kinds.get(stored, torch.bfloat16)).save_pretrained(tmp_path / "plain")
    tokenizer().save_pretrained(tmp_path / "plain")
    folder = gguf_folder(path)
    torch.testing.assert_close(logits(folder), logits(tmp_path / "plain"), rtol=0, atol=0)
    assert json.loads((folder / "config.json").read_text())["dtype"] == str(made.dtype).removeprefix("torch.")
    answers = []
    for place in (path, tmp_path / "plain"):
        loaded = load(place, "fp32")
        words = loaded.tokenizer.apply_chat_template(
            [{"role": "user", "content": "How do I bake bread?"}], add_generation_prompt=True, return_dict=True,
            return_tensors="pt",
        )  # fmt: skip
        answers.append(loaded.model.generate(**words, max_new_tokens=12, do_sample=False)[0].tolist())
    assert answers[0] == answers[1]


def test_the_tokenizer_and_its_template_are_the_files(tmp_path):
    path = gguf_files.write(tmp_path / "x.gguf", "qwen2", gguf_files.model("qwen2"))
    loaded, own = load(path, "fp32"), tokenizer()
    text = "How do I bake bread?<|im_end|>\n  naïve café — 東京 🙂\tdef f(x): return x**2\r\n"
    assert loaded.tokenizer(text)["input_ids"] == own(text)["input_ids"]
    assert loaded.tokenizer.decode(loaded.tokenizer(text)["input_ids"]) == text
    assert loaded.tokenizer.chat_template == own.chat_template
    assert loaded.tokenizer.pad_token_id == 0 and loaded.tokenizer.eos_token == "<|im_end|>"
    assert loaded.tokenizer.model_max_length == 256


def test_a_tokenizer_and_templates_beside_the_file_are_not_taken_for_its_own(tmp_path, monkeypatch):
    first, second = tmp_path / "alone", tmp_path / "beside"
    for folder in (first, second):
        folder.mkdir()
        gguf_files.write(folder / "x.gguf", "qwen2", gguf_files.model("qwen2"))
    other = copy.deepcopy(tokenizer())
    other.add_tokens(["bread", "How"])
    other.chat_template = {"default": "{{ messages[0]['content'] }} beside", "tool_use": "tools"}
    other.save_pretrained(second)
    assert {p.name for p in second.iterdir()} >= {"tokenizer.json", "chat_template.jinja", "additional_chat_templates"}
    found = []
    for folder in (first, second):
        monkeypatch.setenv("DEMUR_CACHE", str(folder / "cache"))
        found.append(gguf_folder(folder / "x.gguf"))
    assert {p.name: p.read_bytes() for p in found[0].iterdir()} == {p.name: p.read_bytes() for p in found[1].iterdir()}


@pytest.mark.parametrize("name", ["phi3 long", "llama"])
def test_a_files_factors_of_its_rope_are_taken_whether_or_not_it_names_their_type(name, tmp_path, monkeypatch):
    made, own = gguf_files.model(name), gguf_files.tensors
    half = 4 if name == "phi3 long" else 8
    factors = {f"rope_factors_{length}.weight": np.linspace(1, most, half, dtype=np.float32)
               for length, most in (("long", 4), ("short", 2))}  # fmt: skip
    monkeypatch.setattr(gguf_files, "tensors", lambda *given: own(*given) | factors)
    configs = []
    for i, kind in enumerate((None, "longrope")):
        more: dict[str, Any] = {"rope.scaling.type": kind, "rope.scaling.original_context_length": 64}
        folder = gguf_folder(gguf_files.write(tmp_path / f"{i}.gguf", name, made, **more))
        configs.append((folder / "config.json").read_text())
        assert logits(folder).isfinite().all()
    rope = json.loads(configs[0])["rope_parameters"]
    assert (rope["rope_type"], rope["long_factor"][-1], rope["factor"]) == ("longrope", 4.0, 4.0)
    assert configs[1] == configs[0]


def test_an_answer_ends_at_every_token_that_the_file_says_ends_one(tmp_path):
    made = gguf_files.model("qwen2")
    more: dict[str, Any] = {"tokenizer.ggml.eos_token_id": 7, "tokenizer.ggml.eot_token_id": 9}
    path = gguf_files.write(tmp_path / "x.gguf", "qwen2", made, **more)
    ends = json.loads((gguf_folder(path) / "generation_config.json").read_text())["eos_token_id"]
    assert ends == [7, 9, tokenizer().eos_token_id]


def test_a_text_begins_with_the_bos_token_only_where_the_file_says_so(tmp_path):
    made = gguf_files.model("qwen2")
    for wanted in (True, False):
        more: dict[str, Any] = {"tokenizer.ggml.bos_token_id": 1, "tokenizer.ggml.add_bos_token": wanted}
        path = gguf_files.write(tmp_path / f"{wanted}.gguf", "qwen2", made, **more)
        assert (load(path, "fp32").tokenizer("bread")["input_ids"][0] == 1) == wanted


def test_a_qwen_tokenizer_composes_characters_first_as_qwens_does(tmp_path):
    more: dict[str, Any] = {"tokenizer.ggml.pre": "qwen2"}
    path = gguf_files.write(tmp_path / "x.gguf", "qwen2", gguf_files.model("qwen2"), **more)
    words = load(path, "fp32").tokenizer
    assert words("cafe\u0301")["input_ids"] == words("caf\u00e9")["input_ids"]


def sentencepiece(**more: Any) -> dict[str, Any]:
    """Fields of a tokenizer of llama's kind, with all bytes and a few words."""
    words = {"\u2581": -1.0, "b": -2.0, "\u2581b": -3.0, "c": -4.0, "bc": -5.0}
    tokens = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256)), *words]
    return {
        "tokenizer.ggml.model": "llama",
        "tokenizer.ggml.pre": "default",
        "tokenizer.ggml.tokens": tokens,
        "tokenizer.ggml.scores": [0.0] * 259 + [*words.values()],
        "tokenizer.ggml.token_type": [2, 3, 3, *[6] * 256, *[1] * len(words)],
        "tokenizer.ggml.merges": None,
        "tokenizer.ggml.add_bos_token": None,
        "tokenizer.ggml.bos_token_id": 1,
        "tokenizer.ggml.eos_token_id": 2,
        "tokenizer.ggml.unknown_token_id": 0,
        **more,
    }


@pytest.mark.filterwarnings("ignore:the chat template of .* puts no token behind")
@pytest.mark.parametrize("prefix", [True, False])
def test_a_sentencepiece_tokenizer_begins_with_bos_and_puts_a_space_where_the_file_says_so(prefix, tmp_path):
    more = sentencepiece(**{"tokenizer.ggml.add_space_prefix": prefix})
    words = load(gguf_files.write(tmp_path / "x.gguf", "llama", gguf_files.model("llama"), **more), "fp32").tokenizer
    ids = words("bc")["input_ids"]
    assert words.convert_ids_to_tokens(ids) == ["<s>", *(["\u2581b", "c"] if prefix else ["bc"])]
    assert words.decode(ids, skip_special_tokens=True) == "bc"
    assert words.decode(words("é b", add_special_tokens=False)["input_ids"]) == "é b"


def test_the_file_is_converted_once_and_again_when_the_folder_was_changed(tmp_path, cache, monkeypatch):
    path = gguf_files.write(tmp_path / "x.gguf", "qwen2", gguf_files.model("qwen2"))
    folder = gguf_folder(path)
    calls = []
    monkeypatch.setattr(gguf, "convert", lambda *given: calls.append(given) or converted(*given))
    assert gguf_folder(path) == folder and not calls
    weights = folder / "model.safetensors"
    data = bytearray(weights.read_bytes())
    data[-3] ^= 1
    weights.write_bytes(data)
    with pytest.warns(RuntimeWarning, match="model.safetensors is not what"):
        gguf_folder(path)
    assert len(calls) == 1 and weights.read_bytes()[-3] == data[-3] ^ 1
    assert [p.name for p in cache.iterdir() if p.is_dir()] == [folder.name]


converted = gguf.convert


def test_a_folder_that_was_checked_is_neither_built_nor_hashed_again(tmp_path, monkeypatch):
    path = gguf_files.write(tmp_path / "x.gguf", "qwen2", gguf_files.model("qwen2"))
    first = load(path, "fp32").fingerprint
    plain = load(gguf_folder(path), "fp32").fingerprint
    hashed, own = [], kept.sha256

    def counted(path: Path) -> str:
        hashed.append(path.name)
        return own(path)

    monkeypatch.setattr(gguf, "room_for", lambda file: pytest.fail("the model was built to count its bytes"))
    for module in (gguf, kept, fingerprint):
        monkeypatch.setattr(module, "sha256", counted)
    assert load(path, "fp32").fingerprint == first == plain
    assert hashed.count("model.safetensors") == 1


def test_a_file_that_cannot_be_read_is_not_told_as_a_cache_that_cannot_be_written(tmp_path, monkeypatch):
    path = gguf_files.write(tmp_path / "x.gguf", "qwen2", gguf_files.model("qwen2"))

    def unreadable(*given):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(GGUFFile, "floats", unreadable)
    with pytest.raises(BadFile, match=r"cannot read .*x\.gguf: Permission denied; check the file"):
        load(path, "fp32")


@pytest.mark.parametrize("where", ["x.gguf", "x.gguf/below"])
def test_a_cache_that_cannot_be_written_is_told_as_that(where, tmp_path, monkeypatch):
    path = gguf_files.write(tmp_path / "x.gguf", "qwen2", gguf_files.model("qwen2"))
    monkeypatch.chdir(tmp_path)
    for place in (where, str(tmp_path / where)):
        monkeypatch.setenv("DEMUR_CACHE", place)
        with pytest.raises(BadFile, match=r"cannot write the model of x\.gguf to .*set DEMUR_CACHE"):
            load(path, "fp32")


def test_large_weights_are_split_into_files_that_load_as_one(tmp_path, monkeypatch):
    path = gguf_files.write(tmp_path / "x.gguf", "qwen2", made := gguf_files.model("qwen2"))
    monkeypatch.setattr(gguf, "SHARD", 30_000)
    folder = gguf_folder(path)
    assert len(list(folder.glob("model-*.safetensors"))) > 2
    with torch.no_grad():
        torch.testing.assert_close(logits(folder), made(IDS).logits, rtol=1e-4, atol=1e-5)


def test_an_unknown_architecture_is_named_with_the_known_ones(tmp_path):
    made = gguf_files.model("qwen2")
    more: dict[str, Any] = {"general.architecture": "bert"}
    path = gguf_files.write(tmp_path / "x.gguf", "qwen2", made, **more)
    with pytest.raises(UnknownName, match=r"no GGUF architecture named 'bert'; known: gemma, .*qwen2"):
        load(path)


def test_a_type_that_cannot_be_unpacked_is_refused_by_tensor_and_type(tmp_path, cache):
    made = gguf_files.model("qwen2")
    path = gguf_files.write(tmp_path / "x.gguf", "qwen2", made, lambda name: Type.F16)
    data = path.read_bytes().replace(b"blk.0.ffn_up.weight\x02\0\0\0 \0\0\0\0\0\0\0@\0\0\0\0\0\0\0\x01",
                                     b"blk.0.ffn_up.weight\x02\0\0\0 \0\0\0\0\0\0\0@\0\0\0\0\0\0\0\x19")  # fmt: skip
    assert data != path.read_bytes()
    path.write_bytes(data)
    with pytest.raises(BadFile, match=r"blk\.0\.ffn_up\.weight is of type I16"):
        load(path)
    assert not [p for p in cache.glob("*") if p.is_dir()]


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"tokenizer.ggml.pre": "hieroglyphs"}, r"tokenizer\.ggml\.pre = 'hieroglyphs', which is not known"),
        ({"tokenizer.ggml.pre": None}, r"tokenizer\.ggml\.pre = None"),
        ({"tokenizer.ggml.model": "bert"}, "tokenizer of kind 'bert'"),
        ({"tokenizer.ggml.tokens": None}, r"no list tokenizer\.ggml\.tokens"),
        ({"tokenizer.ggml.token_type": [1, 2]}, "not one a token"),
        ({"tokenizer.ggml.eos_token_id": 4000}, "eos_token_id is 4000"),
        ({"tokenizer.chat_template": None}, "no chat template"),
        ({"block_count": None}, r"does not state qwen2\.block_count"),
        ({"block_count": 3}, "has no place for"),
        ({"block_count": 5}, "lacks"),
        ({"attention.head_count": 0}, "make no qwen2 model"),
        ({"embedding_length": 48}, "shape"),
        ({"rope.scaling.type": "spiral"}, "rope scaling 'spiral'; known: none, linear, yarn, and longrope with rope_"),
        ({"rope.scaling.type": "longrope"}, "rope scaling 'longrope'; known: .* and longrope with rope_factors_long"),
        ({"feed_forward_length": [64, 64, 64, 64]}, "make no qwen2 model"),
    ],
)
def test_fields_that_do_not_fit_are_refused_by_name_before_anything_is_kept(more, message, tmp_path, cache):
    path = gguf_files.write(tmp_path / "x.gguf", "qwen2", gguf_files.model("qwen2"), **more)
    with pytest.raises(BadFile, match=message):
        load(path, "fp32")
    assert "no chat template" in message or not [p for p in cache.glob("*") if p.is_dir()]


@pytest.mark.parametrize(
    ("name", "tensor", "shape"),
    [
        ("llama", "blk.0.attn_q.weight", (30, 32)),  # no whole number of heads
        ("llama", "blk.1.attn_k.weight", (64, 32)),
        ("qwen2", "token_embd.weight", (400, 31)),
        ("qwen2", "output_norm.weight", (31,)),
        ("gptneox", "blk.0.attn_qkv.weight", (95, 32)),
        ("gpt2", "blk.0.ffn_up.weight", (128,)),
        ("gpt2", "blk.0.ffn_up.weight", (128, 32, 2)),
        ("qwen3_moe", "blk.0.ffn_up_exps.weight", (3, 32, 32)),  # another number of experts than the gates have
        ("qwen3_moe", "blk.0.ffn_down_exps.weight", (32, 32)),
    ],
)
def test_a_tensor_of_another_shape_is_refused_before_any_weight_is_read(name, tensor, shape, tmp_path, monkeypatch):
    made, own = gguf_files.model(name), gguf_files.tensors

    def changed(*given):
        found = own(*given)
        assert found[tensor].shape != shape
        return {**found, tensor: np.zeros(shape, np.float32)}

    monkeypatch.setattr(gguf_files, "tensors", changed)
    path = gguf_files.write(tmp_path / "x.gguf", name, made)
    monkeypatch.setattr(GGUFFile, "floats", lambda *given: pytest.fail("a weight was read"))
    with pytest.raises(BadFile, match=rf"shape of .*{tensor} {re.escape(str(list(shape)))}.*its fields say"):
        load(path, "fp32")


def test_more_tokens_than_rows_of_the_embedding_are_refused(tmp_path):
    words = ["a", "0", *(f"a{i}" for i in range(398))]
    more: dict[str, Any] = {
        "tokenizer.ggml.tokens": words,
        "tokenizer.ggml.token_type": None,
        "tokenizer.ggml.merges": ["a 0"],
    }
    path = gguf_files.write(tmp_path / "x.gguf", "qwen2", gguf_files.model("qwen2"), **more)
    with pytest.raises(BadFile, match="400 tokens"):
        load(path, "fp32")


def test_without_room_the_room_needed_is_said_and_nothing_is_begun(tmp_path, cache, monkeypatch):
    path = gguf_files.write(tmp_path / "x.gguf", "qwen2", gguf_files.model("qwen2"))

    class Little:
        free = 1000

    monkeypatch.setattr(kept.shutil, "disk_usage", lambda place: Little)
    with pytest.raises(OutOfRoom, match=r"no room for the model of x\.gguf in .* \(20 MB\); free space"):
        load(path)
    assert not [p for p in cache.glob("*") if p.is_dir()]


def test_a_disk_that_fills_while_the_tokenizer_is_written_is_out_of_room(tmp_path, cache, monkeypatch):
    from transformers import PreTrainedTokenizerFast

    def full(*given):
        raise Exception("No space left on device (os error 28)")

    path = gguf_files.write(tmp_path / "x.gguf", "qwen2", gguf_files.model("qwen2"))
    monkeypatch.setattr(PreTrainedTokenizerFast, "save_pretrained", full)
    with pytest.raises(OutOfRoom, match="no room for the model of x.gguf"):
        load(path)
    assert not [p for p in cache.glob("*") if p.is_dir()]


def test_what_a_killed_conversion_left_is_removed_and_not_used(tmp_path, cache):
    path = gguf_files.write(tmp_path / "x.gguf", "qwen2", gguf_files.model("qwen2"))
    digest = kept.sha256(path)
    left = cache / f".gguf-{digest[:16]}-v{gguf.VERSION}-abc"
    left.mkdir(parents=True)
    (left / "model.safetensors").write_bytes(b"half")
    folder = gguf_folder(path)
    assert [p.name for p in cache.iterdir() if p.is_dir()] == [folder.name]
