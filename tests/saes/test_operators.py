"""The operators against formulas written out here, and against sae-lens."""

import json

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file

from demur.errors import BadSpec, BadVector
from demur.saes import decode, decoder_rows, encode, encode_some, error, load_sae, save_sae, thresholded
from demur.saes.sae import NEEDS, NORMALISATIONS, fold_scale

KINDS = list(NEEDS)
few = settings(max_examples=30, deadline=None)


def close(a, b, atol=1e-5):
    torch.testing.assert_close(a, b, rtol=1e-5, atol=atol)


def by_hand(sae, token):
    """One token's latents, one latent at a time, from the definitions in demur/saes/sae.py."""
    w = sae.weights
    z = token - w["b_dec"] if sae.apply_b_dec_to_input else token
    before = [float(sum(z[i] * w["W_enc"][i, j] for i in range(sae.d_in))) for j in range(sae.d_sae)]
    if sae.kind == "gated":
        gates = [p + float(b) > 0 for p, b in zip(before, w["b_gate"], strict=True)]
        sizes = [p * float(r.exp()) + float(b) for p, r, b in zip(before, w["r_mag"], w["b_mag"], strict=True)]
        return torch.tensor([max(s, 0.0) if g else 0.0 for s, g in zip(sizes, gates, strict=True)])
    before = [p + float(b) for p, b in zip(before, w["b_enc"], strict=True)]
    bars = {"relu": [0.0] * sae.d_sae}
    if sae.kind == "jumprelu":
        bars["jumprelu"] = [float(t) for t in w["threshold"]]
    if sae.kind == "topk":
        bars["topk"] = [sorted(before)[-sae.k - 1]] * sae.d_sae
    return torch.tensor([max(p, 0.0) if p > bar else 0.0 for p, bar in zip(before, bars[sae.kind], strict=True)])


@pytest.mark.parametrize("centred", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_encoding_is_the_definition(sae, x, kind, centred):
    made = sae(kind, apply_b_dec_to_input=centred)
    stream = x(2, 3)
    found = encode(made, stream)
    expected = torch.stack([by_hand(made, token) for token in stream.view(-1, 8)]).view(2, 3, -1)
    close(found, expected)
    assert (found >= 0).all()
    assert 0 < (found > 0).float().mean() < 1


@pytest.mark.parametrize("kind", KINDS)
def test_decoding_adds_decoder_rows_and_the_bias(sae, kind):
    made = sae(kind)
    f = torch.zeros(24)
    close(decode(made, f), made.weights["b_dec"])
    f[[2, 7]] = torch.tensor([3.0, 0.5])
    rows = made.weights["W_dec"]
    close(decode(made, f), made.weights["b_dec"] + 3 * rows[2] + 0.5 * rows[7])
    close(decoder_rows(made, [7, 2]), rows[[7, 2]])


@pytest.mark.parametrize("normalisation", NORMALISATIONS)
@pytest.mark.parametrize("kind", KINDS)
def test_reconstruction_and_error_sum_to_the_stream(sae, x, kind, normalisation):
    made = sae(kind, normalisation=normalisation)
    stream = x(3, 4)
    close(decode(made, encode(made, stream), stream) + error(made, stream), stream)


@few
@given(chosen=st.lists(st.integers(0, 23), max_size=8), seed=st.integers(0, 50), kind=st.sampled_from(KINDS))
def test_some_latents_are_those_of_all_in_the_order_asked(sae, x, chosen, seed, kind):
    made, stream = sae(kind, seed), x(2, 3, seed=seed + 1)
    found = encode_some(made, stream, chosen)
    assert found.shape == (2, 3, len(chosen))
    close(found, encode(made, stream)[..., chosen])
    assert encode_some(made, stream, torch.tensor(chosen, dtype=torch.long)).equal(found)


@pytest.mark.parametrize("kind", ["relu", "jumprelu", "gated"])
def test_some_latents_read_only_their_own_weights(sae, x, kind):
    """A weight of another latent may hold anything, even NaN, set after the check."""
    made = sae(kind)
    clean = encode_some(made, x(4), [3, 20])
    for name, tensor in made.weights.items():
        if name not in ("b_dec", "W_dec"):
            keep = tensor[..., [3, 20]].clone()
            tensor.fill_(float("nan"))
            tensor[..., [3, 20]] = keep
    assert encode_some(made, x(4), [3, 20]).equal(clean)


@pytest.mark.parametrize(("latents", "message"), [([24], "no latent 24"), ([0, -1], "no latent -1")])
def test_a_latent_that_is_not_there_is_refused(sae, x, latents, message):
    with pytest.raises(BadSpec, match=rf"{message} in this SAE; known: 0 to 23"):
        encode_some(sae(), x(2), latents)
    with pytest.raises(BadSpec, match=message):
        decoder_rows(sae(), latents)


def test_a_mask_is_no_list_of_latents(sae, x):
    with pytest.raises(BadSpec, match="latents are a list of indices"):
        encode_some(sae(), x(2), torch.zeros(24, dtype=torch.bool))


def test_a_stream_of_another_width_is_refused(sae):
    with pytest.raises(BadVector, match="the stream has width 9; this SAE reads 8"):
        encode(sae(), torch.ones(2, 9))


def test_topk_keeps_k_and_ties_fall_as_torchs(sae, weights, x):
    tied = weights("topk")
    tied["W_enc"] = tied["W_enc"][:, :1].expand(8, 24).clone()
    tied["b_enc"] = torch.ones(24)
    made = sae("topk", weights=tied, apply_b_dec_to_input=False)
    stream = x(6).abs() * tied["W_enc"][:, 0].sign()
    found = encode(made, stream)
    assert ((found > 0).sum(-1) == 5).all()
    before = stream @ tied["W_enc"] + 1
    top = before.topk(5, sorted=False)
    assert found.equal(torch.zeros_like(before).scatter(-1, top.indices, top.values))


def test_topk_gives_fewer_than_k_where_fewer_are_positive(sae, weights):
    low = {**weights("topk"), "b_enc": torch.full((24,), -100.0)}
    low["b_enc"][4] = 100.0
    assert encode(sae("topk", weights=low), torch.zeros(8)).nonzero().flatten().tolist() == [4]


def test_decoder_norms_choose_and_scale_but_do_not_change_the_reconstruction(sae, weights, x):
    tensors = weights("topk")
    norms = tensors["W_dec"].norm(dim=-1)
    rescaled = sae("topk", weights=tensors, rescale_acts_by_decoder_norm=True)
    folded = dict(tensors)
    folded["W_dec"] = tensors["W_dec"] / norms[:, None]
    folded["W_enc"], folded["b_enc"] = tensors["W_enc"] * norms, tensors["b_enc"] * norms
    unit = sae("topk", weights=folded)
    f = encode(rescaled, x(5))
    close(f, encode(unit, x(5)))
    close(decode(rescaled, f), decode(unit, f))
    close(decoder_rows(rescaled, [1, 2]), unit.weights["W_dec"][[1, 2]])


def test_constant_norm_rescale_makes_latents_blind_to_the_streams_length(sae, x):
    made = sae("relu", normalisation="constant_norm_rescale")
    stream = x(4)
    close(encode(made, stream), encode(made, 7 * stream))
    plain = sae("relu")
    at_norm = stream / stream.norm(dim=-1, keepdim=True) * 8**0.5
    close(encode(made, stream), encode(plain, at_norm))
    close(decode(made, encode(made, 7 * stream), 7 * stream), 7 * decode(made, encode(made, stream), stream))


def test_layer_norm_makes_latents_blind_to_shift_and_scale(sae, x):
    made = sae("relu", normalisation="layer_norm")
    stream = x(4)
    close(encode(made, stream), encode(made, 7 * stream + 3), atol=1e-3)


def test_a_normalised_sae_needs_the_stream_to_decode(sae, x):
    made = sae("relu", normalisation="layer_norm")
    with pytest.raises(BadSpec, match=r"layer_norm is undone from the stream .*; call decode\(sae, f, x\)"):
        decode(made, encode(made, x(2)))
    with pytest.raises(BadSpec, match="adds another length at every token"):
        decoder_rows(made, [0])


@pytest.mark.parametrize("kind", KINDS)
def test_a_folded_scale_is_the_scaled_stream(sae, weights, x, kind):
    """f(s x) before folding is f(x) after; the reconstruction comes back in the stream's own units."""
    plain, folded = sae(kind), sae(kind, weights=fold_scale(weights(kind), 2.5))
    f = encode(plain, 2.5 * x(4))
    close(encode(folded, x(4)), f)
    close(decode(folded, f), decode(plain, f) / 2.5)


@pytest.mark.parametrize("kind", KINDS)
def test_bf16_streams_and_weights_are_computed_in_float32(sae, x, kind):
    half = sae(kind).to(dtype=torch.bfloat16)
    stream = x(4).bfloat16()
    found = encode(half, stream)
    assert found.dtype == torch.float32
    assert found.equal(encode(half.to(dtype=torch.float32), stream.float()))
    assert decode(half, found).dtype == error(half, stream).dtype == torch.float32
    assert encode(sae(kind), x(4).double()).dtype == torch.float64


@pytest.mark.parametrize("kind", KINDS)
def test_the_streams_gradient_goes_through(sae, x, kind):
    made = sae(kind)
    made = made.to(dtype=torch.float64)
    stream = x(3).double().requires_grad_()
    assert torch.autograd.gradcheck(lambda s: decode(made, encode(made, s)), stream)


def test_the_stream_and_the_weights_are_left_as_they_were(sae, x):
    made, stream = sae("topk", normalisation="layer_norm"), x(3)
    before = stream.clone()
    hashed = made.sha256
    error(made, stream)
    assert stream.equal(before)
    assert made.to().sha256 == hashed


# Against sae-lens, on what it wrote itself.

NAMES = {"relu": "Standard", "topk": "TopK", "jumprelu": "JumpReLU", "gated": "Gated"}


def lens_sae(saelens, kind, tensors, **settings):
    name = NAMES[kind]
    if kind == "topk":
        settings = {"k": 5, **settings}
    metadata = saelens.saes.sae.SAEMetadata(model_name="tiny", hook_name="blocks.5.hook_resid_post")
    config = getattr(saelens, f"{name}SAEConfig")(d_in=8, d_sae=24, metadata=metadata, **settings)
    made = getattr(saelens, f"{name}SAE")(config)
    made.load_state_dict(tensors)
    return made


def agree(ours, theirs, stream, some=(3, 11, 20)):
    with torch.no_grad():
        f = theirs.encode(stream)
        close(encode(ours, stream), f)
        close(encode_some(ours, stream, list(some)), f[..., list(some)])
        out = theirs.decode(f)
        close(decode(ours, encode(ours, stream), stream), out)
        close(error(ours, stream), stream - out)


@pytest.mark.parametrize("normalisation", NORMALISATIONS)
@pytest.mark.parametrize("centred", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_sae_lens_computes_the_same(saelens, weights, x, tmp_path, kind, centred, normalisation):
    settings = {"apply_b_dec_to_input": centred, "normalize_activations": normalisation}
    theirs = lens_sae(saelens, kind, weights(kind, seed=3), **settings)
    theirs.save_model(tmp_path)
    agree(load_sae(tmp_path), theirs, x(3, 4))


def test_sae_lens_rescales_by_decoder_norm_alike(saelens, weights, x, tmp_path):
    theirs = lens_sae(saelens, "topk", weights("topk", seed=4), rescale_acts_by_decoder_norm=True)
    theirs.save_model(tmp_path)
    agree(load_sae(tmp_path), theirs, x(3, 4))


@pytest.mark.parametrize("rescale", [False, True])
@pytest.mark.parametrize("saved", ["save_inference_model", "save_model"])
def test_batch_topk_is_what_sae_lens_makes_of_it_for_inference(saelens, weights, x, tmp_path, saved, rescale):
    config = saelens.BatchTopKTrainingSAEConfig(d_in=8, d_sae=24, k=3, rescale_acts_by_decoder_norm=rescale)
    config.metadata.hook_name = "blocks.5.hook_resid_post"
    trained = saelens.BatchTopKTrainingSAE(config)
    trained.load_state_dict({**weights("relu", seed=5), "topk_threshold": torch.tensor(1.25, dtype=torch.double)})
    getattr(trained, saved)(tmp_path / "ours")
    trained.save_inference_model(tmp_path / "theirs")
    ours = load_sae(tmp_path / "ours")
    assert ours.kind == "jumprelu"
    agree(ours, saelens.SAE.load_from_disk(tmp_path / "theirs"), x(3, 4))


@pytest.mark.parametrize("kind", KINDS)
def test_sae_lens_reads_what_we_write(saelens, sae, x, tmp_path, kind):
    made = sae(kind)
    save_sae(made, tmp_path)
    agree(made, saelens.SAE.load_from_disk(tmp_path), x(3, 4))


def test_sae_lens_folds_the_scale_alike(saelens, weights, x, tmp_path):
    theirs = lens_sae(saelens, "jumprelu", weights("jumprelu"), normalize_activations="expected_average_only_in")
    theirs.save_model(tmp_path)
    theirs.fold_activation_norm_scaling_factor(3.0)
    agree(load_sae(tmp_path, scale=3.0), theirs, x(3, 4))


def test_sae_lens_reads_an_older_flat_config_alike(saelens, weights, x, tmp_path):
    flat = {"d_in": 8, "d_sae": 24, "dtype": "float32", "hook_point": "blocks.5.hook_resid_post", "device": "cpu"}
    flat |= {"activation_fn_str": "topk", "activation_fn_kwargs": {"k": 5}, "normalize_activations": False}
    (tmp_path / "cfg.json").write_text(json.dumps(flat))
    save_file(weights("topk"), tmp_path / "sae_weights.safetensors")
    agree(load_sae(tmp_path), saelens.SAE.load_from_disk(tmp_path), x(3, 4))


@pytest.mark.parametrize("rescale", [False, True])
def test_a_thresholded_topk_sae_keeps_as_many_latents_on_average(sae, x, rescale):
    topk = sae("topk", rescale_acts_by_decoder_norm=rescale)
    stream = x(400)
    open_ = thresholded(topk, stream)
    assert open_.kind == "jumprelu"
    active = (encode(open_, stream) > 0).sum(-1).float()
    assert active.mean().item() == pytest.approx(topk.k, abs=0.05)
    both = (encode(open_, stream) > 0) & (encode(topk, stream) > 0)
    torch.testing.assert_close(encode(open_, stream)[both], encode(topk, stream)[both])
    latents = encode(topk, stream)
    torch.testing.assert_close(decode(open_, latents), decode(topk, latents))


def test_a_threshold_can_leave_fewer_latents_active(sae, x):
    topk, stream = sae("topk"), x(400)
    active = (encode(thresholded(topk, stream, topk.k - 1), stream) > 0).sum(-1).float()
    assert active.mean().item() == pytest.approx(topk.k - 1, abs=0.05)


def test_only_a_topk_sae_is_thresholded(sae, x):
    with pytest.raises(BadSpec, match="topk"):
        thresholded(sae("relu"), x(4))
