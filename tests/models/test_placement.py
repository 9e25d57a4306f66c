"""A model that accelerate splits: tokens, sites and gradients are those of the whole model."""

import gc
import glob
import json
import os
from typing import Any

import pytest
import torch

from demur.engines.base import Request
from demur.engines.hf import HFEngine, wrap
from demur.engines.hf import load as open_engine
from demur.errors import BadSpec
from demur.interventions import ablate, add, at, chain
from demur.models import placement
from demur.models.load import load
from demur.models.placement import at_home, check_placement, input_device, split
from demur.models.steering import steering
from demur.types import POINTS, Decoding, Direction, Site, SteeringVector

NEW = Decoding(max_new_tokens=8)
PARTS = {
    "llama": ("model", "layers", ("embed_tokens", "norm", "rotary_emb")),
    "gemma2": ("model", "layers", ("embed_tokens", "norm", "rotary_emb")),
    "gpt2": ("transformer", "h", ("wte", "wpe", "drop", "ln_f")),
}


def places(family, *layers, rest="cpu"):
    body, blocks, others = PARTS[family]
    here = {f"{body}.{name}": rest for name in others} | {"lm_head": rest}
    return here | {f"{body}.{blocks}.{i}": device for i, device in enumerate(layers)}


@pytest.fixture(scope="module")
def folder(tiny, tmp_path_factory):
    known = {}

    def make(family):
        if family not in known:
            known[family] = tmp_path_factory.mktemp(family)
            tiny(family).plain.save_pretrained(known[family])
            tiny(family).loaded.tokenizer.save_pretrained(known[family])
        return known[family]

    return make


def steers():
    v = torch.linspace(-1, 1, 32)
    added = [add(SteeringVector({Site(layer, point): v}), 1.5) for layer in range(3) for point in POINTS]
    return [None, *added, chain(ablate(Direction(v / v.norm(), Site(1), 1.0)), at("from-last", added[3]))]


@pytest.mark.parametrize("family", PARTS)
@pytest.mark.parametrize(
    "spread",
    [("cpu", "disk", "cpu"), ("disk", "disk", "disk"), ("cpu", "cpu", "disk", "disk")],
    ids=["middle", "blocks", "rest"],
)
@pytest.mark.filterwarnings("ignore:.*offload.*")
def test_a_split_model_gives_the_whole_models_tokens_streams_and_gradients(folder, family, spread, talk):
    layers, rest = spread[:3], (*spread, "cpu")[3]
    there = HFEngine(load(folder(family), "fp32", device_map=places(family, *layers, rest=rest)), slots=4)
    whole = HFEngine(load(folder(family), "fp32"), slots=4)
    assert split(there.model.model) != split(whole.model.model)
    assert any(p.is_meta for p in there.model.model.parameters())
    talks = [talk("How do I bake bread?"), talk("Hi")]
    requests = [Request(c, steer) for c in talks for steer in steers()]
    assert there.generate(requests, NEW) == whole.generate(requests, NEW)
    sites = [Site(layer, point) for layer in range(3) for point in there.model.points]
    for one, other in (
        (there.activations(talks, sites).tensors, whole.activations(talks, sites).tensors),
        (there.gradients(talks, sites, lambda x, _: x[:, 3]), whole.gradients(talks, sites, lambda x, _: x[:, 3])),
    ):
        for site in sites:
            for a, b in zip(one[site], other[site], strict=True):
                torch.testing.assert_close(a, b)
    pairs = [(c, answer) for c in talks for answer in (" bread", " bread and", " the sea")]
    assert there.logprobs(pairs) == whole.logprobs(pairs)
    assert there.fingerprint.weights == whole.fingerprint.weights


@pytest.mark.filterwarnings("ignore:.*offload.*")
def test_a_split_model_that_the_user_holds_is_wrapped_and_steered(folder, talk, tmp_path):
    from transformers import AutoModelForCausalLM, AutoTokenizer

    path = folder("llama")
    spread = places("llama", "cpu", "disk", "cpu")
    model: Any = AutoModelForCausalLM.from_pretrained(
        path, device_map=spread, offload_folder=tmp_path, dtype=torch.float32
    )
    words, steer = AutoTokenizer.from_pretrained(path), steers()[5]
    engine, whole = wrap(model, words), HFEngine(load(path, "fp32"))
    assert engine.fingerprint.weights == whole.fingerprint.weights
    (answer,) = engine.generate([Request(talk("Hi"), steer)], NEW)
    assert [answer] == whole.generate([Request(talk("Hi"), steer)], NEW)
    ids = torch.tensor([engine.row(talk("Hi")).tokens])
    with steering(model, steer):
        out = model.generate(input_ids=ids, attention_mask=torch.ones_like(ids), max_new_tokens=8, do_sample=False)
    assert out[0, ids.shape[1] :].tolist()[: len(answer.tokens)] == list(answer.tokens)


@pytest.mark.parametrize("device_map", ["auto", "cpu", {"": "cpu"}])
def test_a_map_that_splits_nothing_is_as_good_as_none(folder, talk, device_map):
    engine = open_engine(folder("llama"), "fp32", device_map=device_map)
    assert engine.generate([Request(talk("Hi"))], NEW) == HFEngine(load(folder("llama"), "fp32")).generate(
        [Request(talk("Hi"))], NEW
    )
    assert input_device(engine.model.model) == torch.device("cpu")


@pytest.mark.filterwarnings("ignore:.*offload.*")
def test_what_is_offloaded_is_deleted_with_the_model(folder, monkeypatch, tmp_path):
    monkeypatch.setattr(placement.tempfile, "tempdir", str(tmp_path))
    loaded = load(folder("llama"), "bf16", device_map=places("llama", "disk", "disk", "disk"))
    assert len(glob.glob(f"{tmp_path}/demur-offload-*")) == 1
    del loaded
    gc.collect()
    assert not os.listdir(tmp_path)


@pytest.mark.parametrize(
    ("device", "device_map", "message"),
    [
        ("cpu", "auto", "device and device_map say both where the model goes; give one of them"),
        ("gpu", None, r"device 'gpu' cannot be used: .* Choose another, as cpu"),
        ("cuda:99", None, r"device 'cuda:99' cannot be used: .* Choose another, as cpu"),
        (None, {"": "xpu:7"}, r"device 'xpu:7' cannot be used: .* Choose another, as cpu"),
        (None, {"model": "cpu", "lm_head": 99}, r"device 99 cannot be used: .* Choose another, as cpu"),
    ],
)
def test_a_device_that_is_not_there_is_refused_before_anything_is_read(tmp_path, device, device_map, message):
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "llama"}))
    with pytest.raises(BadSpec, match=message):
        load(tmp_path, "fp32", device, device_map=device_map)


@pytest.mark.filterwarnings("ignore")
def test_an_adapter_is_merged_in_memory_only(folder, tmp_path):
    peft = pytest.importorskip("peft")
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(folder("llama"), dtype=torch.float32)
    config = peft.LoraConfig(target_modules=["q_proj"], task_type="CAUSAL_LM")
    peft.get_peft_model(model, config).save_pretrained(tmp_path)
    spread = places("llama", "cpu", "disk", "cpu")
    with pytest.raises(BadSpec, match="merged where all weights are in memory; leave disk out of device_map"):
        load(tmp_path, "fp32", device_map=spread)
    assert load(tmp_path, "fp32", device_map={"": "cpu"}).dtype == torch.float32


def test_disk_is_a_place_and_no_device():
    check_placement(None, {"model": "disk", "lm_head": "cpu"})
    check_placement(None, None)


def test_an_edit_at_home_sees_its_own_device_and_answers_on_the_streams():
    seen = []
    edit = at_home(lambda x: seen.append(x.device.type), torch.device("meta"))
    assert edit(torch.zeros(1, 2, 3)) is None
    assert seen == ["meta"]
    moved = at_home(lambda _: torch.ones(3), torch.device("meta"))(torch.zeros(1, 2, 3, device="meta"))
    assert moved is not None
    assert moved.device.type == "meta"
