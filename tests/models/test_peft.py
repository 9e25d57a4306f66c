"""A PEFT adapter in a folder of its own, on a tiny base: the tokens are peft's own."""

import json
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file

from demur.engines.base import Request
from demur.engines.hf import HFEngine
from demur.engines.rows import row_of
from demur.errors import BadFile, MissingExtra
from demur.models.load import load
from demur.types import Decoding

peft = pytest.importorskip("peft")
pytestmark = pytest.mark.filterwarnings("ignore")
NEW = Decoding(max_new_tokens=8)
KINDS = {
    "plain": ("llama", {"target_modules": ["q_proj", "down_proj"]}),
    "rslora": ("llama", {"target_modules": ["v_proj", "up_proj"], "use_rslora": True}),
    "dora": ("llama", {"target_modules": ["o_proj", "gate_proj"], "use_dora": True}),
    "patterns": ("llama", {"target_modules": "all-linear", "rank_pattern": {"q_proj": 2}, "alpha_pattern": {"up": 9}}),
    "whole modules": ("llama", {"target_modules": ["q_proj"], "modules_to_save": ["lm_head"]}),
    "fan in, fan out": ("gpt2", {"target_modules": ["c_attn", "c_proj"], "fan_in_fan_out": True}),
    "biases": ("gpt2", {"target_modules": ["c_attn"], "fan_in_fan_out": True, "bias": "all"}),
}


@pytest.fixture(scope="module")
def bases(build, tmp_path_factory):
    known = {}

    def make(family):
        if family not in known:
            folder, one = tmp_path_factory.mktemp(family), build(family, seed=5)
            one.plain.save_pretrained(folder)
            one.loaded.tokenizer.save_pretrained(folder)
            known[family] = folder
        return known[family]

    return make


def trained(base, kind):
    """A PeftModel on the base whose weights are not what they were at the start."""
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    config = peft.LoraConfig(r=4, lora_alpha=12, task_type="CAUSAL_LM", **KINDS[kind][1])
    tuned = peft.get_peft_model(model, config).eval()
    with torch.no_grad():
        for name, value in tuned.named_parameters():
            if value.requires_grad:
                value.add_(0.1 * torch.randn(value.shape, generator=torch.Generator().manual_seed(len(name))))
    return tuned


@pytest.fixture
def adapter(bases, tmp_path):
    trained(bases("llama"), "plain").save_pretrained(tmp_path / "adapter")
    return tmp_path / "adapter"


def edit(folder, **changes):
    path = folder / "adapter_config.json"
    record = json.loads(path.read_text()) | changes
    path.write_text(json.dumps({key: value for key, value in record.items() if value is not ...}))


@pytest.mark.parametrize("kind", KINDS)
def test_an_adapters_folder_loads_to_the_tokens_that_peft_gives(bases, tmp_path, talk, kind):
    base = bases(KINDS[kind][0])
    tuned = trained(base, kind)
    tuned.save_pretrained(tmp_path / "adapter")
    talks = [talk("How do I bake bread?"), talk("Hi"), talk("What is the capital of France?")]
    engine, under = HFEngine(load(tmp_path / "adapter", "fp32")), HFEngine(load(base, "fp32"))
    found = [list(a.tokens) for a in engine.generate([Request(c) for c in talks], NEW)]
    for c, tokens in zip(talks, found, strict=True):
        ids = torch.tensor([row_of(engine.model, c).tokens])
        out = tuned.generate(input_ids=ids, attention_mask=torch.ones_like(ids), max_new_tokens=8, do_sample=False)
        assert tokens == out[0, ids.shape[1] :].tolist()
    assert found != [list(a.tokens) for a in under.generate([Request(c) for c in talks], NEW)]
    assert engine.fingerprint.weights != under.fingerprint.weights


def test_whatever_changes_the_merged_weights_gives_another_fingerprint(adapter, bases):
    first = load(adapter, "fp32").fingerprint
    assert load(adapter, "fp32").fingerprint == first
    edit(adapter, lora_alpha=13)
    second = load(adapter, "fp32").fingerprint
    tensors = load_file(adapter / "adapter_model.safetensors")
    next(iter(tensors.values()))[0, 0] += 1e-3
    save_file(tensors, adapter / "adapter_model.safetensors")
    assert len({first, second, load(adapter, "fp32").fingerprint}) == 3
    assert first.tokenizer == load(bases("llama"), "fp32").fingerprint.tokenizer


def test_a_manifest_in_an_adapters_folder_leaves_its_config_in_the_fingerprint(adapter):
    (adapter / "manifest.json").write_text("{}")
    first = load(adapter, "fp32").fingerprint
    edit(adapter, lora_alpha=64)
    assert load(adapter, "fp32").fingerprint.weights != first.weights


def test_an_adapters_own_tokenizer_and_template_are_taken(adapter, bases):
    base = load(bases("llama"), "fp32")
    words = base.tokenizer
    words.chat_template += " "
    words.save_pretrained(adapter)
    found = load(adapter, "fp32").fingerprint
    assert found.template != base.fingerprint.template
    assert found.tokenizer == base.fingerprint.tokenizer


def unfit(folder):
    tensors = load_file(folder / "adapter_model.safetensors")
    save_file({name: torch.ones(7, 7) for name in tensors}, folder / "adapter_model.safetensors")


def without_one(folder):
    tensors = load_file(folder / "adapter_model.safetensors")
    tensors.pop(min(tensors))
    save_file(tensors, folder / "adapter_model.safetensors")


def beyond(folder):
    tensors = load_file(folder / "adapter_model.safetensors")
    name = min(tensors)
    tensors[name.replace("layers.0", "layers.9")] = tensors[name].clone()
    save_file(tensors, folder / "adapter_model.safetensors")


def broken(folder):
    tensors = load_file(folder / "adapter_model.safetensors")
    tensors[min(tensors)][0, 0] = float("nan")
    save_file(tensors, folder / "adapter_model.safetensors")


def pickled(folder):
    torch.save({}, folder / "adapter_model.bin")
    (folder / "adapter_model.safetensors").unlink()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda f: edit(f, base_model_name_or_path=...), "names no base; set `base_model_name_or_path`"),
        (
            lambda f: edit(f, base_model_name_or_path="./gone"),
            r"names a base that is not there: no folder there, and no model named '\./gone'",
        ),
        (lambda f: edit(f, base_model_name_or_path=str(f)), "names another adapter, .* merge that one first"),
        (lambda f: edit(f, peft_type="PREFIX_TUNING"), "an adapter of type 'PREFIX_TUNING' is not merged; known: LORA"),
        (lambda f: edit(f, megatron_config={"a": 1}), "megatron_config names a module to import"),
        (lambda f: edit(f, target_modules=["no_proj"]), "cannot merge the adapter"),
        (lambda f: edit(f, target_modules="(q_proj"), "cannot merge the adapter"),
        (lambda f: (f / "adapter_config.json").write_text("[1"), "cannot be read"),
        (lambda f: (f / "adapter_config.json").write_text("[1]"), "cannot be read"),
        (lambda f: (f / "model.safetensors").write_bytes(b"x"), "holds a model and an adapter"),
        (lambda f: (f / "adapter_model.safetensors").write_bytes(b"\x08" * 50), "cannot merge the adapter"),
        (pickled, "has no adapter_model.safetensors; save the adapter with safe"),
        (unfit, "cannot merge the adapter"),
        (without_one, "is missing; its base is another one"),
        (beyond, "has no place; its base is another one"),
        (broken, "cannot merge the adapter"),
    ],
)
def test_an_adapter_that_cannot_be_merged_is_refused_and_named(adapter, change, message):
    change(adapter)
    with pytest.raises(BadFile, match=message) as error:
        load(adapter, "fp32")
    assert str(adapter) in str(error.value)
    assert len(str(error.value)) < 600


def test_an_adapter_of_another_base_is_refused(adapter, bases, build, tmp_path):
    other = shutil.copytree(bases("llama"), tmp_path / "other")
    build("llama", num_hidden_layers=2).plain.save_pretrained(other)
    edit(adapter, base_model_name_or_path=str(other))
    with pytest.raises(BadFile, match="has no place; its base is another one"):
        load(adapter, "fp32")


def test_without_peft_the_error_names_the_extra(adapter, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "peft", None)
    with pytest.raises(MissingExtra, match=r"pip install 'demur\[train\]'"):
        load(adapter, "fp32")
