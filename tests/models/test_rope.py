"""No row's numbers depend on its neighbours' lengths, whatever makes its positions and bounds what it sees."""

import pytest
import torch

from demur.engines.base import Request
from demur.engines.hf import HFEngine
from demur.engines.rows import row_of
from demur.errors import InputError
from demur.interventions import add, at
from demur.models.forward import forward
from demur.models.hooks import registered
from demur.models.rope import longest_row, regimes, switch_length
from demur.types import Decoding, Site, SteeringVector

SWITCH = 64
LONG = {
    "rope_type": "longrope",
    "short_factor": [1.0, 1.5, 2.0, 3.0],
    "long_factor": [4.0, 9.0, 20.0, 50.0],
    "original_max_position_embeddings": SWITCH,
    "rope_theta": 1e4,
}
KINDS = {
    "linear": ("llama", {"rope_type": "linear", "rope_theta": 1e4, "factor": 4.0}),
    "dynamic": ("llama", {"rope_type": "dynamic", "rope_theta": 1e4, "factor": 4.0}),
    "yarn": ("qwen2", {"rope_type": "yarn", "rope_theta": 1e4, "factor": 4.0, "original_max_position_embeddings": 64}),
    "llama3": (
        "llama",
        {
            **{"rope_type": "llama3", "rope_theta": 1e4, "factor": 4.0, "original_max_position_embeddings": 64},
            **{"low_freq_factor": 1.0, "high_freq_factor": 4.0},
        },
    ),
    "longrope": ("phi3", LONG),
    "longrope, no window": ("llama", LONG),
    "a rope a kind of layer": (
        "gemma3_text",
        {
            "full_attention": {"rope_type": "linear", "rope_theta": 1e6, "factor": 8.0},
            "sliding_attention": {"rope_type": "default", "rope_theta": 1e4},
        },
    ),
    "chunks": ("llama4_text", None),
    "windows": ("gpt_oss", None),
}
WORDS = (0, 30, 4, 18, 50)
"""How many more words each prompt has: some rows end before the switch length, and some lie behind it."""
NEW = 6


def changes(family, rope=LONG):
    more = {"original_max_position_embeddings": SWITCH} if family == "phi3" else {}
    return {"rope_parameters": rope, **more} if rope else {}


@pytest.fixture(scope="module", params=KINDS)
def one(request, build):
    family, rope = KINDS[request.param]
    return build(family, **changes(family, rope))


@pytest.fixture(scope="module")
def talks(talk):
    return [talk("How do I bake bread?" + " the sea and" * n, id=f"{n} words") for n in WORDS]


def test_the_prompts_lie_on_both_sides_of_the_switch(build, talks):
    lengths = [len(row_of(build("llama").loaded, c).tokens) for c in talks]
    assert min(lengths) + NEW < SWITCH < max(lengths)
    assert not any(n <= SWITCH < n + NEW for n in lengths)


def test_rows_answer_alone_and_together_as_in_transformers_generate(one, talks):
    rows = [row_of(one.loaded, c).tokens for c in talks]
    expected = []
    for row in rows:
        ids = torch.tensor([row])
        out = one.plain.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=NEW, do_sample=False)
        expected.append(out[0, len(row) :].tolist())
    vector = SteeringVector({Site(1): torch.linspace(-1, 1, 32)})
    requests = [Request(c, steer) for steer in (None, at("generated", add(vector, 1e-9))) for c in talks]
    for slots in (1, 3, 32):
        found = [list(a.tokens) for a in HFEngine(one.loaded, slots=slots).generate(requests, Decoding(NEW))]
        assert found == expected * 2
    assert registered(one.loaded.model) == 0


def test_what_is_read_scored_and_derived_of_a_row_is_its_own(one, talks):
    engine, sites = one.engine, [Site(2), Site(1, "attn_out")]
    pairs = [(c, answer) for c in talks for answer in (" bread and", " bread with yeast", " the sea")]
    scored = engine.logprobs(pairs)
    logits, streams = engine.last_logits(talks), engine.activations(talks, sites)
    slopes = engine.gradients(talks, sites, lambda x, _: x[:, 3])
    for i, c in enumerate(talks):
        row = torch.tensor([row_of(one.loaded, c).tokens])
        with torch.no_grad():
            torch.testing.assert_close(logits[i], one.plain(row).logits[0, -1], rtol=1e-3, atol=1e-4)
        alone, slope = engine.activations([c], sites), engine.gradients([c], sites, lambda x, _: x[:, 3])
        for site in sites:
            n = row.shape[1]
            torch.testing.assert_close(streams.tensors[site][i, :n], alone.tensors[site][0], rtol=1e-3, atol=1e-4)
            torch.testing.assert_close(slopes[site][i], slope[site][0], rtol=1e-3, atol=1e-4)
    for (c, answer), found in zip(pairs, scored, strict=True):
        tokens = [*row_of(one.loaded, c).tokens, *engine.encode(answer)]
        with torch.no_grad():
            logp = one.plain(torch.tensor([tokens[:-1]])).logits[0].log_softmax(-1)
        own = [float(logp[at - 1, tokens[at]]) for at in range(len(row_of(one.loaded, c).tokens), len(tokens))]
        assert found.logprobs == pytest.approx(own, abs=1e-3)


def test_a_row_that_would_pass_the_switch_while_it_answers_is_refused(build, talk):
    one = build("phi3", **changes("phi3"))
    c = talk("How do I bake bread?" + " the sea and" * 4, id="near")
    n = len(row_of(one.loaded, c).tokens)
    with pytest.raises(InputError, match=rf"'near' has {n} tokens; with 90 new ones it passes 64, from where .* rope"):
        one.engine.generate([Request(c)], Decoding(90))


def test_short_and_long_factors_are_not_the_same_here(build):
    one, ids = build("phi3", **changes("phi3")), torch.arange(20, 40)[None]
    ((short, _),) = regimes(one.loaded, [20])
    ((long, _),) = regimes(one.loaded, [99])
    with torch.no_grad():
        a, b = forward(short, ids), forward(long, ids)
    assert a is not None
    assert b is not None
    assert not torch.allclose(a, b, atol=1e-2)
    assert switch_length(one.loaded.config) == SWITCH


def test_the_longest_row_is_where_positions_stay_right(build):
    one = build("llama4_text", floor_scale=50)
    assert longest_row(one.loaded.config) == 49
    assert longest_row(build("llama4_text", attn_temperature_tuning=False).loaded.config) == 256
    with pytest.raises(InputError, match="passes this model's 49"):
        one.engine.logprobs([("the sea and " * 40, "bread")])
