"""dictionary_learning (Marks, Karvonen, Mueller): `config.json` and `ae.pt`, a pickled state dict.

The pickle is opened by torch with weights_only, which builds tensors and nothing else. Trainers keep decoder rows
at norm 1; like SAELens, we leave out the rescaling by those norms that some of its classes do.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from demur.errors import BadFile, unknown
from demur.runs.archive import fault
from demur.saes.files import read_config, take, wanted
from demur.saes.hooks import site_of
from demur.saes.sae import NEEDS, SAE, Kind
from demur.types import Site

FILES = ("config.json", "ae.pt")

_LINEAR = {"W_enc": "encoder.weight.T", "W_dec": "decoder.weight.T", "b_enc": "encoder.bias"}
_PLAIN = {name: name for name in NEEDS["jumprelu"]}
_GATED = {
    "W_enc": "encoder.weight.T",
    "W_dec": "decoder.weight.T",
    "b_dec": "decoder_bias",
    "b_gate": "gate_bias",
    "r_mag": "r_mag",
    "b_mag": "mag_bias",
}


@dataclass(frozen=True)
class _Class:
    """One of its dictionary classes: our kind, our names of its tensors, and whether b_dec comes off the stream."""

    kind: Kind
    names: dict[str, str]
    centred: bool = True


CLASSES: dict[str, _Class] = {
    "AutoEncoder": _Class("relu", {**_LINEAR, "b_dec": "bias"}),
    "AutoEncoderNew": _Class("relu", {**_LINEAR, "b_dec": "decoder.bias"}, centred=False),
    "AutoEncoderTopK": _Class("topk", {**_LINEAR, "b_dec": "b_dec"}),
    "BatchTopKSAE": _Class("jumprelu", {**_LINEAR, "b_dec": "b_dec", "threshold": "threshold"}),
    "MatryoshkaBatchTopKSAE": _Class("jumprelu", _PLAIN),
    "JumpReluAutoEncoder": _Class("jumprelu", _PLAIN, centred=False),
    "GatedAutoEncoder": _Class("gated", _GATED),
}
"""dict_class -> how it is read."""


def read(folder: Path) -> SAE:
    """The SAE in a trainer's folder. BatchTopK is read as it runs by default: jumprelu with its one threshold.

    Raises BadFile for a file that is missing, damaged, or holds anything but tensors; UnknownName for a class or
    submodule that demur does not have; BadVector for bad weights.
    """
    path = folder / FILES[0]
    config = read_config(path)
    trainer = wanted(config, "trainer", path, dict)
    name = wanted(trainer, "dict_class", path, str)
    if name not in CLASSES:
        raise unknown("dictionary class", name, CLASSES, f"{path}: give an SAE of one of these.")
    how = CLASSES[name]
    buffer = config.get("buffer") or {}
    weights = take(_state(folder / FILES[1]), how.names, folder / FILES[1])
    if how.kind == "jumprelu" and weights["threshold"].ndim == 0:
        threshold = float(weights["threshold"])
        if threshold < 0:
            raise BadFile(f"{folder / FILES[1]} has threshold {threshold:g}, so none was measured; train it longer.")
        weights["threshold"] = torch.full(weights["b_enc"].shape, threshold, dtype=weights["b_enc"].dtype)
    known = {"model_name": trainer.get("lm_name"), "context_size": buffer.get("ctx_len"), "dict_class": name}
    return SAE(
        how.kind,
        weights,
        _site(trainer, buffer, path),
        k=wanted(trainer, "k", path) if how.kind == "topk" else 0,
        apply_b_dec_to_input=how.centred,
        metadata={key: value for key, value in known.items() if value},
        source=str(folder),
    )


def _site(trainer: dict[str, object], buffer: dict[str, object], path: Path) -> Site:
    """From submodule_name (resid_post_layer_12), else from the block `layer` and whether its io was recorded out."""
    layer = wanted(trainer, "layer", path)
    submodule = trainer.get("submodule_name")
    if not submodule:
        end = str(buffer.get("io", "out"))
        if end not in ("in", "out"):
            raise BadFile(f"{path} has io {end!r}: a transcoder; demur takes SAEs of one site: io in or out.")
        return Site(layer, "pre" if end == "in" else "post")
    site = site_of(str(submodule), str(trainer.get("lm_name") or ""))
    if site.layer != layer:
        raise BadFile(f"{path} has layer {layer} but submodule_name {submodule!r}; correct the one that is wrong.")
    return site


def _state(path: Path) -> dict[str, Tensor]:
    if wrong := fault(path):
        raise BadFile(f"{path} is damaged: {wrong}; get it again.")
    try:
        with warnings.catch_warnings():
            # Of a pickle protocol that it does not know well; what it then cannot read is an error all the same.
            warnings.simplefilter("ignore", UserWarning)
            state = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise BadFile(f"no {path.name} in {path.parent}; copy the SAE's whole folder.") from None
    except Exception as problem:  # a damaged pickle ends in a struct.error, an OverflowError, nearly anything
        line = (str(problem).strip().splitlines() or [type(problem).__name__])[0]
        raise BadFile(f"{path} is damaged, or holds more than tensors (not run): {line}; get it again.") from problem
    if not isinstance(state, dict):
        raise BadFile(f"{path} holds a {type(state).__name__}, not a state dict; save ae.state_dict().")
    return {str(name): value for name, value in state.items() if isinstance(value, Tensor)}
