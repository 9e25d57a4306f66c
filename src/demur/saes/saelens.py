"""SAELens' layout: `cfg.json` and `sae_weights.safetensors`; version 6, the flat configs before it, and a writer.

Checkpoints of its trainer are read as SAELens would save them for inference: BatchTopK (matryoshka or not)
becomes jumprelu with the threshold it learned. Sources: sae_lens/saes/*.py and its loaders, 6.54.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from demur.errors import BadFile, UnknownName
from demur.runs.strict import json_seal
from demur.runs.writing import atomic
from demur.saes.files import read_config, read_tensors, take, wanted
from demur.saes.hooks import hook_name, site_of
from demur.saes.sae import NEEDS, NORMALISATIONS, SAE, Kind, fold_centring, fold_scale

FILES = ("cfg.json", "sae_weights.safetensors")

_KINDS: dict[str, Kind] = {
    "standard": "relu",
    "topk": "topk",
    "jumprelu": "jumprelu",
    "gated": "gated",
    "batchtopk": "jumprelu",
    "matryoshka_batchtopk": "jumprelu",
}
_NAMES: dict[Kind, str] = {"relu": "standard", "topk": "topk", "jumprelu": "jumprelu", "gated": "gated"}
_FLAT_METADATA = (
    "model_name", "model_class_name", "model_from_pretrained_kwargs", "hook_name", "hf_hook_name", "prepend_bos",
    "context_size", "dataset_path", "exclude_special_tokens", "seqpos_slice", "neuronpedia_id",
)  # fmt: skip
"""What a flat config says of the model and the data; the rest of it is the training run's."""
_LAYOUT = "6.0.0"
"""The version written for an SAE that SAELens 6 did not make: it names the layout of cfg.json."""


def read(folder: Path, scale: float | None = None, overrides: Mapping[str, Any] | None = None) -> SAE:
    """The SAE in a folder. scale: see `load_sae`. overrides: entries of the config that replace the file's, as SAELens'
    registry gives them for files that it knows to be wrong.

    Raises BadFile for a file that is missing, damaged, changed since it was written, or a transcoder; UnknownName
    for an architecture, activation or hook that demur does not have; BadVector for bad weights.
    """
    path = folder / FILES[0]
    config = {**read_config(path), **(overrides or {})}
    metadata = _metadata(config)
    kind = _kind(config, path)
    tensors, header = read_tensors(folder / FILES[1])
    weights = _weights(config, kind, tensors, folder)
    normalisation, source = _normalisation(config, path), str(folder)
    if normalisation == "expected_average_only_in":
        if scale is None:
            raise BadFile(
                f"{path} has normalize_activations 'expected_average_only_in', whose scale no file holds; give "
                "load_sae(..., scale=sqrt(d_in) / mean activation norm), or scale=1.0 if it is folded in already."
            )
        # The folder alone does not give these weights again.
        weights, normalisation, source = fold_scale(weights, scale), "none", ""
    elif normalisation not in NORMALISATIONS:
        raise UnknownName(
            f"{path} has normalize_activations {normalisation!r}; known: {', '.join(NORMALISATIONS)}, "
            "expected_average_only_in. Fold it into the weights with sae-lens and save again."
        )
    sae = SAE(
        kind=kind,
        weights=weights,
        site=site_of(_hook(metadata, config, path), str(metadata.get("model_name") or "")),
        k=_k(config, path) if kind == "topk" else 0,
        apply_b_dec_to_input=bool(config.get("apply_b_dec_to_input", True)),
        normalisation=normalisation,
        rescale_acts_by_decoder_norm=kind == "topk" and bool(config.get("rescale_acts_by_decoder_norm", False)),
        metadata=metadata,
        source=source,
    )
    for key in ("d_in", "d_sae"):
        if config.get(key) not in (None, getattr(sae, key)):
            raise BadFile(f"{path} has {key} {config[key]}, the weights {getattr(sae, key)}; copy the whole folder.")
    # What a registry overrides is not what was written.
    for what, seal in (("sha256", sae.sha256), ("metadata", json_seal(metadata))) if not overrides else ():
        if header.get(what, seal) != seal:
            said = path if what == "metadata" else folder
            raise BadFile(f"{said} does not match the sha256 it was written with: a file was changed; get it again.")
    if not _is_centred(metadata, config):
        return sae
    told = {**metadata, "model_from_pretrained_kwargs": {}}
    return replace(sae, weights=fold_centring(sae.weights, sae.apply_b_dec_to_input), metadata=told)


def save_sae(sae: SAE, folder: str | Path) -> Path:
    """Write SAELens' two files, each whole or not at all, so that SAELens and `load_sae` read the SAE back exactly.

    The weights' header carries the SAE's sha256, and that of the metadata, which the SAE's leaves out. Returns the
    folder. Raises OutOfRoom when the disk is full, BadFile when the folder cannot be written.
    """
    folder = Path(folder)
    metadata = dict(sae.metadata)
    if not _is_layout_6(metadata.get("sae_lens_version")):
        metadata["sae_lens_version"] = _LAYOUT
    if not _names(metadata, sae):
        metadata["hook_name"] = hook_name(sae.site)
    config: dict[str, Any] = {
        "d_in": sae.d_in,
        "d_sae": sae.d_sae,
        "dtype": str(sae.weights["W_enc"].dtype).removeprefix("torch."),
        "device": "cpu",
        "apply_b_dec_to_input": sae.apply_b_dec_to_input,
        "normalize_activations": sae.normalisation,
        "reshape_activations": "none",
        "metadata": metadata,
        "architecture": _NAMES[sae.kind],
    }
    if sae.kind == "topk":
        config |= {"k": sae.k, "rescale_acts_by_decoder_norm": sae.rescale_acts_by_decoder_norm}
    # Cloned: safetensors takes no two tensors that share memory, as a tied encoder and decoder do.
    tensors = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in sae.weights.items()}
    # Both are written before either takes its place, so that what stood there stays whole.
    with atomic(folder / FILES[0]) as written, atomic(folder / FILES[1]) as temporary:
        written.write_text(json.dumps(config, indent=1), encoding="utf-8")
        save_file(tensors, temporary, {"sha256": sae.sha256, "metadata": json_seal(metadata)})
    return folder


def _metadata(config: Mapping[str, Any]) -> dict[str, Any]:
    if isinstance(config.get("metadata"), dict):
        return dict(config["metadata"])
    flat = {**config, "hook_name": config.get("hook_name", config.get("hook_point"))}
    flat.setdefault("prepend_bos", True)
    return {key: flat[key] for key in _FLAT_METADATA if flat.get(key) is not None}


def _kind(config: Mapping[str, Any], path: Path) -> Kind:
    name = str(config.get("architecture", "standard"))
    if config.get("d_out") is not None or "transcoder" in name:
        raise BadFile(f"{path} is of a transcoder ({name}, d_out {config.get('d_out')}); demur takes SAEs of one site.")
    if name not in _KINDS:
        raise UnknownName(f"{path} has architecture {name!r}; known: {', '.join(_KINDS)}. Give an SAE of one of these.")
    activation = str(config.get("activation_fn_str", config.get("activation_fn", "relu")))
    if name == "standard" and activation == "topk":
        return "topk"
    if activation not in ("relu", "topk"):
        raise UnknownName(f"{path} has activation {activation!r}; known: relu, topk. Give an SAE of one of these.")
    return _KINDS[name]


def _k(config: Mapping[str, Any], path: Path) -> int:
    return wanted({"k": config["k"]} if "k" in config else config.get("activation_fn_kwargs") or {}, "k", path)


def _weights(config: Mapping[str, Any], kind: Kind, tensors: dict[str, Tensor], folder: Path) -> dict[str, Tensor]:
    where = folder / FILES[1]
    if "W_skip" in tensors:
        raise BadFile(f"{where} has W_skip: a transcoder; demur takes SAEs of one site.")
    if not tensors.get("scaling_factor", torch.ones(1)).eq(1).all():
        raise BadFile(f"{where} has a scaling_factor that is not 1; fold it into W_dec with sae-lens and save again.")
    if "log_threshold" in tensors:
        tensors["threshold"] = tensors["log_threshold"].exp()
    weights = take(tensors, {name: name for name in NEEDS[kind] if name != "threshold"}, where)
    if kind == "jumprelu" and "topk_threshold" in tensors:
        if config.get("rescale_acts_by_decoder_norm"):
            norms = weights["W_dec"].norm(dim=-1).clamp(min=1e-8)
            weights["W_dec"] = weights["W_dec"] / norms[:, None]
            weights["W_enc"], weights["b_enc"] = weights["W_enc"] * norms, weights["b_enc"] * norms
        weights["threshold"] = torch.ones_like(weights["b_enc"]) * tensors["topk_threshold"].item()
    elif kind == "jumprelu":
        weights |= take(tensors, {"threshold": "threshold"}, where)
    return weights


def _normalisation(config: Mapping[str, Any], path: Path) -> Any:
    value = config.get("normalize_activations")
    if value is None or isinstance(value, bool):
        return "expected_average_only_in" if value else "none"
    return value


def _hook(metadata: Mapping[str, Any], config: Mapping[str, Any], path: Path) -> str:
    head = metadata.get("hook_head_index", config.get("hook_head_index", config.get("hook_point_head_index")))
    if head is not None:
        raise BadFile(f"{path} is of attention head {head} alone; give an SAE of hook_attn_out or the residual stream.")
    name = metadata.get("hook_name") or metadata.get("hf_hook_name")
    if not name:
        raise BadFile(f"{path} has no hook_name; add metadata.hook_name, such as 'blocks.12.hook_resid_post'.")
    return str(name)


def _is_centred(metadata: Mapping[str, Any], config: Mapping[str, Any]) -> bool:
    """Was it trained on a stream whose mean TransformerLens takes out? It does so for models with LayerNorm alone: of
    those that demur runs, GPT-2 and GPT-NeoX."""
    how = metadata.get("model_from_pretrained_kwargs") or config.get("model_from_pretrained_kwargs") or {}
    asked = isinstance(how, Mapping) and bool(how.get("center_writing_weights"))
    return (
        asked and re.search("gpt-?2|gpt-?neo|pythia", str(metadata.get("model_name") or ""), re.IGNORECASE) is not None
    )


def _is_layout_6(version: Any) -> bool:
    major = str(version or "").partition(".")[0]
    return major.isdigit() and int(major) >= 6


def _names(metadata: Mapping[str, Any], sae: SAE) -> bool:
    try:
        return site_of(str(metadata.get("hook_name") or ""), sae.model) == sae.site
    except UnknownName:
        return False
