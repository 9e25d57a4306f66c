"""Contract: inputs are untouched, hooks are gone after a failure, and no number that is not finite is scored."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import pytest
import torch

from demur.engines import decode
from demur.engines.base import Request
from demur.errors import NonFinite, OutOfRoom
from demur.evaluation.items import score_items
from demur.fitting.openings import opening_logprobs
from demur.interventions import Context, Intervention, add, at, chain
from demur.interventions.affine import Add
from demur.models.hooks import registered
from demur.types import Decoding, Item, Prompt, Site, SteeringVector

NEW = Decoding(max_new_tokens=4)


def test_an_edit_leaves_its_input_untouched(tiny, arms_of):
    loaded = tiny("llama").loaded
    context = Context(torch.arange(7)[None].expand(2, -1), torch.tensor([[4], [7]]))
    for name, arm in arms_of(loaded).items():
        if arm.intervention is None:
            continue
        intervention = arm.intervention.bind(loaded.n_layers)
        for site in intervention.sites:
            x = torch.randn(2, 7, loaded.d_model)
            before = x.clone()
            new = intervention.edit(x, site, context)
            assert x.equal(before), name
            assert new.shape == x.shape


@dataclass(frozen=True, eq=False)
class Breaks(Intervention):
    """Fails at a site, on the pass chosen."""

    site: Site
    calls: list[int]
    reaches: str = "all"
    after: int = 0

    @cached_property
    def reach(self):
        return self.reaches

    def edit(self, resid: Any, site: Site, context: Context):
        if resid.shape[1] == 1 and resid.shape[0] == 1 and not len(self.calls) and context.positions[0, 0] == 0:
            return resid  # the engine's own check of the width
        self.calls.append(resid.shape[1])
        if len(self.calls) > self.after:
            raise RuntimeError("the edit broke")
        return resid + 0

    def shape(self):
        return ("breaks", id(self))


@pytest.mark.parametrize("reach", ["all", "last", "generated"])
@pytest.mark.parametrize("after", [0, 2])
def test_hooks_are_gone_and_blocks_are_back_after_an_edit_that_fails(tiny, talk, reach, after):
    one = tiny("llama")
    blocks = list(one.loaded.blocks)
    before = one.engine.generate([Request(talk("Hi"))], NEW)
    breaks = Breaks(Site(2, "attn_out"), [], reach, after)
    requests = [Request(talk("Hi"), at("all", breaks)) for _ in range(2)] + [Request(talk("Hi"), breaks)]
    with pytest.raises(RuntimeError, match="the edit broke"):
        one.engine.generate(requests, NEW)
    assert registered(one.loaded.model) == 0
    assert list(one.loaded.blocks) == blocks
    assert one.engine.generate([Request(talk("Hi"))], NEW) == before


def test_hooks_are_gone_after_every_kind_of_call_and_failure(tiny, talk):
    one, c = tiny("gemma2"), talk("Hi")
    engine = one.engine
    engine.activations([c], [Site(0, "post"), Site(1, "mid")])
    engine.gradients([c], [Site(0, "mid")], lambda logits, _: logits[:, 3])
    assert registered(one.loaded.model) == 0

    def metric(logits, index):
        raise ZeroDivisionError

    for error, run in (
        (RuntimeError, lambda: engine.last_logits([c], Breaks(Site(1), []))),
        (RuntimeError, lambda: engine.logprobs([(c, "a b")] * 4, Breaks(Site(1), []))),
        (ZeroDivisionError, lambda: engine.gradients([c], [Site(0)], metric)),
    ):
        with pytest.raises(error):
            run()
        assert registered(one.loaded.model) == 0
        assert all(p.grad is None for p in one.loaded.model.parameters())


def every_call(engine, talks, steer):
    item = Item("item-1", "the capital of", ("France", "the sea", "bread"), 0, "tests")
    return [
        lambda: engine.generate([Request(c, steer) for c in talks], NEW),
        lambda: engine.generate([Request(c, steer) for c in talks], Decoding(4, temperature=1.0)),
        lambda: engine.logprobs([(c, "bread and flour") for c in talks], steer),
        lambda: score_items(engine, [item], steer),
        lambda: engine.last_logits(talks, steer),
        lambda: opening_logprobs(engine, talks, [(5, 6), (7,), (8, 9)], steer),
    ]


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 1e30])
def test_a_vector_that_is_not_finite_or_overflows_names_layer_and_prompt(tiny, talk, model_family, value):
    """1e30 is finite, but its square is not: a norm would turn it into zeros, and logits would look fine."""
    engine = tiny(model_family).engine
    steer = Add({Site(1, "attn_out"): torch.full((32,), value)})  # `add` itself refuses NaN
    for run in every_call(engine, [talk("Hi there", id="bad one")], steer):
        with pytest.raises(NonFinite, match=r"layer 1 .*(bad one|the capital of)"):
            run()


@pytest.mark.parametrize("where", ["prompt", "last", "from-last", "generated", "all", "after-first"])
@pytest.mark.parametrize("prefill", ["", "I'm sorry, but"])
def test_an_overflow_anywhere_in_the_sequence_is_found(tiny, talk, where, prefill):
    engine = tiny("llama").engine
    huge = at(where, add(SteeringVector({Site(2, "post"): torch.ones(32)}), 1e30))
    c = talk("How do I bake bread?", prefill=prefill, id="the bread")
    fine = Request(talk("How do I bake bread?", prefill=prefill))
    ask = Decoding(max_new_tokens=4, ignore_eos=True)
    for requests in ([Request(c, huge)], [Request(c, huge), fine], [Request(c, chain(huge)), fine, fine, fine]):
        with pytest.raises(NonFinite, match=r"layer 2 on prompt 'the bread'"):
            engine.generate(requests, ask)


@pytest.mark.parametrize(("value", "layer"), [(float("nan"), 0), (float("nan"), 2), (float("inf"), 1)])
def test_weights_that_are_not_finite_name_the_layer_and_never_generate(build, talk, value, layer):
    one = build("llama")
    with torch.no_grad():
        one.loaded.blocks[layer].mlp.down_proj.weight[3, 4] = value
    talks = [talk("Hi there", id="first"), talk("How do I bake bread?", id="second")]
    for run in every_call(one.engine, talks, None):
        with pytest.raises(NonFinite, match=rf"layer {layer} .*(first|second|the capital of)"):
            run()
    with pytest.raises(NonFinite, match=rf"layer {layer} .*(first|second)"):
        one.engine.activations(talks, [Site(layer, "post")])


def test_a_broken_output_head_is_named(build, talk):
    one = build("llama")
    with torch.no_grad():
        one.loaded.model.lm_head.weight[0, 0] = float("nan")
    with pytest.raises(NonFinite, match="in the output head on prompt 'first'"):
        one.engine.generate([Request(talk("Hi", id="first"))], NEW)


def test_when_memory_runs_out_the_batch_halves_down_to_one_row(tiny, talk, monkeypatch):
    tried = []

    class Hungry:
        def __init__(self, model, decoding, slots):
            tried.append(slots)
            self.inner, self.room = real(model, decoding, slots), slots <= room[0]

        def run(self, rows, progress=None):
            if not self.room:
                raise errors[len(tried) % len(errors)]
            return self.inner.run(rows, progress)

    errors = [
        MemoryError(),
        torch.OutOfMemoryError("CUDA out of memory"),
        RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory"),
    ]
    real, room = decode.Decoder, [4]
    monkeypatch.setattr(decode, "Decoder", Hungry)
    engine, requests = tiny("llama").engine, [Request(talk(f"Hi {i}")) for i in range(6)]
    answers = engine.generate(requests, NEW)
    assert tried == [32, 16, 8, 4]
    assert [len(a.tokens) > 0 for a in answers] == [True] * 6
    room[0] = 0
    with pytest.raises(OutOfRoom, match="single prompt"):
        engine.generate(requests, NEW)


def test_another_runtime_error_is_not_taken_for_a_lack_of_memory(tiny, monkeypatch):
    class Fails:
        def __init__(self, *_):
            pass

        def run(self, *_):
            raise RuntimeError("shapes")

    monkeypatch.setattr(decode, "Decoder", Fails)
    from demur.types import Conversation, Message

    c = Conversation(Prompt("p", "Hi", "tests"), (Message("user", "Hi"),))
    with pytest.raises(RuntimeError, match="shapes"):
        tiny("llama").engine.generate([Request(c)], NEW)
