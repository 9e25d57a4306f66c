"""`SAE`: a sparse autoencoder's weights with everything that decides its numbers, checked when built.

Weights have SAELens' names and shapes: W_enc [d_in, d_sae], W_dec [d_sae, d_in], b_dec [d_in] and, by kind,

relu      b_enc                   f = relu(z W_enc + b_enc)
topk      b_enc, k                the k largest of z W_enc + b_enc, negative ones as 0 (Gao et al. 2406.04093)
jumprelu  b_enc, threshold        f = relu(p) where p = z W_enc + b_enc > threshold (Rajamanoharan et al. 2407.14435)
gated     b_gate, r_mag, b_mag    f = relu(exp(r_mag) z W_enc + b_mag) where z W_enc + b_gate > 0 (2404.16014)

with z the stream, normalised and less b_dec where the SAE asks for that. BatchTopK (Bussmann et al. 2412.06410)
picks over a batch in training only; at inference it is jumprelu with the one threshold it learned, so that a
row's latents never depend on its neighbours. The readers convert it.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Literal

import torch
from torch import Tensor

from demur.errors import BadFile, BadSpec, BadVector
from demur.types import Site

Kind = Literal["relu", "topk", "jumprelu", "gated"]
Normalisation = Literal["none", "constant_norm_rescale", "layer_norm"]

NEEDS: dict[str, tuple[str, ...]] = {
    "relu": ("W_enc", "W_dec", "b_dec", "b_enc"),
    "topk": ("W_enc", "W_dec", "b_dec", "b_enc"),
    "jumprelu": ("W_enc", "W_dec", "b_dec", "b_enc", "threshold"),
    "gated": ("W_enc", "W_dec", "b_dec", "b_gate", "r_mag", "b_mag"),
}
"""Kind -> its tensors."""

NORMALISATIONS: tuple[Normalisation, ...] = ("none", "constant_norm_rescale", "layer_norm")


@dataclass(frozen=True, eq=False)
class SAE:
    """One sparse autoencoder at one site. Building it checks it: BadVector for a missing or extra tensor, a wrong
    shape, NaN or infinity; BadSpec for a kind, k or normalisation that means nothing."""

    kind: Kind
    weights: Mapping[str, Tensor]
    """Name -> tensor, as above, on one device."""
    site: Site
    k: int = 0
    """topk: latents kept at each token; 0 for the other kinds."""
    apply_b_dec_to_input: bool = False
    """Whether b_dec is taken off the stream before encoding."""
    normalisation: Normalisation = "none"
    """What is done to the stream at run time, and undone by `decode`; a constant scale is folded in when reading."""
    rescale_acts_by_decoder_norm: bool = False
    """topk: latents count in units of their decoder row's norm (SAELens' flag of this name)."""
    metadata: Mapping[str, Any] = field(default_factory=dict)
    """What the file says beyond the numbers, under SAELens' names: model_name, hook_name, context_size, ..."""
    source: str = ""
    """The folder that gives it again (`load_sae(source)`), as an absolute path; "" when none does."""

    def __post_init__(self) -> None:
        _check_spec(self)
        _check_weights(self)

    @property
    def d_in(self) -> int:
        """Width of the stream."""
        return self.weights["W_enc"].shape[0]

    @property
    def d_sae(self) -> int:
        """Number of latents."""
        return self.weights["W_enc"].shape[1]

    @property
    def model(self) -> str:
        """Name of the model it was trained on; "" where the file does not say."""
        return str(self.metadata.get("model_name") or "")

    @cached_property
    def sha256(self) -> str:
        """Over the weights (as float32, so a bf16 SAE and its copy in float32 agree), the site, and every setting
        that decides the numbers. Metadata is left out."""
        total = hashlib.sha256()
        settings = [self.kind, str(self.site), self.k, self.apply_b_dec_to_input, self.normalisation]
        total.update(json.dumps([*settings, self.rescale_acts_by_decoder_norm]).encode())
        for name in sorted(self.weights):
            tensor = self.weights[name].detach()
            wide = tensor.to("cpu", torch.promote_types(tensor.dtype, torch.float32)).contiguous()
            total.update(f"{name} {list(wide.shape)} {wide.dtype}\n".encode())
            total.update(wide.numpy().data)
        return total.hexdigest()

    def to(self, device: torch.device | str | None = None, dtype: torch.dtype | None = None) -> SAE:
        """A copy with its weights on `device` in `dtype`. float32 spares bf16 weights a cast at every call.

        Where the dtype changes the numbers, and so the sha256, the copy has no source.
        """
        moved = {name: tensor.to(device=device, dtype=dtype) for name, tensor in self.weights.items()}
        same = all(_hashed_alike(tensor.dtype, moved[name].dtype) for name, tensor in self.weights.items())
        return replace(self, weights=moved, source=self.source if same else "")


def check_model(
    sae: SAE, name: str, d_model: int, n_layers: int, other_model: bool = False, weights: str | None = None
) -> None:
    """BadFile unless the SAE fits a model: its stream's width, its number of blocks, and its name.

    A base model and its chat model count as one name (gemma-2-2b, google/gemma-2-2b-it), and so do a hub id, its
    snapshot's folder and a GGUF file of it (`names_of`); an SAE that names no model fits any. other_model: take an SAE
    of a model with another name, say of the one it was fine-tuned from. weights: the hash of the model's fingerprint;
    an SAE that was trained on these very weights fits whatever the model's folder is called.
    """
    what = f"the SAE {sae.source}".rstrip()
    if sae.d_in != d_model:
        raise BadFile(
            f"{what} reads a stream of width {sae.d_in}; {name} has {d_model}: give an SAE that was trained on {name}"
            f"{f' (this one: {sae.model})' if sae.model else ''}."
        )
    if sae.site.layer >= n_layers:
        raise BadFile(f"{what} stands at {sae.site}; {name} has layers 0 to {n_layers - 1}: give an SAE of {name}.")
    if not sae.model or other_model or (weights and sae.metadata.get(WEIGHTS) == weights):
        return
    if not names_of(sae.model) & names_of(name):
        raise BadFile(
            f"{what} was trained on {sae.model}, not {name}: give an SAE of {name}; or, if {name} is a copy of that "
            "model or was made from it, say so with --other-model (in Python: other_model=True)."
        )


def fold_scale(weights: Mapping[str, Tensor], scale: float) -> dict[str, Tensor]:
    """Weights for the raw stream, from those of an SAE that was trained on `scale` times the stream.

    Latents, and so thresholds, keep their units. scale is sqrt(d_in) / mean activation norm as a rule.
    """
    if not 0 < scale < float("inf"):
        raise BadSpec(f"a stream cannot be scaled by {scale}; give a positive number.")
    folds = {"W_enc": scale, "W_dec": 1 / scale, "b_dec": 1 / scale}
    return {name: tensor * folds[name] if name in folds else tensor for name, tensor in weights.items()}


def fold_centring(weights: Mapping[str, Tensor], applies_b_dec: bool) -> dict[str, Tensor]:
    """Weights for the raw stream, from those of an SAE that was trained on the stream less its mean over dimensions
    (TransformerLens' center_writing_weights, for models with LayerNorm). The latents are the same."""
    mean = weights["W_enc"].mean(dim=0)
    folded = {**weights, "W_enc": weights["W_enc"] - mean}
    # (x - mean(x) - b_dec) W = (x - b_dec) (W - mean(W)) - sum(b_dec) mean(W)
    shift = weights["b_dec"].sum() * mean if applies_b_dec else torch.zeros_like(mean)
    gains = {"b_enc": 1.0, "b_gate": 1.0, "b_mag": weights["r_mag"].exp() if "r_mag" in weights else 1.0}
    return {name: tensor - shift * gains[name] if name in gains else tensor for name, tensor in folded.items()}


def _hashed_alike(old: torch.dtype, new: torch.dtype) -> bool:
    return old == new or (new == torch.float32 and old in (torch.bfloat16, torch.float16))


WEIGHTS = "demur_weights"
"""Where an SAE that demur trained says the hash of its model's weights, in `SAE.metadata`."""
_MARKS = ("it", "pt", "instruct", "chat", "base", "hf", "meta", "small")
_CACHED = re.compile(r"models--(?:[^/]+--)?([^/]+)")
"""The hub's folder of a model on this machine."""
_STORED = re.compile(r"([-_. ](gguf|gptq|awq|bnb|bf16|fp?(16|32)|[48]bit|int[48]|i?q\d(_[a-z0-9]+)*))+$|\.gguf$")
"""How a name says in what its weights are stored."""
_COPY = re.compile(r"[0-9a-f]{7,64}|checkpoint-\d+|final|best|model|main|latest", re.ASCII)
"""A folder so named says nothing of its model; the folder around it does."""


def names_of(model: str) -> set[str]:
    """What a model goes by: its hub id, folder or file without organisation, storage, chat and base marks.

    `google/gemma-2-2b-it`, `models--google--gemma-2-2b/snapshots/c5ebcd4...` and `gemma-2-2b-Q4_K_M.gguf` are all
    `gemma-2-2b`. A link is followed too: a folder goes by its own name and by that of what it leads to.
    """
    model = os.path.expanduser(model)
    return {_base(model)} | ({_base(os.path.realpath(model))} if os.path.lexists(model) else set())


def _base(model: str) -> str:
    path = [part for part in re.split(r"[/\\]+", model.casefold()) if part not in ("", ".")]
    cached = [found[1] for part in path if (found := _CACHED.fullmatch(part))]
    while len(path) > 1 and _COPY.fullmatch(path[-1]):
        path.pop()
    last = cached[-1] if cached else path[-1] if path else ""
    while (bare := _STORED.sub("", last)) not in ("", last):
        last = bare
    words = re.split(r"[-_ ]+", last)
    return "-".join(word for word in words if word not in _MARKS) or last


def _check_spec(sae: SAE) -> None:
    at = f"{sae.source}: " if sae.source else ""
    if sae.kind not in NEEDS:
        raise BadSpec(f"{at}no SAE kind {sae.kind!r}; known: {', '.join(NEEDS)}.")
    if sae.normalisation not in NORMALISATIONS:
        raise BadSpec(f"{at}no normalisation {sae.normalisation!r}; known: {', '.join(NORMALISATIONS)}.")
    if (sae.kind == "topk") != (sae.k > 0):
        raise BadSpec(f"{at}k is {sae.k} for kind {sae.kind}; a topk SAE has k of at least 1, the others 0.")
    if sae.rescale_acts_by_decoder_norm and sae.kind != "topk":
        raise BadSpec(f"{at}rescale_acts_by_decoder_norm is for topk; this is {sae.kind}: fold the norms into W_enc.")


def _check_weights(sae: SAE) -> None:
    at = f"{sae.source}: " if sae.source else ""
    needed = NEEDS[sae.kind]
    if set(sae.weights) != set(needed):
        raise BadVector(f"{at}a {sae.kind} SAE has {_list(needed)}; this has {_list(sae.weights)}.")
    encoder = sae.weights["W_enc"]
    if encoder.ndim != 2:
        raise BadVector(f"{at}W_enc has shape {list(encoder.shape)}; it is [d_in, d_sae].")
    d_in, d_sae = encoder.shape
    shapes = {"W_enc": [d_in, d_sae], "W_dec": [d_sae, d_in], "b_dec": [d_in]}
    for name, tensor in sae.weights.items():
        if list(tensor.shape) != shapes.get(name, [d_sae]):
            raise BadVector(
                f"{at}{name} has shape {list(tensor.shape)}; with W_enc [{d_in}, {d_sae}] it is "
                f"{shapes.get(name, [d_sae])}: transposed, a transcoder, or another SAE's."
            )
        if not tensor.is_floating_point():
            raise BadVector(f"{at}{name} holds {tensor.dtype}; SAE weights are floating point.")
        if bad := int((~torch.isfinite(tensor)).sum()):
            raise BadVector(f"{at}{bad} of {tensor.numel()} entries of {name} are NaN or infinite; get the file again.")
    if sae.k > d_sae:
        raise BadSpec(f"{at}k is {sae.k}, but there are {d_sae} latents; give a k of at most {d_sae}.")


def _list(names: Iterable[str]) -> str:
    return ", ".join(sorted(names))
