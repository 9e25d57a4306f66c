"""A model that the user holds: left as it is, and known by its folder's fingerprint."""

import copy
from typing import Any

import pytest
import torch
from tests.contracts.conftest import blocks

from demur.engines.base import Request
from demur.engines.hf import HFEngine, wrap
from demur.errors import BadFile, InputError, UnknownName
from demur.interventions import add
from demur.models import attention
from demur.models.load import load
from demur.models.steering import steering
from demur.types import Decoding, Site, SteeringVector

NEW = Decoding(max_new_tokens=6)
STEER = add(SteeringVector({Site(1): torch.linspace(-1, 1, 32)}), 1.0)


@pytest.fixture(scope="module")
def folder(tiny, tmp_path_factory):
    """folder(family) -> where a tiny model was saved."""
    known = {}

    def make(family):
        if family not in known:
            known[family] = tmp_path_factory.mktemp(family)
            tiny(family).plain.save_pretrained(known[family])
            tiny(family).loaded.tokenizer.save_pretrained(known[family])
        return known[family]

    return make


def held(path, **options):
    """As a user loads a model."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    return AutoModelForCausalLM.from_pretrained(path, **options), AutoTokenizer.from_pretrained(path)


def own(model):
    torch.manual_seed(0)
    out = model.generate(torch.tensor([[5, 6, 7], [8, 9, 10]]), do_sample=True, max_new_tokens=6)
    return out.tolist()


def test_a_wrapped_model_generates_as_before_also_between_the_engines_passes(folder, model_family, talk):
    model, words = held(folder(model_family), dtype=torch.float32)
    before, requests = own(model), [Request(talk("Hi"), STEER), Request(talk("How do I bake bread?"))]
    flags = [p.requires_grad for p in model.parameters()]
    engine = wrap(model, words)
    assert own(model) == before
    answers = engine.generate(requests, NEW)
    assert answers == HFEngine(load(str(folder(model_family)), "fp32")).generate(requests, NEW)
    assert own(model) == before
    engine.gradients([talk("Hi")], [Site(1)], lambda logits, _: logits[:, 3])
    assert own(model) == before
    assert engine.generate(requests, NEW) == answers
    assert [p.requires_grad for p in model.parameters()] == flags
    assert all(p.grad is None for p in model.parameters())


def test_a_pass_that_fails_leaves_the_models_attention_in_force(folder, talk):
    model, words = held(folder("llama"))
    before, engine, seen = own(model), wrap(model, words), []

    def fail(*_):
        seen.append(model.config._attn_implementation)
        raise ZeroDivisionError

    handle = blocks(model)[1].register_forward_hook(fail)
    with pytest.raises(ZeroDivisionError):
        engine.last_logits([talk("Hi")])
    handle.remove()
    assert seen == [attention.NAME]
    assert model.config._attn_implementation == "sdpa"
    assert own(model) == before


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_wrapped_model_has_its_folders_fingerprint(folder, model_family, dtype):
    path, name = folder(model_family), {torch.float32: "fp32", torch.bfloat16: "bf16"}[dtype]
    model, words = held(path, dtype=dtype)
    model.generation_config.pad_token_id, model.config.use_cache = 3, False  # these change no answer of demur's
    engine = wrap(model, words)
    assert engine.fingerprint == HFEngine(path, name).fingerprint
    assert engine.name == str(path)
    assert wrap(model, words, "mine").name == "mine"


def test_a_hub_model_is_known_by_its_snapshot_on_this_machine(folder, monkeypatch):
    import huggingface_hub

    asked = []

    def snapshot(name, revision=None, local_files_only=False, **given):
        asked.append((name, revision, local_files_only))
        return str(folder("llama"))

    model, words = held(folder("llama"))
    model.config._name_or_path, model.config._commit_hash = "some/model", "abc"
    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot)
    assert wrap(model, words).fingerprint.weights == load(str(folder("llama")), "fp32").fingerprint.weights
    assert asked == [("some/model", "abc", True)]


def changed_weight(model, _):
    model.lm_head.weight.data[0, 0] += 1e-3


def changed_config(model, _):
    model.config.rms_norm_eps = 1e-3


def changed_ends(model, _):
    model.generation_config.eos_token_id = [2, 77]


def changed_template(_, words):
    words.chat_template += " "


@pytest.mark.parametrize("change", [changed_weight, changed_config, changed_ends, changed_template])
def test_whatever_changes_an_answer_gives_another_fingerprint(folder, change):
    model, words = held(folder("llama"))
    first = wrap(model, words).fingerprint
    change(model, words)
    second = wrap(model, words).fingerprint
    assert second != first
    assert second == wrap(copy.deepcopy(model), words).fingerprint


def test_a_model_without_a_folder_is_known_by_its_content(tiny, build):
    model, words = tiny("llama").plain, tiny("llama").loaded.tokenizer
    first = wrap(model, words).fingerprint
    assert first == wrap(build("llama").plain, words).fingerprint
    others = [build("llama", **change).plain for change in ({"seed": 1}, {"rms_norm_eps": 1e-3})]
    assert len({first, *(wrap(other, words).fingerprint for other in others)}) == 3


@pytest.mark.unchecked
def test_a_bare_model_is_refused_with_the_call_that_wraps_it(tiny):
    with pytest.raises(InputError, match=r"not a LlamaForCausalLM; wrap .* demur.wrap\(model, tokenizer\)"):
        HFEngine(tiny("llama").plain)


def test_what_cannot_be_wrapped_is_refused(build, folder):
    one = build("llama")
    words = one.loaded.tokenizer
    with pytest.raises(InputError, match="a str is no transformers model"):
        wrap("gpt2", words)
    with pytest.raises(InputError, match=r"training mode.*model.eval\(\)"):
        wrap(copy.deepcopy(one.plain).train(), words)
    bare = copy.deepcopy(words)
    bare.chat_template = None
    with pytest.raises(BadFile, match="mine has no chat template.*set `chat_template` of the tokenizer"):
        wrap(one.plain, bare, "mine")
    with pytest.raises(InputError, match=r"LlamaModel keeps no blocks at 'model.layers'.*get_base_model"):
        wrap(one.plain.model, words)
    other = copy.deepcopy(one.plain)
    other.config.model_type = "opt"
    with pytest.raises(UnknownName, match="no model family named 'opt'"):
        wrap(other, words)


def test_a_model_put_in_training_mode_is_not_run(build, talk):
    one = build("llama")
    one.loaded.model.train()
    with pytest.raises(InputError, match=r"call model.eval\(\) first"):
        one.engine.last_logits([talk("Hi")])


def test_a_model_that_also_sees_is_held_and_loaded_by_its_text_model(build, talk, tmp_path):
    """Llama 4 checkpoints hold both; AutoModelForCausalLM takes the text model out of them."""
    from transformers import Llama4Config, Llama4ForConditionalGeneration

    one = build("llama4_text")
    vision = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    more = {"vision_output_dim": 16, "projector_input_dim": 16, "projector_output_dim": 16, "image_size": 28}
    config = Llama4Config(text_config=one.plain.config.to_dict(), vision_config={**vision, **more, "patch_size": 14})
    model: Any = Llama4ForConditionalGeneration(config).eval()
    model.language_model.load_state_dict(one.plain.state_dict())
    model.generation_config = one.plain.generation_config
    model.save_pretrained(tmp_path)
    one.loaded.tokenizer.save_pretrained(tmp_path)
    requests = [Request(talk("Hi"), STEER), Request(talk("How do I bake bread?"))]
    expected = one.engine.generate(requests, NEW)
    assert wrap(model, one.loaded.tokenizer).generate(requests, NEW) == expected
    assert HFEngine(load(tmp_path, "fp32")).generate(requests, NEW) == expected
    ids = torch.tensor([one.engine.row(talk("Hi")).tokens])
    with steering(model, STEER):
        out = model.generate(input_ids=ids, attention_mask=torch.ones_like(ids), do_sample=False, max_new_tokens=6)
    assert out[0, ids.shape[1] :].tolist()[: len(expected[0].tokens)] == list(expected[0].tokens)
