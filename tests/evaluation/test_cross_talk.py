"""One journal, two engines that differ in one thing: neither is served the other's answers."""

import json
import shutil
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file, save_file

from demur.engines import hf
from demur.engines.base import Request
from demur.engines.hf import HFEngine, wrap
from demur.evaluation.evaluator import answer
from demur.evaluation.items import right_items
from demur.interventions import add
from demur.models import fingerprint
from demur.models.load import load
from demur.runs import Journal
from demur.types import Decoding, Item, Site, SteeringVector

NEW = Decoding(max_new_tokens=3)
ITEMS = [Item(f"i{i}", f"The answer to {i}:", (" yes", " no"), 0, "tests") for i in range(3)]
SWITCHED = (
    "{% for m in messages %}{{ bos_token }}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}{% if enable_thinking %}hm{% endif %}"
)


@pytest.fixture(scope="module")
def saved(build, tmp_path_factory):
    folder = tmp_path_factory.mktemp("saved")
    one = build("llama")
    one.plain.save_pretrained(folder)
    one.loaded.tokenizer.bos_token = "<|im_start|>"
    one.loaded.tokenizer.save_pretrained(folder)
    one.loaded.tokenizer.bos_token = None  # the tokenizer is all tests' own
    (folder / "chat_template.jinja").write_text(SWITCHED)
    return folder


@pytest.fixture
def other(saved, tmp_path):
    """other(change) -> a copy of the folder, changed."""

    def make(change):
        folder = shutil.copytree(saved, tmp_path / "other")
        change(folder)
        return folder

    return make


def edited(name, **changes):
    def change(folder):
        record = json.loads((folder / name).read_text())
        (folder / name).write_text(json.dumps({**record, **changes}))

    return change


def weight(folder):
    tensors = load_file(folder / "model.safetensors")
    tensors["lm_head.weight"][0, 0] += 1e-3
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})


def template(folder):
    (folder / "chat_template.jinja").write_text(SWITCHED + " ")


def rope(folder):
    record = json.loads((folder / "config.json").read_text())
    edited("config.json", rope_parameters={**record["rope_parameters"], "rope_theta": 500.0})(folder)


def merges(folder):
    record = json.loads((folder / "tokenizer.json").read_text())
    edited("tokenizer.json", model={**record["model"], "merges": record["model"]["merges"][:-1]})(folder)


FOLDERS = {
    "weights": weight,
    "config": edited("config.json", rms_norm_eps=1e-3),
    "rope": rope,
    "generation config's end token": edited("generation_config.json", eos_token_id=[2, 77]),
    "tokenizer's end token": edited("tokenizer_config.json", eos_token="<|im_start|>"),
    "tokenizer's first token": edited("tokenizer_config.json", bos_token="<|pad|>"),
    "tokenizer's merges": merges,
    "template": template,
}


@pytest.fixture
def hits(tmp_path, talk):
    """hits(first, second) -> how many of the second engine's answers and scores the first one's journal had."""
    requests = [Request(talk(text)) for text in ("Hi", "How do I bake bread?", "Name a river.")]

    def run(engine, journal):
        before, scored, real = engine.answered, [], engine.logprobs
        engine.logprobs = lambda pairs, *more: scored.extend(pairs) or real(pairs, *more)
        answer(engine, requests, NEW, journal)
        right_items(engine, ITEMS, None, journal, 8)
        engine.logprobs = real
        return engine.answered - before, len(scored)

    def count(first, second):
        with Journal(tmp_path / "journal.sqlite") as journal:
            assert run(first, journal) == (3, 6)
            assert run(first, journal) == (0, 0)
            answers, scores = run(second, journal)
            assert run(first, journal) == run(second, journal) == (0, 0)
        return 3 - answers, 6 - scores

    return count


def test_one_and_the_same_engine_is_served_its_own(saved, hits):
    assert hits(HFEngine(saved, "fp32"), HFEngine(saved, "fp32")) == (3, 6)


@pytest.mark.parametrize("what", FOLDERS)
def test_folders_that_differ_in_one_thing_share_nothing(saved, other, hits, what):
    assert hits(HFEngine(saved, "fp32"), HFEngine(other(FOLDERS[what]), "fp32")) == (0, 0)


@pytest.mark.parametrize(
    "options", [{"thinking": True}, {"thinking": False}, {"chat_template": SWITCHED + "\n\n"}, {"dtype": "bf16"}]
)
def test_ways_of_loading_share_nothing(saved, hits, options):
    assert hits(hf.load(saved, "fp32"), hf.load(saved, **{"dtype": "fp32", **options})) == (0, 0)


def ends(model):
    model.generation_config.eos_token_id = [2, 77]


def bases(model):
    model.config.rope_parameters = {**model.config.rope_parameters, "rope_theta": 500.0}


def frequencies(model):
    model.model.rotary_emb.inv_freq *= 0.5


def another_class(model):
    class Other(type(model.model.norm)):
        pass

    model.model.norm.__class__ = Other


@pytest.mark.parametrize("change", [ends, bases, frequencies, another_class])
def test_models_in_memory_that_differ_in_one_thing_share_nothing(saved, hits, change):
    from transformers import AutoModelForCausalLM, AutoTokenizer

    first, second = (AutoModelForCausalLM.from_pretrained(saved, dtype=torch.float32).eval() for _ in range(2))
    words = AutoTokenizer.from_pretrained(saved)
    change(second)
    assert hits(wrap(first, words), wrap(second, words)) == (0, 0)


def test_another_processor_shares_nothing(saved, hits, monkeypatch):
    first, second = HFEngine(saved, "fp32"), HFEngine(saved, "fp32")
    real = hf.device_of
    monkeypatch.setattr(hf, "device_of", lambda model: "other" if model is second.model.model else real(model))
    assert hits(first, second) == (0, 0)


@pytest.mark.parametrize("library", ["torch", "transformers", "tokenizers"])
def test_other_versions_of_a_library_share_nothing(saved, hits, monkeypatch, library):
    first, real = HFEngine(saved, "fp32"), fingerprint.version
    monkeypatch.setattr(fingerprint, "version", lambda name: "99" if name == library else real(name))
    assert hits(first, HFEngine(saved, "fp32")) == (0, 0)


def test_products_of_less_precision_share_nothing(saved, hits):
    first = HFEngine(saved, "fp32")
    try:
        torch.set_float32_matmul_precision("medium")
        second = HFEngine(saved, "fp32")
    finally:
        torch.set_float32_matmul_precision("highest")
    assert "medium precision" in second.fingerprint.software
    assert hits(first, second) == (0, 0)


def test_decoding_batches_share_nothing_in_bf16_and_all_in_fp32(saved, tmp_path, talk):
    requests = [Request(talk(text)) for text in ("Hi", "How do I bake bread?")]
    for dtype, fresh in (("fp32", 0), ("bf16", 2)):
        with Journal(tmp_path / f"{dtype}.sqlite") as journal:
            answer(HFEngine(saved, dtype), requests, NEW, journal)
            fewer = HFEngine(saved, dtype, slots=48)
            answer(fewer, requests, NEW, journal)
            assert fewer.answered == fresh


def test_in_bf16_answers_made_with_fewer_rows_after_memory_ran_out_are_kept_as_such(saved, tmp_path, talk, monkeypatch):
    requests, real = [Request(talk(text)) for text in ("Hi", "How do I bake bread?")], hf.decoded

    def tight(model, rows, decoding, slots, progress):
        if slots > 24:
            raise MemoryError
        return real(model, rows, decoding, slots, progress)

    engine, path = HFEngine(saved, "bf16"), tmp_path / "journal.sqlite"
    with Journal(path) as journal, monkeypatch.context() as patch:
        patch.setattr(hf, "decoded", tight)
        made = answer(engine, requests, NEW, journal)
        assert engine.slots == 24
        assert answer(engine, requests, NEW, journal) == made
    with Journal(path) as journal:
        for slots, fresh in ((24, 0), (96, 2)):
            again = HFEngine(saved, "bf16", slots=slots)
            answer(again, requests, NEW, journal)
            assert again.answered == fresh


def steered(site=1, dose=1.0, scale=1.0):
    return add(SteeringVector({Site(site): scale * torch.linspace(-1, 1, 32)}), dose)


SENT = {
    "text": lambda talk: Request(talk("Hello")),
    "system": lambda talk: Request(talk("Hi", system="Be brief.")),
    "prefill": lambda talk: Request(talk("Hi", prefill="Well")),
    "steering": lambda talk: Request(talk("Hi"), steered()),
    "site": lambda talk: Request(talk("Hi"), steered(site=2)),
    "dose": lambda talk: Request(talk("Hi"), steered(dose=1.5)),
    "vector": lambda talk: Request(talk("Hi"), steered(scale=1.01)),
}
DECODED = [
    Decoding(max_new_tokens=4),
    Decoding(max_new_tokens=3, stop=("a",)),
    Decoding(max_new_tokens=3, ignore_eos=True),
    Decoding(max_new_tokens=3, temperature=0.5),
    Decoding(max_new_tokens=3, temperature=0.5, seed=1),
    Decoding(max_new_tokens=3, temperature=0.5, top_p=0.5),
    Decoding(max_new_tokens=3, temperature=0.6),
]


def test_what_is_sent_and_how_it_is_answered_share_nothing(saved, tmp_path, talk):
    engine = HFEngine(load(saved, "fp32"))
    with Journal(tmp_path / "journal.sqlite") as journal:
        for asked in (Request(talk("Hi")), *(make(talk) for make in SENT.values())):
            before = engine.answered
            answer(engine, [asked], NEW, journal)
            assert engine.answered == before + 1
        for decoding in DECODED:
            before = engine.answered
            answer(engine, [replace(Request(talk("Hi")))], decoding, journal)
            assert engine.answered == before + 1
