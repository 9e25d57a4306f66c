"""Gemma Scope (Lieberum et al. 2408.05147): jumprelu SAEs, `params.npz`, or `params.safetensors` in Gemma Scope 2.

The first release says where an SAE stands in its folder's name only: `layer_20/width_16k/average_l0_71` in
google/gemma-scope-2b-pt-res is the output of block 20. b_dec is not taken off the stream.
"""

from __future__ import annotations

import re
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from demur.errors import BadFile
from demur.saes.files import read_config, read_tensors, take, wanted
from demur.saes.hooks import site_of
from demur.saes.sae import SAE
from demur.types import Point, Site

NPZ = "params.npz"
SAFETENSORS = "params.safetensors"

_NAMES = {name: name for name in ("W_enc", "W_dec", "b_enc", "b_dec", "threshold")}
_POINTS: dict[str, Point] = {"res": "post", "mlp": "mlp_out"}
_CONTEXT = {"prepend_bos": True, "context_size": 1024}
"""How these SAEs were trained: on sequences of 1024 tokens that begin with BOS."""


def read(folder: Path) -> SAE:
    """The SAE in `params.npz`. A path that names no release (.../gemma-scope-2b-pt-res/...) counts as residual.

    Raises BadFile for a file that is missing, damaged or holds pickles, or a folder of another shape.
    """
    tensors = take(_arrays(folder / NPZ), _NAMES, folder / NPZ)
    release = re.search(r"gemma-scope-(\d+b)-(pt|it)-(\w+)", folder.as_posix())
    metadata: dict[str, Any] = dict(_CONTEXT)
    if release:
        metadata["model_name"] = f"google/gemma-2-{release[1]}" + ("-it" if release[2] == "it" else "")
    site = _site(folder, release[3] if release else "res")
    return SAE("jumprelu", tensors, site, metadata=metadata, source=str(folder))


def read_2(folder: Path) -> SAE:
    """The SAE in `params.safetensors`, whose `config.json` names its hook (model.layers.20.output is 20.post)."""
    path = folder / "config.json"
    config = read_config(path)
    if config.get("type", "sae") != "sae":
        raise BadFile(f"{path} is of a {config['type']}; demur takes SAEs of one site: see resid_post/ or mlp_out/.")
    if config.get("architecture") != "jump_relu":
        raise BadFile(f"{path} has architecture {config.get('architecture')!r}; Gemma Scope's is 'jump_relu'.")
    tensors, _ = read_tensors(folder / SAFETENSORS)
    weights = take(tensors, {name: name.lower() for name in _NAMES}, folder / SAFETENSORS)
    hook, model = wanted(config, "hf_hook_point_in", path, str), wanted(config, "model_name", path, str)
    if hook != config.get("hf_hook_point_out", hook):
        raise BadFile(f"{path} reads {hook} and writes {config['hf_hook_point_out']}: a transcoder; give an SAE.")
    metadata = {**_CONTEXT, "model_name": model, "hf_hook_name": hook}
    return SAE("jumprelu", weights, site_of(hook, model), metadata=metadata, source=str(folder))


def _site(folder: Path, kind: str) -> Site:
    layers = re.findall(r"(?<=/)layer_(\d+)(?=/|$)", f"/{folder.as_posix()}")
    if kind not in _POINTS:
        raise BadFile(f"{folder} is of Gemma Scope's {kind!r}, no site; known: {', '.join(_POINTS)}: use -res.")
    if not layers:
        raise BadFile(
            f"{folder} does not say its layer; keep Gemma Scope's folders, as layer_20/width_16k/average_l0_71."
        )
    return Site(int(layers[-1]), _POINTS[kind])


def _arrays(path: Path) -> dict[str, Tensor]:
    try:
        with path.open("rb") as raw, np.load(raw, allow_pickle=False) as file:
            # Some files write w_enc for W_enc.
            return {re.sub("^w_", "W_", name): torch.from_numpy(file[name]) for name in file.files}
    except FileNotFoundError:
        raise BadFile(f"no {path.name} in {path.parent}; copy the SAE's whole folder.") from None
    except (OSError, EOFError, ValueError, TypeError, AttributeError, zipfile.BadZipFile) as problem:
        raise BadFile(f"{path} is not a readable npz of plain arrays: {problem}; get the file again.") from problem
