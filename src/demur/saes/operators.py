"""Encoding and decoding, as SAELens does them at inference, for every kind of SAE.

Everything is computed in float32 or better: bf16 streams and bf16 weights are cast up first, and what comes back
is in that dtype. All of it is differentiable in the stream.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor

from demur.errors import BadSpec, BadVector
from demur.saes.sae import SAE, Normalisation

_EPS = 1e-5
"""SAELens' layer_norm divides by (std + eps) going in, and multiplies by std coming out."""

Columns = slice | Tensor
_ALL = slice(None)


def encode(sae: SAE, x: Float[Tensor, "*batch d_in"]) -> Float[Tensor, "*batch d_sae"]:
    """The latents of a stream: never negative, most of them 0. BadVector when the stream has another width."""
    return _latents(sae, x, _ALL)


def encode_some(
    sae: SAE, x: Float[Tensor, "*batch d_in"], latents: Sequence[int] | Tensor
) -> Float[Tensor, "*batch some"]:
    """`encode(sae, x)[..., latents]`, in the order given.

    relu, jumprelu and gated read only these latents' weights: the cost is len(latents) rows. topk has to compute
    every latent, for they compete. Raises as `encode`, and BadSpec for a latent that is not there.
    """
    columns = indices(sae, latents)
    if sae.kind == "topk":
        return _latents(sae, x, _ALL)[..., columns]
    return _latents(sae, x, columns)


def decode(
    sae: SAE, f: Float[Tensor, "*batch d_sae"], x: Float[Tensor, "*batch d_in"] | None = None
) -> Float[Tensor, "*batch d_in"]:
    """The stream that the latents stand for, b_dec included.

    x: the stream they came from; needed where the SAE normalises each token, to undo it (BadSpec without).
    """
    dtype = _dtype(sae, f)
    rows, bias = sae.weights["W_dec"].to(dtype), sae.weights["b_dec"].to(dtype)
    f = f.to(dtype)
    if sae.rescale_acts_by_decoder_norm:
        f = f / rows.norm(dim=-1)
    out = f @ rows + bias
    if sae.normalisation == "none":
        return out
    if x is None:
        raise BadSpec(f"{sae.normalisation} is undone from the stream it was done to; call decode(sae, f, x).")
    shift, scale = moments(sae.normalisation, x.to(dtype))
    return out * scale + shift


def error(sae: SAE, x: Float[Tensor, "*batch d_in"]) -> Float[Tensor, "*batch d_in"]:
    """What the SAE leaves out: x - decode(encode(x)). Adding it to a changed reconstruction keeps the rest of x."""
    return x.to(_dtype(sae, x)) - decode(sae, encode(sae, x), x)


def decoder_rows(sae: SAE, latents: Sequence[int] | Tensor) -> Float[Tensor, "some d_in"]:
    """What one unit of each latent adds to the stream. BadSpec where that differs from token to token."""
    if sae.normalisation != "none":
        raise BadSpec(
            f"with {sae.normalisation} a unit of a latent adds another length at every token; "
            "take decode(sae, f, x) with and without it."
        )
    rows = sae.weights["W_dec"][indices(sae, latents)]
    rows = rows.to(_dtype(sae, rows))
    return rows / rows.norm(dim=-1, keepdim=True) if sae.rescale_acts_by_decoder_norm else rows


def thresholded(sae: SAE, x: Float[Tensor, "tokens d_in"], active: int | None = None) -> SAE:
    """A topk SAE as jumprelu: the one threshold at which, on tokens x, `active` latents are active on average (None: as
    many as topk keeps). A token's latents then cost only their own rows. BadSpec for another kind of SAE."""
    if sae.kind != "topk":
        raise BadSpec(f"a {sae.kind} SAE has its own way of choosing latents; give a topk SAE.")
    weights = {name: part.to(_dtype(sae, part)) for name, part in sae.weights.items()}
    if sae.rescale_acts_by_decoder_norm:
        norms = weights["W_dec"].norm(dim=-1)
        weights = {**weights, "W_enc": weights["W_enc"] * norms, "b_enc": weights["b_enc"] * norms,
                   "W_dec": weights["W_dec"] / norms[:, None]}  # fmt: skip
    zero = torch.zeros_like(weights["b_enc"])
    settings = {"kind": "jumprelu", "k": 0, "rescale_acts_by_decoder_norm": False, "source": ""}
    open_ = replace(sae, weights={**weights, "threshold": zero}, **settings)
    # Of each token only the largest can be above the threshold: five times as many as are kept on average.
    most = min(5 * sae.k, sae.d_sae)
    top = torch.cat([encode(open_, part).topk(most, -1).values.flatten() for part in x.split(2048)])
    threshold = top.topk((active or sae.k) * len(x)).values[-1]
    return replace(open_, weights={**weights, "threshold": zero + threshold})


def indices(sae: SAE, latents: Sequence[int] | Tensor) -> Tensor:
    """Latents as a tensor of indices on the SAE's device; BadSpec for one that is not there."""
    columns = torch.as_tensor(latents, device=sae.weights["W_enc"].device)
    if columns.numel() == 0:
        return columns.long().reshape(0)
    if columns.ndim != 1 or columns.is_floating_point() or columns.dtype == torch.bool:
        raise BadSpec(f"latents are a list of indices; this is {columns.dtype} of shape {list(columns.shape)}.")
    bad = columns[(columns < 0) | (columns >= sae.d_sae)]
    if len(bad):
        raise BadSpec(f"no latent {int(bad[0])} in this SAE; known: 0 to {sae.d_sae - 1}.")
    return columns.long()


def _latents(sae: SAE, x: Tensor, columns: Columns) -> Tensor:
    dtype = _dtype(sae, x)

    def weight(name: str) -> Tensor:
        return sae.weights[name][..., columns].to(dtype)

    linear = _input(sae, x.to(dtype)) @ weight("W_enc")
    if sae.kind == "gated":
        magnitude = torch.relu(linear * weight("r_mag").exp() + weight("b_mag"))
        return magnitude * (linear + weight("b_gate") > 0)
    before = linear + weight("b_enc")
    if sae.kind == "relu":
        return torch.relu(before)
    if sae.kind == "jumprelu":
        return torch.relu(before) * (before > weight("threshold"))
    if sae.rescale_acts_by_decoder_norm:
        before = before * sae.weights["W_dec"].to(dtype).norm(dim=-1)
    # Unsorted as in SAELens, so that equal values are kept or dropped alike.
    kept = torch.topk(before, sae.k, dim=-1, sorted=False)
    return torch.zeros_like(before).scatter(-1, kept.indices, torch.relu(kept.values))


def _input(sae: SAE, x: Tensor) -> Tensor:
    """The stream as the encoder takes it, [..., d_in]."""
    if x.shape[-1] != sae.d_in:
        raise BadVector(f"the stream has width {x.shape[-1]}; this SAE reads {sae.d_in}: give one of this model.")
    x = normalised(sae.normalisation, x)
    return x - sae.weights["b_dec"].to(x.dtype) if sae.apply_b_dec_to_input else x


def normalised(how: Normalisation, x: Float[Tensor, "*batch d_in"]) -> Float[Tensor, "*batch d_in"]:
    """The stream as the SAE was trained to see it: each token at norm sqrt(d_in), or at mean 0 and deviation 1."""
    if how == "constant_norm_rescale":
        return x / moments(how, x)[1]
    if how == "layer_norm":
        mean, std = moments(how, x)
        return (x - mean) / (std + _EPS)
    return x


def moments(
    how: Normalisation, x: Float[Tensor, "*batch d_in"]
) -> tuple[Float[Tensor, "*batch 1"], Float[Tensor, "*batch 1"]]:
    """Shift and scale that take a normalised token back to the stream (the deviation is the unbiased one)."""
    if how == "constant_norm_rescale":
        norm = x.norm(dim=-1, keepdim=True)
        return torch.zeros_like(norm), norm / x.shape[-1] ** 0.5
    return x.mean(dim=-1, keepdim=True), x.std(dim=-1, keepdim=True)


def _dtype(sae: SAE, x: Tensor) -> torch.dtype:
    return torch.promote_types(torch.promote_types(x.dtype, sae.weights["W_enc"].dtype), torch.float32)
