"""Quantised checkpoints, made by hand here: run where transformers runs them, else refused before weights are read."""

import importlib.util
import json
import shutil
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from demur.engines.base import Request
from demur.engines.hf import HFEngine, wrap
from demur.errors import BadSpec
from demur.interventions import add
from demur.models.load import load
from demur.types import Decoding, Site, SteeringVector

NEW = Decoding(max_new_tokens=6)


@pytest.fixture(scope="module")
def saved(tiny, tmp_path_factory):
    folder = tmp_path_factory.mktemp("saved")
    tiny("llama").plain.save_pretrained(folder)
    tiny("llama").loaded.tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture
def quantised(saved, tmp_path):
    """quantised(**config) -> a copy of a folder whose config says so, and whose weights cannot be read."""

    def make(**config):
        folder = shutil.copytree(saved, tmp_path / "model")
        path = folder / "config.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | {"quantization_config": config}))
        (folder / "model.safetensors").write_bytes(b"not read")
        return folder

    return make


@pytest.mark.parametrize(
    ("module", "config", "fix"),
    [
        ("bitsandbytes", {"quant_method": "bitsandbytes", "load_in_4bit": True}, "pip install bitsandbytes, or"),
        ("gptqmodel", {"quant_method": "gptq", "bits": 4}, "pip install gptqmodel optimum, or"),
        ("gptqmodel", {"quant_method": "awq", "bits": 4}, "pip install gptqmodel, or"),
        ("compressed_tensors", {"quant_method": "compressed-tensors"}, "pip install compressed-tensors, or"),
    ],
)
@pytest.mark.filterwarnings("ignore")
def test_a_method_without_its_package_is_refused_before_weights_are_read(quantised, module, config, fix):
    if importlib.util.find_spec(module) is not None:
        pytest.skip(f"{module} is installed")
    folder = quantised(**config)
    with pytest.raises(BadSpec, match=f"is quantised with {config['quant_method']}, which does not run here") as error:
        load(folder, "bf16")
    assert str(folder) in str(error.value)
    assert fix in str(error.value)
    assert len(str(error.value)) < 700


@pytest.mark.parametrize("config", [{"quant_method": "runes"}, {"bits": 4}, {}])
@pytest.mark.filterwarnings("ignore")
def test_an_unknown_method_is_refused_by_its_name(quantised, config):
    with pytest.raises(
        BadSpec, match=f"is quantised with {config.get('quant_method', 'no method')}, which does not run"
    ):
        load(quantised(**config), "bf16")


def test_fp8_without_a_gpu_is_undone_and_answers_as_in_transformers_generate(saved, tmp_path, talk):
    from transformers import AutoModelForCausalLM

    if torch.cuda.is_available():
        pytest.skip("a GPU runs fp8 as it is")
    folder = shutil.copytree(saved, tmp_path / "model")
    stored = {}
    for name, value in load_file(folder / "model.safetensors").items():
        stored[name] = value.to(torch.bfloat16)
        if "proj" in name:
            step = value.abs().max() / 448
            stored[name] = (value / step).to(torch.float8_e4m3fn)
            stored[name.replace(".weight", ".weight_scale_inv")] = step.reshape(1, 1)
    save_file(stored, folder / "model.safetensors", metadata={"format": "pt"})
    config = {"quant_method": "fp8", "weight_block_size": [128, 128], "activation_scheme": "dynamic"}
    record = json.loads((folder / "config.json").read_text()) | {"quantization_config": config}
    (folder / "config.json").write_text(json.dumps(record))
    engine = HFEngine(load(folder, "fp32"))
    own: Any = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    (answer,) = engine.generate([Request(talk("How do I bake bread?"))], NEW)
    ids = torch.tensor([engine.row(talk("How do I bake bread?")).tokens])
    out = own.generate(input_ids=ids, attention_mask=torch.ones_like(ids), max_new_tokens=6, do_sample=False)
    assert list(answer.tokens) == out[0, ids.shape[1] :].tolist()
    assert engine.fingerprint.dtype == "fp32"
    assert engine.fingerprint.weights != load(saved, "fp32").fingerprint.weights


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("bits", [4, 8])
def test_a_model_in_few_bits_that_the_user_holds_is_wrapped_and_steered(build, tmp_path, talk, bits):
    pytest.importorskip("bitsandbytes")
    from transformers import AutoModelForCausalLM, BitsAndBytesConfig

    one = build("llama", hidden_size=64, intermediate_size=128, head_dim=16)
    one.plain.save_pretrained(tmp_path)
    few = BitsAndBytesConfig(load_in_4bit=bits == 4, load_in_8bit=bits == 8, bnb_4bit_compute_dtype=torch.bfloat16)
    model: Any = AutoModelForCausalLM.from_pretrained(tmp_path, quantization_config=few, dtype=torch.bfloat16).eval()
    engine = wrap(model, one.loaded.tokenizer)
    ids = torch.tensor([engine.row(talk("Hi")).tokens])
    (answer,) = engine.generate([Request(talk("Hi"))], NEW)
    out = model.generate(input_ids=ids, attention_mask=torch.ones_like(ids), max_new_tokens=6, do_sample=False)
    assert list(answer.tokens) == out[0, ids.shape[1] :].tolist()
    steer = add(SteeringVector({Site(1): torch.linspace(-1, 1, 64)}), 3.0)
    assert engine.generate([Request(talk("Hi"), steer)], NEW)[0].tokens != answer.tokens
    assert engine.fingerprint.weights != wrap(one.plain, one.loaded.tokenizer).fingerprint.weights
    model.save_pretrained(tmp_path / "few")
    one.loaded.tokenizer.save_pretrained(tmp_path / "few")
    again = HFEngine(load(tmp_path / "few"))
    assert torch.finfo(again.model.dtype).bits in (16, 32)
    assert again.generate([Request(talk("Hi"))], NEW)[0].tokens


def test_an_adapter_is_not_merged_into_a_quantised_base(quantised, tmp_path):
    base = quantised(quant_method="fp8", weight_block_size=[128, 128], activation_scheme="dynamic")
    folder = tmp_path / "adapter"
    folder.mkdir()
    save_file({"a": torch.ones(1)}, folder / "adapter_model.safetensors")
    config = {"peft_type": "LORA", "base_model_name_or_path": str(base)}
    (folder / "adapter_config.json").write_text(json.dumps(config))
    with pytest.raises(BadSpec, match="is an adapter on .* which is quantised"):
        load(folder, "fp32")
