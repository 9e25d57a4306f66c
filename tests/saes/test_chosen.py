import gc
import weakref

import pytest
import torch

from demur.errors import BadSpec
from demur.saes import decode, encode, encode_some
from demur.saes.chosen import choose, widened

LATENTS = [7, 0, 23, 11]


@pytest.mark.parametrize("kind", ["relu", "jumprelu", "gated"])
@pytest.mark.parametrize("normalisation", ["none", "layer_norm", "constant_norm_rescale"])
@pytest.mark.parametrize("centred", [True, False])
def test_only_the_chosen_rows_give_what_all_of_them_give(sae, x, kind, normalisation, centred):
    whole = sae(kind, normalisation=normalisation, apply_b_dec_to_input=centred)
    found = choose(whole, LATENTS).encode(x(3, 5))
    torch.testing.assert_close(found, encode(whole, x(3, 5))[..., LATENTS], rtol=1e-5, atol=1e-5)
    assert (found > 0).any()
    assert ((found == 0) == (encode_some(whole, x(3, 5), LATENTS) == 0)).all()


@pytest.mark.parametrize("kind", ["relu", "topk", "jumprelu", "gated"])
@pytest.mark.parametrize("normalisation", ["none", "layer_norm", "constant_norm_rescale"])
def test_more_of_a_latent_is_the_difference_of_two_decodings(sae, x, kind, normalisation):
    whole, stream = sae(kind, normalisation=normalisation), x(3, 5)
    delta = torch.randn(3, 5, len(LATENTS), generator=torch.Generator().manual_seed(2))
    f = encode(whole, stream)
    more = f.index_add(-1, torch.tensor(LATENTS), delta)
    wanted = stream + decode(whole, more, stream) - decode(whole, f, stream)
    torch.testing.assert_close(choose(whole, LATENTS).added(stream, delta), wanted, rtol=1e-4, atol=1e-4)


def test_a_large_b_dec_costs_no_precision(sae, x, weights):
    """Streams have entries of thousands; the bias is folded in float64."""
    tensors = {**weights("relu"), "b_dec": torch.full((8,), 3e4)}
    whole, stream = sae(weights=tensors), x(3, 5)
    exact = encode(whole.to(dtype=torch.float64), stream)[..., LATENTS]
    found = choose(whole, LATENTS).encode(stream)
    torch.testing.assert_close(found.double(), exact, rtol=1e-6, atol=0.02)


def test_a_latent_that_is_not_there_is_refused(sae):
    with pytest.raises(BadSpec, match="no latent 24"):
        choose(sae(), [24])


def test_an_sae_in_float32_is_not_copied_and_one_in_bf16_once(sae):
    assert widened(one := sae()) is one
    narrow = sae().to(dtype=torch.bfloat16)
    with torch.inference_mode():
        wide = widened(narrow)
    assert widened(narrow) is wide
    assert wide.weights["W_enc"].dtype == torch.float32
    assert not wide.weights["W_enc"].is_inference()
    gone = weakref.ref(wide)
    del narrow, wide
    gc.collect()
    assert gone() is None
