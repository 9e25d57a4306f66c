"""A chat model from a .gguf file: converted once into a Hugging Face folder in the cache, then loaded as any folder.

The folder is keyed by the file's sha256 and VERSION, and keeps its float type: float32 or float16 where that is what
the matrices are stored in, else bfloat16, which is finer than the quantisation that was undone.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from demur.directions.gguf_file import GGUFFile, open_gguf
from demur.errors import BadFile
from demur.models.gguf_architectures import LONGROPE, architecture_of
from demur.models.gguf_tokenizer import ends_of, write_tokenizer
from demur.models.kept import kept, sha256, write_manifest

VERSION = 1
"""Goes up when a conversion gives other files."""
SHARD = 1_000_000_000
"""Bytes of a weights file, beyond which another is begun: about what a conversion holds in memory."""
BESIDE = 20_000_000
"""Bytes that a folder's other files take at most."""
USED_ELSEWHERE = ("rope_freqs.weight", *LONGROPE)
"""Tensors that become entries of the config."""


def gguf_folder(path: str | Path) -> Path:
    """The folder of a .gguf file, converted when the cache lacks it.

    Raises BadFile for a file that is not whole or holds what cannot be read, UnknownName for an architecture that is
    not known, OutOfRoom when the disk is full.
    """
    path = Path(os.path.expanduser(path))
    file = open_gguf(path)
    digest = sha256(path)

    def make(folder: Path) -> None:
        convert(file, folder)
        write_manifest(folder, source=path.name, source_sha256=digest)

    return kept(f"gguf-{digest[:16]}-v{VERSION}", make, lambda: room_for(file), f"the model of {path.name}")


def room_for(file: GGUFFile) -> int:
    """Bytes that the folder of a file takes. Raises as `gguf_folder` for one that cannot be converted."""
    places = _places(file, _config(file))
    return sum(value.numel() for value, _ in places.values()) * _dtype(file).itemsize + BESIDE


def convert(file: GGUFFile, folder: Path) -> None:
    """Write a file's model and tokenizer into `folder`, as save_pretrained would. Raises as `gguf_folder`."""
    config = _config(file)
    write_tokenizer(file, folder, file.fields[f"{file.fields['general.architecture']}.context_length"])
    tokens = len(file.fields["tokenizer.ggml.tokens"])
    if tokens > config["vocab_size"]:
        raise BadFile(f"{file.path} has {tokens} tokens, but {config['vocab_size']} rows to embed them in.")
    write_json(folder / "config.json", config)
    ids = {key: config[key] for key in ("bos_token_id", "eos_token_id", "pad_token_id") if config[key] is not None}
    ends = ends_of(file)
    write_json(folder / "generation_config.json", {**ids, **({"eos_token_id": ends} if ends else {})})
    _write_weights(file, config, folder)


def _config(file: GGUFFile) -> dict[str, Any]:
    """config.json's entries."""
    entry = architecture_of(file)
    # Without a version transformers takes every large tokenizer for a broken one of Mistral's, and warns.
    return {**entry.config(file), "dtype": str(_dtype(file)).removeprefix("torch."), "transformers_version": "5.16.0"}


def _dtype(file: GGUFFile) -> torch.dtype:
    """What the folder's weights are stored in."""
    types = {stored.type.name for stored in file.tensors.values() if len(stored.shape) > 1}
    if types <= {"F32", "F16"}:
        return torch.float32 if "F32" in types else torch.float16
    return torch.bfloat16


def _places(file: GGUFFile, config: dict[str, Any]) -> dict[str, tuple[Tensor, tuple[str, ...]]]:
    """transformers' name -> its parameter, without numbers, and the tensors that make it, in the order of their rows.

    BadFile when the file lacks one, has one more, or one of another shape.
    """
    from gguf import MODEL_ARCH_NAMES, get_tensor_name_map
    from transformers import AutoConfig, AutoModelForCausalLM

    try:
        with torch.device("meta"):
            model = AutoModelForCausalLM.from_config(AutoConfig.for_model(**config))
            model.tie_weights()
    except Exception as error:  # transformers' checks of a config share no base class
        reason = " ".join(str(error).split())[:200]
        raise BadFile(f"{file.path}: its fields make no {config['model_type']} model: {reason}.") from error
    kind = next(key for key, name in MODEL_ARCH_NAMES.items() if name == file.fields["general.architecture"])
    names = get_tensor_name_map(kind, config.get("num_hidden_layers") or config["n_layer"])
    places: dict[str, tuple[Tensor, tuple[str, ...]]] = {}
    for key, value in model.named_parameters():
        if key.endswith(".experts.gate_up_proj"):
            block = f"blk.{key.split('.')[2]}"
            places[key] = value, (f"{block}.ffn_gate_exps.weight", f"{block}.ffn_up_exps.weight")
            continue
        named = names.get_name(key, try_suffixes=(".weight", ".bias")) or f"anything for {key}"
        places[key] = value, (f"{named}.weight" if key.endswith(".experts.down_proj") else named,)
    wanted = {name for _, parts in places.values() for name in parts}
    for what, left in (
        ("lacks", wanted - set(file.tensors)),
        ("has no place for", set(file.tensors) - wanted - {*USED_ELSEWHERE}),
    ):
        if left:
            raise BadFile(f"{file.path} {what} {min(left)} and {len(left) - 1} more tensors; get it again.")
    for value, parts in places.values():
        _check_shapes(file, config, value, parts)
    return places


def _check_shapes(file: GGUFFile, config: dict[str, Any], wanted: Tensor, parts: tuple[str, ...]) -> None:
    """BadFile unless the tensors, as their table says, make a parameter of the shape wanted. No number is read."""
    undo = architecture_of(file).undo
    shapes = [file.tensors[name].shape for name in parts]
    try:
        made = _joined([undo(*given, config) for given in zip(parts, map(_empty, shapes), strict=True)]).shape
    except (RuntimeError, IndexError):  # torch's, for a view or a join that these shapes do not have
        made = None
    if made != wanted.shape:
        said = " and ".join(f"{name} {list(shape)}" for name, shape in zip(parts, shapes, strict=True))
        raise BadFile(f"{file.path}: shape of {said}, but its fields say {list(wanted.shape)}; get it again.")


def _empty(shape: tuple[int, ...]) -> Tensor:
    """A tensor of this shape without numbers."""
    return torch.empty(shape, device="meta")


def _joined(parts: list[Tensor]) -> Tensor:
    """One parameter of its parts: all experts' gates and ups side by side."""
    return parts[0] if len(parts) == 1 else torch.cat(parts, dim=1)


def _write_weights(file: GGUFFile, config: dict[str, Any], folder: Path) -> None:
    """The weights, in one file or in several of at most SHARD bytes (or one parameter) with their index."""
    from safetensors.torch import save

    dtype = _dtype(file)
    places = _places(file, config)
    shards: list[list[str]] = [[]]
    room = SHARD
    for key, (value, _) in places.items():
        size = value.numel() * dtype.itemsize
        if shards[-1] and size > room:
            shards.append([])
            room = SHARD
        shards[-1].append(key)
        room -= size
    index: dict[str, str] = {}
    for i, keys in enumerate(shards):
        name = "model.safetensors" if len(shards) == 1 else f"model-{i + 1:05}-of-{len(shards):05}.safetensors"
        tensors = {key: _parameter(file, config, places[key], dtype) for key in keys}
        (folder / name).write_bytes(save(tensors, metadata={"format": "pt"}))
        index |= dict.fromkeys(keys, name)
    if len(shards) > 1:
        size = sum(value.numel() for value, _ in places.values()) * dtype.itemsize
        write_json(folder / "model.safetensors.index.json", {"metadata": {"total_size": size}, "weight_map": index})


def _parameter(file: GGUFFile, config: dict[str, Any], place: tuple[Tensor, tuple[str, ...]], dtype: Any) -> Tensor:
    """One parameter's numbers as transformers has them."""
    undo = architecture_of(file).undo
    parts = []
    for name in place[1]:
        exact = len(file.tensors[name].shape) == 1  # norms and biases: changed before they are rounded
        parts.append(undo(name, file.floats(name, torch.float32 if exact else dtype), config).to(dtype))
    return _joined(parts).contiguous()


def write_json(path: Path, entries: dict[str, Any]) -> None:
    """Write one of the folder's small files."""
    path.write_text(json.dumps(entries, indent=1) + "\n", encoding="utf-8")
