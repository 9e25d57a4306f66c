"""Llama Scope (He et al. 2410.20526): `hyperparams.json` and `checkpoints/final.safetensors`; the R1-Distill release
has `config.json`, `sae_weights.safetensors` and a threshold for each latent.

These SAEs were trained on the stream scaled to a mean norm of sqrt(d), and choose latents by their share of the
reconstruction, that is times their decoder row's norm. Both are folded in here, as OpenMOSS' own loader does. What
it compares with the one `jump_relu_threshold` of a file is (pre-activation / scale) * norm: a latent's threshold
in the units of its pre-activation is threshold * scale / norm. SAELens has the same units and leaves the norm out;
so do we for files with sparsity_include_decoder_norm false. (OpenMOSS/Language-Model-SAEs at 16ca67a6, and
d8cb620d for R1-Distill, whose thresholds were learned on the scaled stream.)
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from demur.errors import BadFile, UnknownName
from demur.saes.files import read_config, read_tensors, take, wanted
from demur.saes.hooks import site_of
from demur.saes.sae import SAE, Kind, fold_scale

FILES = ("hyperparams.json", "checkpoints/final.safetensors")
FILES_R1 = ("config.json", "sae_weights.safetensors")

_MODELS = {"R1-Distill": "deepseek-ai/DeepSeek-R1-Distill-Llama-8B", "Llama3_1-8B": "meta-llama/Llama-3.1-8B"}
"""What a path says -> the model; no file says it."""


def read(folder: Path) -> SAE:
    """The SAE in a folder such as Llama3_1-8B-Base-L15R-8x (the output of block 15).

    Raises BadFile for a file that is missing, damaged, of a transcoder, or of another site than the folder's name
    says; UnknownName for an activation or normalisation that demur does not have; BadVector for bad weights.
    """
    return _read(folder, *FILES)


def read_r1(folder: Path) -> SAE:
    """The SAE in a folder of Llama-Scope-R1-Distill, such as L15R. Raises as `read`."""
    return _read(folder, *FILES_R1)


def _read(folder: Path, config_name: str, weights_name: str) -> SAE:
    path = folder / config_name
    config = read_config(path)
    hook = wanted(config, "hook_point_in", path, str)
    if config.get("hook_point_out") not in (None, hook):
        raise BadFile(f"{path} reads {hook} and writes {config['hook_point_out']}: a transcoder; give an SAE (L..R).")
    if config.get("use_glu_encoder"):
        raise BadFile(f"{path} has use_glu_encoder; demur has no gated linear encoder: give an SAE without.")
    site = site_of(hook)
    if re.fullmatch(r"(?:.*-)?L\d+[RAM](?:-\d+x)?", folder.name) and site_of(folder.name) != site:
        raise BadFile(f"{path} is of {hook}, the folder {folder.name} of {site_of(folder.name)}: files were mixed.")

    tensors, _ = read_tensors(folder / weights_name)
    # Scaling in bf16 would round every weight once more.
    tensors = {name: tensor.float() for name, tensor in tensors.items()}
    weights = _weights(tensors, config, folder / weights_name)
    scale = _scale(config, tensors, hook, path, weights["W_enc"].shape[0])
    kind, k = _kind(config, path)
    by_norm = bool(config.get("sparsity_include_decoder_norm", True))
    if kind == "jumprelu":
        norms = weights["W_dec"].norm(dim=-1) if by_norm else torch.ones_like(weights["b_enc"])
        weights["threshold"] = _threshold(config, tensors, path, scale) / norms.clamp(min=1e-30)
    models = [model for mark, model in _MODELS.items() if mark in folder.as_posix()]
    return SAE(
        kind,
        fold_scale(weights, scale),
        site,
        k=k,
        apply_b_dec_to_input=bool(config.get("apply_decoder_bias_to_pre_encoder", True)),
        rescale_acts_by_decoder_norm=kind == "topk" and by_norm,
        metadata={"hook_name": hook, "prepend_bos": True, **({"model_name": models[0]} if models else {})},
        source=str(folder),
    )


def _kind(config: Mapping[str, Any], path: Path) -> tuple[Kind, int]:
    """The kind, and k for topk. A TopK file with a threshold is jumprelu at inference, as OpenMOSS loads it."""
    name = str(config.get("act_fn", "relu")).lower()
    if name not in ("relu", "topk", "jumprelu"):
        raise UnknownName(f"{path} has act_fn {name!r}; known: relu, topk, jumprelu. Give an SAE of one of these.")
    if name == "relu":
        return "relu", 0
    if name == "topk" and float(config.get("jump_relu_threshold") or 0) <= 0:
        return "topk", wanted(config, "top_k", path)
    return "jumprelu", 0


def _threshold(config: Mapping[str, Any], tensors: Mapping[str, Tensor], path: Path, scale: float) -> Tensor:
    """For a decoder row of norm 1, in the units of the pre-activation: one number, or one for each latent."""
    if "log_jumprelu_threshold" in tensors:
        return tensors["log_jumprelu_threshold"].exp()
    return torch.tensor(wanted(config, "jump_relu_threshold", path, float) * scale)


def _weights(tensors: Mapping[str, Tensor], config: Mapping[str, Any], where: Path) -> dict[str, Tensor]:
    names = {"W_enc": "encoder.weight.T", "W_dec": "decoder.weight.T", "b_enc": "encoder.bias", "b_dec": "decoder.bias"}
    if not config.get("use_decoder_bias", True):
        del names["b_dec"]
    weights = take(tensors, names, where)
    if "b_dec" not in weights:
        weights["b_dec"] = torch.zeros(weights["W_dec"].shape[-1])
    return weights


def _scale(config: Mapping[str, Any], tensors: Mapping[str, Tensor], hook: str, path: Path, width: int) -> float:
    """What the stream is multiplied by before encoding."""
    how = str(config.get("norm_activation", "none"))
    if how in ("none", "inference"):
        return 1.0
    if how != "dataset-wise":
        raise UnknownName(f"{path} has norm_activation {how!r}; known: dataset-wise, inference, none. Fold it in.")
    stored = "dataset_average_activation_norm"
    norms = config[stored] if isinstance(config.get(stored), dict) else {}
    found = [norms[key] for key in ("in", hook) if key in norms]
    found += [tensors[key] for key in (f"{stored}.in", f"{stored}.{hook}") if key in tensors]
    if not found or not 0 < float(found[0]) < float("inf"):
        raise BadFile(f"{path} is scaled dataset-wise, but its {stored} is {found[:1]}; get the files again.")
    return width**0.5 / float(found[0])
