import pytest
import torch

from demur.engines.reading import text_rows
from demur.features.look import look
from demur.saes import SAE, encode
from demur.types import Direction, Site

SITE = Site(1, "post")
TEXT = "How do I bake bread with yeast, flour and warm water?\nWrite a short poem about the sea.\n" * 12


@pytest.fixture
def sae():
    generator = torch.Generator().manual_seed(0)
    weights = {"W_enc": torch.randn(32, 40, generator=generator), "W_dec": torch.randn(40, 32, generator=generator),
               "b_enc": torch.full((40,), -4.0), "b_dec": torch.zeros(32)}  # fmt: skip
    return SAE("relu", weights, SITE)


def test_density_and_largest_are_those_of_all_tokens_but_the_first(tiny, sae):
    engine = tiny("llama").engine
    rows = text_rows(engine, TEXT, "a text", 24)
    states = [tiny("llama").plain(input_ids=torch.tensor([r.tokens]), output_hidden_states=True).hidden_states[2][0, 1:]
              for r in rows]  # fmt: skip
    active = encode(sae, torch.cat(states))
    for index, seen in zip((0, 7), look(engine, sae, [0, 7], rows), strict=True):
        assert seen.index == index
        assert seen.density == pytest.approx(float((active[:, index] > 0).float().mean()), abs=1e-3)
        assert seen.largest == pytest.approx(float(active[:, index].max()), rel=1e-3)


def test_each_context_stands_around_its_peak(tiny, sae):
    engine = tiny("llama").engine
    seen = look(engine, sae, [3], text_rows(engine, TEXT, "a text", 24), contexts=3)[0]
    peaks = [max(passage.activations) for passage in seen.contexts]
    assert peaks == sorted(peaks, reverse=True)
    assert peaks[0] == seen.largest
    assert all(len(p.tokens) == len(p.activations) for p in seen.contexts)


def test_the_lens_is_the_models_own_norm_and_head(tiny, model_family):
    one = tiny(model_family)
    vectors = torch.randn(3, 32, generator=torch.Generator().manual_seed(0))
    ids = torch.tensor([[5, 6, 7]])
    handle = one.plain.get_submodule(one.loaded.family.blocks)[-1].register_forward_hook(
        lambda _m, _i, out: (vectors[None], *out[1:]) if isinstance(out, tuple) else vectors[None]
    )
    with torch.no_grad():
        wanted = one.plain(input_ids=ids).logits[0]
    handle.remove()
    torch.testing.assert_close(one.engine.lens(vectors), wanted, rtol=1e-4, atol=1e-4)


def test_a_decoder_row_along_the_direction_has_cosine_one(tiny, sae):
    engine = tiny("llama").engine
    row = sae.weights["W_dec"][4]
    seen = look(engine, sae, [4, 5], text_rows(engine, TEXT, "a text", 24), Direction(row / row.norm(), SITE, 1.0))
    assert seen[0].cosine == pytest.approx(1, abs=1e-5)
    assert abs(seen[1].cosine or 0) < 0.9
