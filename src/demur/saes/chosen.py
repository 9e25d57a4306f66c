"""`Chosen`: some latents of an SAE, their weights prepared once for edits that run at every decoding step.

`encode_some` slices and casts weights at each call, in about ten small operations; here a call is one matrix product
of m rows and what the kind needs after it. b_dec is folded into the bias. What comes out is the same to rounding.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from weakref import WeakKeyDictionary

import torch
from jaxtyping import Float
from torch import Tensor

from demur.saes.operators import indices, moments, normalised
from demur.saes.sae import SAE, Kind, Normalisation


@dataclass(frozen=True, eq=False)
class Chosen:
    """m latents of one SAE, or m of each row's own after `stack`. relu, jumprelu and gated encode; topk does not, for
    there all latents compete."""

    kind: Kind
    normalisation: Normalisation
    parts: Mapping[str, Tensor]
    """decoder, encoder: [m, d_in], or [batch, m, d_in]. bias, threshold, gain, shift, as the kind needs: [m], or
    [batch, 1, m]. All float32 or wider."""

    @property
    def stacked(self) -> bool:
        """Whether each row of the batch has its own."""
        return self.parts["decoder"].ndim == 3

    def encode(self, x: Float[Tensor, "batch seq d_in"]) -> Float[Tensor, "batch seq m"]:
        """`encode_some` of these latents. x in the parts' dtype."""
        parts = self.parts
        x = normalised(self.normalisation, x)
        if self.stacked:
            before = torch.baddbmm(parts["bias"], x, parts["encoder"].mT)
        else:
            before = torch.nn.functional.linear(x, parts["encoder"], parts["bias"])
        if self.kind == "relu":
            return torch.relu(before)
        open_ = before > parts["threshold"]
        if self.kind == "gated":
            before = torch.relu(before * parts["gain"] + parts["shift"])
        return before * open_

    def added(
        self, x: Float[Tensor, "batch seq d_in"], delta: Float[Tensor, "batch seq m"]
    ) -> Float[Tensor, "batch seq d_in"]:
        """The stream x with `delta` more of each latent: x + decode(f + delta) - decode(f)."""
        if self.normalisation != "none":
            delta = delta * moments(self.normalisation, x)[1]
        decoder = self.parts["decoder"]
        if self.stacked:
            return torch.baddbmm(x, delta, decoder)
        return torch.addmm(x.flatten(0, 1), delta.flatten(0, 1), decoder).view_as(x)

    def stack(self, others: Sequence[Chosen]) -> Chosen:
        """Row i of a batch gets others[i]: as many latents, of the same SAE."""
        columns = {name: torch.stack([other.parts[name] for other in others]) for name in self.parts}
        return replace(self, parts={name: part if part.ndim == 3 else part[:, None] for name, part in columns.items()})

    def to(self, device: torch.device, dtype: torch.dtype) -> Chosen:
        """The same there, in that dtype."""
        return replace(self, parts={name: part.to(device, dtype) for name, part in self.parts.items()})


def choose(sae: SAE, latents: Sequence[int] | Tensor) -> Chosen:
    """Prepare these latents, in this order. BadSpec for one that is not there."""
    columns = indices(sae, latents)
    dtype = torch.promote_types(sae.weights["W_enc"].dtype, torch.float32)

    def weight(name: str) -> Tensor:
        return sae.weights[name].detach()[..., columns].to(dtype)

    decoder = sae.weights["W_dec"].detach()[columns].to(dtype)
    if sae.kind == "topk":
        if sae.rescale_acts_by_decoder_norm:
            decoder = decoder / decoder.norm(dim=-1, keepdim=True)
        return Chosen(sae.kind, sae.normalisation, {"decoder": decoder})
    encoder = weight("W_enc").mT.contiguous()
    bias = torch.zeros(len(columns), dtype=torch.float64, device=encoder.device)
    if sae.apply_b_dec_to_input:
        bias -= encoder.double() @ sae.weights["b_dec"].detach().double()
    parts = {"decoder": decoder, "encoder": encoder}
    if sae.kind == "gated":
        parts |= {"threshold": -weight("b_gate"), "gain": weight("r_mag").exp(), "shift": weight("b_mag")}
    else:
        bias += weight("b_enc")
    if sae.kind == "jumprelu":
        # A latent below 0 is 0 whatever its threshold.
        parts["threshold"] = weight("threshold").clamp(min=0)
    return Chosen(sae.kind, sae.normalisation, {**parts, "bias": bias.to(dtype)})


_WIDE: WeakKeyDictionary[SAE, SAE] = WeakKeyDictionary()


def widened(sae: SAE, device: torch.device | None = None, dtype: torch.dtype = torch.float32) -> SAE:
    """The SAE with weights on `device` in `dtype` or wider; the last copy made of each SAE is kept as long as it."""
    now = sae.weights["W_enc"]
    device = now.device if device is None else device
    dtype = torch.promote_types(now.dtype, dtype)
    if all(part.device == device and part.dtype == dtype for part in sae.weights.values()):
        return sae
    kept = _WIDE.get(sae)
    if kept is None or kept.weights["W_enc"].device != device or kept.weights["W_enc"].dtype != dtype:
        # Made outside of inference mode, for it may serve gradients later.
        with torch.inference_mode(False):
            kept = _WIDE[sae] = sae.to(device, dtype)
    return kept
