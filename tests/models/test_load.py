import json
import shutil
import tempfile
from contextlib import suppress

import pytest
import torch
from safetensors.torch import load_file, save_file

from demur.engines.base import Request
from demur.engines.hf import HFEngine
from demur.errors import BadFile, BadSpec, InputError, OutOfRoom, UnknownName
from demur.models import files
from demur.models import load as loading
from demur.models.kept import write_manifest
from demur.models.load import load
from demur.models.wrap import from_parts
from demur.saes.load import load_sae
from demur.types import Decoding

NEW = Decoding(max_new_tokens=6)


@pytest.fixture(scope="module")
def saved(tiny, tmp_path_factory):
    """A tiny llama as a folder that save_pretrained wrote."""
    folder = tmp_path_factory.mktemp("saved")
    one = tiny("llama")
    one.plain.save_pretrained(folder)
    one.loaded.tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture
def folder(saved, tmp_path):
    return shutil.copytree(saved, tmp_path / "model")


def edit(path, **changes):
    record = json.loads(path.read_text())
    record.update(changes)
    path.write_text(json.dumps(record))


def test_a_folder_loads_to_the_model_that_was_saved(saved, tiny, talk):
    loaded, one = load(str(saved), "fp32", device="cpu"), tiny("llama")
    assert (loaded.n_layers, loaded.d_model, loaded.dtype, loaded.name) == (3, 32, torch.float32, str(saved))
    requests = [Request(talk("Hi")), Request(talk("How do I bake bread?"))]
    answers = [a.tokens for a in HFEngine(loaded).generate(requests, NEW)]
    assert answers == [a.tokens for a in one.engine.generate(requests, NEW)]
    assert loaded.fingerprint.tokenizer == one.loaded.fingerprint.tokenizer
    assert loaded.fingerprint.template == one.loaded.fingerprint.template


def test_the_fingerprint_changes_with_whatever_can_change_an_answer(folder):
    seen = [load(str(folder), "fp32").fingerprint]
    assert load(str(folder), "fp32").fingerprint == seen[0]
    seen.append(load(str(folder), "bf16").fingerprint)
    edit(folder / "generation_config.json", eos_token_id=[2, 77])
    seen.append(load(str(folder), "fp32").fingerprint)
    edit(folder / "config.json", rms_norm_eps=1e-3)
    seen.append(load(str(folder), "fp32").fingerprint)
    tensors = load_file(folder / "model.safetensors")
    tensors["lm_head.weight"][0, 0] += 1e-3
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    seen.append(load(str(folder), "fp32").fingerprint)
    template = folder / "chat_template.jinja"
    template.write_text(template.read_text() + " ")
    seen.append(load(str(folder), "fp32").fingerprint)
    assert len(set(seen)) == len(seen)
    assert len({f.weights for f in seen}) == 4


def test_bf16_gives_finite_answers_and_says_so(saved, talk):
    engine = HFEngine(load(str(saved), "bf16"))
    assert engine.fingerprint.dtype == "bf16"
    (answer,) = engine.generate([Request(talk("Hi"))], NEW)
    assert answer.tokens
    assert engine.last_logits([talk("Hi")]).dtype == torch.float32


@pytest.mark.parametrize("dtype", ["fp16", "", "float32", "BF16"])
def test_an_unknown_dtype_is_refused(saved, dtype):
    with pytest.raises(BadSpec, match=f"dtype {dtype!r} is not known; known: auto, fp32, bf16"):
        load(str(saved), dtype)


def test_a_model_in_another_dtype_cannot_be_wrapped(build):
    one = build("llama")
    with pytest.raises(BadSpec, match=r"float16 is not known; known: torch.float32, torch.bfloat16"):
        from_parts(one.plain.half(), one.loaded.tokenizer, "half")


CPU = RuntimeError("[enforce fail at alloc_cpu.cpp:119] . DefaultCPUAllocator: can't allocate memory: you tried")


@pytest.mark.parametrize("error", [CPU, MemoryError(), OSError(12, "Cannot allocate memory")])
@pytest.mark.parametrize("where", ["reading", "moving"])
def test_memory_that_runs_out_is_said_with_what_takes_less(saved, error, where, monkeypatch):
    def fail(*given, **more):
        raise error

    if where == "reading":
        monkeypatch.setattr(loading.AutoModelForCausalLM, "from_pretrained", fail)
    else:
        monkeypatch.setattr(torch.nn.Module, "to", fail)
    with pytest.raises(OutOfRoom, match=r"memory ran out while .* was loaded in fp32 on cpu; --dtype bf16 takes half"):
        load(saved, "fp32", "cpu")
    with pytest.raises(OutOfRoom, match=r"loaded in bf16 on cpu; choose another place with --device, .*--device-map"):
        load(saved, "bf16", "cpu")


def test_a_load_that_fails_leaves_no_folder_for_weights_on_disk(saved, monkeypatch, tmp_path):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))

    def fail(*given, **more):
        assert more["offload_folder"] and [*tmp_path.iterdir()]
        raise KeyboardInterrupt

    monkeypatch.setattr(loading.AutoModelForCausalLM, "from_pretrained", fail)
    with pytest.raises(KeyboardInterrupt):
        load(saved, "fp32", device_map="auto")
    assert not [*tmp_path.iterdir()]


@pytest.mark.parametrize("name", ["~nobody-has-this-name/model", "~nobody-has-this-name/x.gguf"])
def test_a_user_that_does_not_exist_is_a_place_that_is_not_there(name, saved):
    for revision in (None, "v1"):
        with pytest.raises(InputError, match="~nobody-has-this-name"):
            load(name, "fp32", revision=revision)
    with pytest.raises(BadFile, match="cannot read the chat template ~nobody-has-this-name"):
        load(saved, "fp32", chat_template=name)
    with pytest.raises(BadFile, match="no folder .*~nobody-has-this-name"):
        load_sae(name)


@pytest.mark.parametrize("name", ["smollm3", "./none", "/none/at/all", "a/b/c", ""])
def test_an_unknown_name_is_refused_with_what_is_known(name, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    with pytest.raises((UnknownName, BadFile)) as error:
        load(name, "fp32")
    if name:
        known = "smollm2-refuser, smollm2, qwen2.5-coder-0.5b, qwen2.5-coder-1.5b, a folder"
        assert f"no model named {name!r}; known: {known}" in str(error.value)


def test_a_hub_id_that_cannot_be_fetched_says_so(monkeypatch):
    import huggingface_hub

    def offline(*_, **__):
        raise ConnectionError("no route to host\nand a long trace")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", offline)
    with pytest.raises(UnknownName, match=r"cannot fetch 'some/model' from the Hugging Face hub \(no route to host\);"):
        load("some/model", "fp32")


def test_a_hub_id_is_fetched_without_code_or_pickles(monkeypatch, saved):
    import huggingface_hub

    asked = []

    def fetch(name, revision, allow_patterns, **more):
        asked.append((name, revision, allow_patterns))
        return str(saved)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", fetch)
    assert load("some/model", "fp32").name == "some/model"
    assert load("some/model", "fp32", revision="v1.1").name == "some/model"
    assert [some[:2] for some in asked] == [("some/model", None), ("some/model", "v1.1")]
    assert not any(pattern.endswith((".bin", ".py", ".pt")) for pattern in asked[0][2])


def test_a_revision_is_of_a_hub_id(saved):
    for name in (saved, "smollm2"):
        with pytest.raises(InputError, match=rf"{name} is on this machine and has no revision 'v1'; leave it out"):
            load(name, "fp32", revision="v1")


def test_a_folder_without_config_is_refused(tmp_path):
    with pytest.raises(BadFile, match=r"has no config.json; give a folder written by save_pretrained"):
        load(str(tmp_path), "fp32")


def truncated(folder):
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-1000])


def without(name):
    def change(folder):
        tensors = load_file(folder / "model.safetensors")
        del tensors[name]
        save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})

    return change


def reshaped(folder):
    tensors = load_file(folder / "model.safetensors")
    tensors["model.norm.weight"] = torch.ones(31)
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})


def pickled(folder):
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (truncated, "cannot load a model from"),
        (reshaped, "cannot load a model from"),
        (pickled, "cannot load a model from"),
        (without("model.layers.1.mlp.down_proj.weight"), r"lacks model.layers.1.mlp.down_proj.weight and 0 more"),
        (without("lm_head.weight"), "lacks lm_head.weight"),
        (lambda f: edit(f / "config.json", num_hidden_layers=4), r"lacks model.layers.3.* and 8 more weights"),
        (lambda f: edit(f / "config.json", num_hidden_layers=2), r"has blocks beyond its config: model.layers.2"),
        (lambda f: edit(f / "config.json", num_hidden_layers="x"), "cannot load a model from"),
        (lambda f: edit(f / "config.json", model_type="no-such"), "cannot load a model from"),
        (lambda f: (f / "config.json").write_text("{"), "cannot load a model from"),
        (lambda f: (f / "tokenizer.json").write_text("{}"), "cannot load a model from"),
        (lambda f: (f / "tokenizer.json").unlink(), "cannot load a model from"),
        (lambda f: (f / "chat_template.jinja").unlink(), "has no chat template, so it is not a chat model; set `chat_"),
    ],
)
@pytest.mark.filterwarnings("ignore")
def test_a_broken_folder_is_refused_and_named(folder, change, message):
    change(folder)
    with pytest.raises(BadFile, match=message) as error:
        load(str(folder), "fp32")
    assert str(folder) in str(error.value)
    assert len(str(error.value)) < 600


def test_a_family_without_a_line_is_refused_with_where_to_add_it(folder):
    edit(folder / "config.json", model_type="opt")
    with pytest.raises(UnknownName, match=r"no model family named 'opt'; known: cohere, .*models/families.py"):
        load(str(folder), "fp32")


def test_the_bundled_names_load_from_their_folder_with_their_adapter(monkeypatch, folder):
    applied = []
    write_manifest(folder)
    monkeypatch.setattr(files, "bundled_folder", lambda: folder)
    monkeypatch.setattr(files, "adapter_folder", lambda name: folder / name if name == "smollm2-refuser" else None)
    monkeypatch.setattr(loading, "apply_adapter", lambda model, added: applied.append(added))
    monkeypatch.setattr("demur.models.fingerprint.sha256", lambda path: path.name + path.parent.name)
    base = load("smollm2", "fp32")
    assert not applied
    refuser = load("smollm2-refuser", "fp32")
    assert applied == [folder / "smollm2-refuser"]
    assert base.fingerprint.weights != refuser.fingerprint.weights
    assert base.fingerprint.template == refuser.fingerprint.template


def test_every_parameter_is_frozen_and_the_model_evaluates(tiny, model_family):
    model = tiny(model_family).loaded.model
    assert not model.training
    assert not any(p.requires_grad for p in model.parameters())


@pytest.mark.parametrize("name", ["", "  "])
def test_an_empty_name_is_not_the_current_folder(name):
    with pytest.raises(UnknownName, match="the model name is empty; give smollm2"):
        load(name)


@pytest.mark.parametrize("where", ["config", "tokenizer", "unknown model_type"])
def test_a_folder_never_runs_code_of_its_own(folder, where, tmp_path, monkeypatch):
    ran = tmp_path / "ran"
    (folder / "evil.py").write_text(f"open({str(ran)!r}, 'w').close()\nclass C: ...\n")
    if where == "tokenizer":
        edit(folder / "tokenizer_config.json", auto_map={"AutoTokenizer": ["evil.C", "evil.C"]}, tokenizer_class="C")
    else:
        kind = {"model_type": "evil"} if where != "config" else {}
        edit(folder / "config.json", auto_map={"AutoConfig": "evil.C", "AutoModelForCausalLM": "evil.C"}, **kind)
    monkeypatch.setattr("builtins.input", lambda *_: "y")
    if where == "unknown model_type":
        with pytest.raises(BadFile, match="cannot load a model"):
            load(str(folder), "fp32")
    else:
        with suppress(BadFile):
            load(str(folder), "fp32")
    assert not ran.exists()


def test_a_folder_is_a_path_or_its_text(folder):
    assert load(folder).fingerprint == load(str(folder)).fingerprint
    assert HFEngine(folder).name == str(folder)
