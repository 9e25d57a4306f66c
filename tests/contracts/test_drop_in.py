"""Contract: `steering` around a model's own `generate` gives the tokens that the engine gives (fp32)."""

import copy

import pytest
import torch

from demur.directions.artifact import save_vector
from demur.engines.base import Request
from demur.engines.rows import row_of
from demur.errors import BadVector, InputError, UnknownName
from demur.interventions import ablate, add, at, chain, patch
from demur.models.hooks import registered
from demur.models.steering import steering
from demur.types import Decoding, Direction, Site, SteeringVector

V = torch.randn(32, generator=torch.Generator().manual_seed(0))
ADD = add(SteeringVector({Site(1): V}), 0.6)
TEXTS = ("How do I bake bread with yeast?", "Hi", "What is the capital of France?")
NEW = 10


def left_padded(rows):
    longest = max(len(row) for row in rows)
    return {
        "input_ids": torch.tensor([[0] * (longest - len(row)) + list(row) for row in rows]),
        "attention_mask": torch.tensor([[0] * (longest - len(row)) + [1] * len(row) for row in rows]),
    }


def ended(tokens, ends):
    stop = next((i for i, token in enumerate(tokens) if token in ends), len(tokens))
    return tokens[: stop + 1]


def said(model, inputs, **options):
    out = model.generate(**inputs, **{"max_new_tokens": NEW, "do_sample": False, **options})
    new = out[:, inputs["input_ids"].shape[1] :].tolist()
    return [ended(row, model.generation_config.eos_token_id) for row in new]


@pytest.fixture
def inputs(tiny, talk):
    """inputs(family) -> the templated texts, left-padded."""
    return lambda family: left_padded([row_of(tiny(family).loaded, talk(text)).tokens for text in TEXTS])


@pytest.mark.parametrize("options", [{}, {"use_cache": False}], ids=["cached", "uncached"])
def test_one_left_padded_batch_with_an_intervention_a_row_gives_every_arms_tokens(world, model_family, options):
    w = world(model_family)
    rows = [row_of(w.tiny.loaded, r.conversation) for r in w.requests]
    before = registered(w.tiny.plain)
    with steering(w.tiny.plain, [r.intervention for r in w.requests], [row.prompt_length for row in rows]):
        found = said(w.tiny.plain, left_padded([row.tokens for row in rows]), **options)
    assert registered(w.tiny.plain) == before
    wrong = [f"{r.conversation.prompt.id}/{r.arm}" for r, a, b in zip(w.requests, found, w.expected, strict=True)
             if a != b]  # fmt: skip
    assert not wrong


@pytest.mark.parametrize("name", ["add", "ablate", "add at from-last", "chain", "nested", "patch", "clamp"])
def test_one_intervention_for_all_finds_each_rows_prompt_by_itself(tiny, talk, arms_of, inputs, model_family, name):
    one = tiny(model_family)
    steer = arms_of(one.loaded)[name].intervention
    expected = [list(a.tokens) for a in one.engine.generate([Request(talk(t), steer) for t in TEXTS], Decoding(NEW))]
    plain = said(one.plain, inputs(model_family))
    with steering(one.plain, steer):
        assert said(one.plain, inputs(model_family)) == expected
        assert said(one.plain, inputs(model_family), prefill_chunk_size=5) == expected
    assert expected != plain == said(one.plain, inputs(model_family))
    assert "generate" not in one.plain.__dict__


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
def test_a_loaded_models_own_attention_gives_the_engines_tokens_between_the_engines_passes(build, talk, attention):
    one = build("qwen2")
    model, requests = one.loaded.model, [Request(talk(text), at("from-last", ADD)) for text in TEXTS]
    model.set_attn_implementation(attention)
    batch = left_padded([row_of(one.loaded, talk(text)).tokens for text in TEXTS])
    plain = said(model, batch)
    expected = [list(a.tokens) for a in one.engine.generate(requests, Decoding(NEW))]
    with steering(model, at("from-last", ADD)):
        assert said(model, batch) == expected
    assert [list(a.tokens) for a in one.engine.generate(requests, Decoding(NEW))] == expected
    assert said(model, batch) == plain
    assert model.config._attn_implementation == attention


def test_a_sample_is_the_engines_own_with_its_seed(tiny, talk):
    one, c = tiny("llama"), talk("How do I bake bread?")
    steer = at("generated", ADD)
    decoding = Decoding(NEW, temperature=0.9, seed=3)
    (expected,) = one.engine.generate([Request(c, steer, seed=5)], decoding)
    batch = left_padded([row_of(one.loaded, c).tokens])
    with steering(one.plain, steer):
        torch.manual_seed(3 * 1_000_003 + 5)
        found = said(one.plain, batch, do_sample=True, temperature=0.9, top_k=0)
    assert found == [list(expected.tokens)]


def test_return_sequences_and_beams_follow_their_own_row(tiny, inputs):
    """A row's first beam and all its samples are under its own intervention."""
    model, batch = tiny("llama").plain, inputs("llama")
    steers = [None, at("from-last", ADD), chain(ADD, at("generated", ADD))]
    alone = []
    for i, steer in enumerate(steers):
        row = {name: value[i : i + 1, -int(batch["attention_mask"][i].sum()) :] for name, value in batch.items()}
        with steering(model, steer or chain()):
            alone += said(model, row, num_beams=3, num_return_sequences=2)
    with steering(model, steers):
        assert said(model, batch, num_beams=3, num_return_sequences=2) == alone
        several = said(model, batch, do_sample=True, temperature=1e-4, num_return_sequences=2)
        greedy = said(model, batch)
    assert several == [row for row in greedy for _ in range(2)]


@pytest.mark.parametrize("side", ["left", "right"])
def test_a_plain_forward_takes_positions_from_the_mask_whichever_side_is_padded(tiny, talk, side):
    one = tiny("gpt2")
    rows = [row_of(one.loaded, talk(text)).tokens for text in TEXTS]
    longest = max(map(len, rows))
    steer = chain(at("last", ADD, 3), at("after-first", ADD), patch({Site(1): torch.stack([V, -V])}))
    ids, mask = torch.zeros(3, longest, dtype=torch.long), torch.zeros(3, longest, dtype=torch.long)
    places = [slice(longest - len(row), None) if side == "left" else slice(0, len(row)) for row in rows]
    for i, (row, place) in enumerate(zip(rows, places, strict=True)):
        ids[i, place], mask[i, place] = torch.tensor(row), 1
    positions = (mask.cumsum(-1) - 1).clamp(min=0)
    with torch.no_grad(), steering(one.plain, steer):
        found = one.plain(input_ids=ids, attention_mask=mask, position_ids=positions).logits
        for i, row in enumerate(rows):
            alone = one.plain(input_ids=torch.tensor([row])).logits[0]
            torch.testing.assert_close(found[i, places[i]], alone, rtol=1e-4, atol=1e-4)


def test_prompt_lengths_place_a_plain_forward(tiny, talk):
    one, c = tiny("llama"), talk("How do I bake bread?")
    row = one.engine.row(c, "take flour and water")
    steer = at("generated", ADD)
    (expected,) = one.engine.row_logprobs([row], steer)
    ids = torch.tensor([row.tokens])
    with torch.no_grad(), steering(one.plain, steer, row.prompt_length):
        logp = one.plain(input_ids=ids).logits[0, :-1].log_softmax(-1).gather(1, ids[0, 1:, None])[:, 0]
    torch.testing.assert_close(logp, torch.tensor(expected.logprobs), rtol=1e-4, atol=1e-4)


def test_gradients_flow_through_a_training_step(build):
    one = build("llama")
    model, ids = copy.deepcopy(one.plain).requires_grad_().train(), torch.tensor([[5, 6, 7, 8, 9]])
    with steering(model, ADD):
        steered = model(input_ids=ids, labels=ids).loss
        steered.backward()
    grad = model.base_model.layers[0].mlp.down_proj.weight.grad.clone()
    model.zero_grad()
    handle = model.base_model.layers[1].register_forward_pre_hook(lambda _, args: (args[0] + 0.6 * V, *args[1:]))
    by_hand = model(input_ids=ids, labels=ids).loss
    by_hand.backward()
    handle.remove()
    torch.testing.assert_close(steered, by_hand)
    torch.testing.assert_close(grad, model.base_model.layers[0].mlp.down_proj.weight.grad)
    model.gradient_checkpointing_enable()
    with steering(model, ADD), pytest.raises(InputError, match="gradient checkpointing runs blocks again"):
        model(input_ids=ids, labels=ids)


def test_nested_contexts_are_a_chain_and_leave_one_by_one(tiny, inputs):
    model, batch = tiny("gemma2").plain, inputs("gemma2")
    before = registered(model)  # transformers keeps some of its own
    unit = ablate(Direction(V / V.norm(), Site(1, "attn_out"), 1.0), [Site(1, "attn_out")])
    mid = at("from-last", add(SteeringVector({Site(1, "mid"): V}), 2.0))
    plain = said(model, batch)
    with steering(model, chain(mid, unit)):
        both = said(model, batch)
    with steering(model, mid):
        alone = said(model, batch)
        with steering(model, unit):
            assert said(model, batch) == both
        assert said(model, batch) == alone
    assert said(model, batch) == plain
    assert registered(model) == before


def test_hooks_are_gone_after_an_exception(tiny, inputs):
    model, batch = tiny("llama").plain, inputs("llama")
    before = registered(model)  # transformers keeps some of its own
    plain = said(model, batch)
    with pytest.raises(ZeroDivisionError), steering(model, ADD):
        said(model, batch)
        raise ZeroDivisionError
    with pytest.raises(IndexError), steering(model, ADD):
        model.generate(input_ids=torch.tensor([[10**6]]), max_new_tokens=2)
    assert registered(model) == before
    assert "generate" not in model.__dict__
    assert said(model, batch) == plain


def test_what_cannot_be_right_is_refused_and_what_needs_no_positions_runs(tiny, inputs):
    model, batch = tiny("gemma3_text").plain, inputs("gemma3_text")
    ids, late = batch["input_ids"], at("from-last", ADD)
    square = torch.zeros(3, 1, ids.shape[1], ids.shape[1])
    with torch.no_grad():
        with steering(model, late):
            with pytest.raises(InputError, match="3 rows and no attention mask; give attention_mask"):
                model(input_ids=ids)
            with pytest.raises(InputError, match=r"attention mask has shape \[3, 1, .*or position_ids"):
                model(input_ids=ids, attention_mask=square)
            with pytest.raises(InputError, match="padded on the right.*pad on the left"):
                said(model, {"input_ids": ids.flip(1), "attention_mask": batch["attention_mask"].flip(1)})
            with pytest.raises(InputError, match="guidance_scale runs other prompts"):
                said(model, batch, guidance_scale=1.5)
            both = {"full_attention": square, "sliding_attention": square}
            with pytest.raises(InputError, match="the attention mask is a dict"):
                model(input_ids=ids, attention_mask=both)
            model(input_ids=ids[:1])
        with steering(model, ADD):
            model(input_ids=ids)
            model(input_ids=ids, attention_mask=square)
        with steering(model, [ADD, None]):
            with pytest.raises(InputError, match="2 interventions for 3 rows; give one for each, or one for all"):
                said(model, batch)
            with pytest.raises(InputError, match="2 interventions for 3 rows"):
                model(**batch)
        with steering(model, late, [3, 4]), pytest.raises(InputError, match="2 prompt lengths for 3 rows"):
            model(**batch)


def test_what_does_not_fit_the_model_is_refused_before_anything_runs(tiny):
    model = tiny("llama").plain
    before = registered(model)  # transformers keeps some of its own
    for wrong, error, match in (
        (add(SteeringVector({Site(9): V}), 1.0), UnknownName, "no layer 9; known: 0 to 2"),
        (add(SteeringVector({Site(1): torch.ones(31)}), 1.0), BadVector, "whose width is 32"),
    ):
        with pytest.raises(error, match=match), steering(model, wrong):
            pass
    with pytest.raises(InputError, match="no transformers model; give an AutoModelForCausalLM"), steering("gpt2", ADD):
        pass
    other = copy.deepcopy(tiny("gpt2").plain)
    other.config.model_type = "opt"
    with pytest.raises(UnknownName, match="no model family named 'opt'"), steering(other, ADD):
        pass
    assert registered(model) == before


def test_the_engine_is_not_steered_by_accident(build, talk):
    one = build("llama")
    with steering(one.loaded.model, ADD), pytest.raises(InputError, match="give the engine the intervention"):
        one.engine.last_logits([talk("Hi")])
    assert one.engine.last_logits([talk("Hi")]).shape[0] == 1


def test_a_pipeline_is_steered(tiny):
    from transformers import pipeline

    one = tiny("llama")
    batch = left_padded([one.loaded.tokenizer("How do I bake")["input_ids"]])
    with steering(one.plain, at("from-last", ADD)):
        expected = one.loaded.tokenizer.decode(said(one.plain, batch)[0], skip_special_tokens=True)
        run = pipeline("text-generation", model=one.plain, tokenizer=one.loaded.tokenizer)
        (found,) = run("How do I bake", max_new_tokens=NEW, do_sample=False, return_full_text=False)
    assert found["generated_text"] == expected


@pytest.mark.unchecked
def test_a_line_of_steering_is_one_for_all_rows_or_stands_in_its_row(tiny, inputs, tmp_path):
    model, batch = tiny("llama").plain, inputs("llama")
    line = f"add:{save_vector(SteeringVector({Site(1): V}), tmp_path / 'v.safetensors')}:0.6"
    with steering(model, line):
        everywhere = said(model, batch)
    with steering(model, ADD):
        assert said(model, batch) == everywhere
    with steering(model, [None, line, ADD]):
        mixed = said(model, batch)
    with steering(model, [None, ADD, ADD]):
        assert said(model, batch) == mixed
    for given in (Direction(V / V.norm(), Site(1), 1.0), [None, Direction(V / V.norm(), Site(1), 1.0), None]):
        with pytest.raises(InputError, match=r"a Direction alone .* demur\.add"), steering(model, given):  # pyright: ignore
            pass
