"""Quantised checkpoints, made by hand here: run where transformers runs them, else refused before weights are read."""

import importlib.util
import json
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file

from demur.engines.base import Request
from demur.engines.hf import HFEngine
from demur.errors import BadSpec
from demur.interventions import add
from demur.models.load import load
from demur.models.wrap import from_parts
from demur.types import Decoding, Site, SteeringVector

NEW = Decoding(max_new_tokens=6)
STEER = add(SteeringVector({Site(1): torch.linspace(-1, 1, 32)}), 1.0)


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
