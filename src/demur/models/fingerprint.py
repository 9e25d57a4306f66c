"""What decides a model's numbers, as hashes: of its folder, or of its content where it has no folder."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache
from importlib.metadata import version
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch
from safetensors import safe_open
from torch import Tensor
from transformers import AutoConfig, GenerationConfig

from demur.errors import BadFile, BadSpec
from demur.models.files import Files
from demur.models.hub import snapshot
from demur.models.kept import listed, sha256
from demur.models.templates import ChatTemplate
from demur.types import EngineFingerprint

LIBRARIES = ("torch", "transformers", "tokenizers")
"""Whose code computes the tokens."""
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}

_BESIDE = {
    *("_name_or_path", "architectures", "dtype", "torch_dtype", "transformers_version", "use_cache", "return_dict"),
    *("pad_token_id", "eos_token_id", "bos_token_id", "output_attentions", "output_hidden_states"),
}
"""Entries of a config that change no logits: where the model comes from, and how it is called. End tokens are compared
by themselves, for they may stand in either of two files."""


def of_folder(files: Files, tokenizer: Any, dtype: str) -> EngineFingerprint:
    """The fingerprint of a model's files, with those that decide what an adapter adds. BadFile without safetensors."""
    known = listed(files.folder) if files.checked else {}
    return _with(_files_hash(files.folder, files.added, known), tokenizer, dtype)


def of_model(model: Any, tokenizer: Any) -> EngineFingerprint:
    """The fingerprint of a model in memory: its folder's when it holds that folder's very weights, else its content's.

    Raises BadSpec for a dtype that demur does not compute in.
    """
    dtype = next((name for name, value in DTYPES.items() if value == model.dtype), None)
    if dtype is None:
        raise BadSpec(f"dtype {model.dtype} is not known; known: {', '.join(map(str, DTYPES.values()))}.")
    folder = _own_folder(model.config)
    if folder is not None and _holds(model, folder):
        return _with(_files_hash(folder), tokenizer, dtype)
    return _with(_content_hash(model), tokenizer, dtype)


def running(fingerprint: EngineFingerprint, model: Any, template: ChatTemplate) -> EngineFingerprint:
    """The fingerprint with what runs the model: the template as it is used, the processor, the libraries.

    Files that were fitted on a model are held against its weights alone, so that an upgrade leaves them usable.
    """
    versions = ", ".join(f"{name} {version(name)}" for name in LIBRARIES)
    precision = torch.get_float32_matmul_precision()
    products = "" if precision == "highest" else f", products in {precision} precision"
    software = f"{versions}, modules {_modules_hash(model)[:12]}{products}"
    return replace(fingerprint, template=template.sha256, device=device_of(model), software=software)


def device_of(model: Any) -> str:
    """The processors that a model's weights are on, by name: "cpu AVX512", "cuda NVIDIA H200"."""
    return " + ".join(sorted({_processor(str(place)) for place in {value.device for value in model.parameters()}}))


@cache
def _processor(device: str) -> str:
    kind = device.partition(":")[0]
    if kind == "cpu":
        return f"cpu {torch.backends.cpu.get_cpu_capability()}"
    return f"cuda {torch.cuda.get_device_name(device)}" if kind == "cuda" else kind


def _modules_hash(model: Any) -> str:
    """Of what computes beside weights and config: the modules' classes, and values that are saved with no weights."""
    digest = hashlib.sha256()
    for name, module in model.named_modules():
        digest.update(f"{name} {type(module).__module__}.{type(module).__qualname__}\n".encode())
    saved = model.state_dict().keys()
    for name, value in sorted(model.named_buffers()):
        if name not in saved:
            real = torch.view_as_real(value) if value.is_complex() else value
            digest.update(name.encode() + real.detach().cpu().float().numpy().tobytes())
    return digest.hexdigest()


def _with(weights: str, tokenizer: Any, dtype: str) -> EngineFingerprint:
    return EngineFingerprint("hf", weights, hashlib.sha256(_words(tokenizer).encode()).hexdigest(), "", dtype)


def _words(tokenizer: Any) -> str:
    """All of a tokenizer that decides tokens and their text, as one text."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    settings = {name: getattr(tokenizer, name, None) for name in ("clean_up_tokenization_spaces",
                                                                  "split_special_tokens")}  # fmt: skip
    beside = json.dumps([tokenizer.special_tokens_map, settings], sort_keys=True, default=str)
    if backend is None:
        model = getattr(tokenizer, "sp_model", None)
        pieces = [type(tokenizer).__name__, sorted(tokenizer.get_vocab().items()), tokenizer.init_kwargs]
        return repr([*pieces, model.serialized_model_proto() if model is not None else None]) + beside
    if backend.padding or backend.truncation:  # whoever holds the tokenizer called it so; demur's calls do not
        backend = type(backend).from_str(backend.to_str())
        backend.no_padding()
        backend.no_truncation()
    return backend.to_str() + beside


def _files_hash(folder: Path, added: Sequence[Path] = (), known: Mapping[str, str] = MappingProxyType({})) -> str:
    """known: the sha256 of those of the folder's files that need not be read again."""
    files = sorted(folder.glob("*.safetensors"))
    hashes = [known.get(file.name) or sha256(file) for file in files] + [sha256(file) for file in added]
    if not hashes:
        raise BadFile(f"{folder} has no *.safetensors file; save the model with safe serialization.")
    weights = hashlib.sha256("".join(hashes).encode())
    for name in ("config.json", "generation_config.json"):  # the latter names the end tokens
        if (folder / name).exists():
            weights.update((folder / name).read_bytes())
    return weights.hexdigest()


def _content_hash(model: Any) -> str:
    digest = hashlib.sha256(json.dumps([_settings(model.config), _ends(model.generation_config)]).encode())
    for key, value in sorted(_weights(model).items()):
        digest.update(key.encode() + value.detach().cpu().float().numpy().tobytes())
    return digest.hexdigest()


def _weights(model: Any) -> dict[str, Tensor]:
    """A model's tensors by name, those too that accelerate keeps elsewhere."""
    if not any(value.is_meta for value in model.state_dict().values()):
        return model.state_dict()
    from accelerate.utils.modeling import get_state_dict_offloaded_model

    return get_state_dict_offloaded_model(model)


def _own_folder(config: Any) -> Path | None:
    """The folder that a config says it came from, or the hub's snapshot of it on this machine."""
    name = str(getattr(config, "_name_or_path", "") or "")
    if not name:
        return None
    if Path(name).is_dir():
        return Path(name)
    try:
        return snapshot(name, getattr(config, "_commit_hash", None), fetch=False)
    except Exception:  # the hub library's errors share no base class; without a snapshot the content is hashed
        return None


def _holds(model: Any, folder: Path) -> bool:
    """Whether the model's weights, config and end tokens are those of the folder's files."""
    files = sorted(folder.glob("*.safetensors"))
    if not files or not (folder / "config.json").exists():
        return False
    config = AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    named = (folder / "generation_config.json").exists()
    ends = GenerationConfig.from_pretrained(folder, local_files_only=True) if named else config
    if _settings(config) != _settings(model.config) or _ends(ends) != _ends(model.generation_config):
        return False
    state, prefix = _weights(model), f"{model.base_model_prefix}."
    seen: set[int] = set()
    renamed: set[str] = set()
    for file in files:
        with safe_open(file, "pt") as stored:
            for key in stored.keys():  # noqa: SIM118 (not a dict)
                value = stored.get_tensor(key)
                # Checkpoints of a base model leave its name out; others have names that transformers changes.
                own = state.get(key, state.get(prefix + key))
                if own is None:
                    renamed.add(_digest(value.to(model.dtype)))
                elif _equal(own, value):
                    seen.add(own.data_ptr())
                else:
                    return False
    return all(own.data_ptr() in seen or _made_of(own, renamed) for own in state.values())


def _made_of(own: Tensor, stored: set[str]) -> bool:
    """Whether a tensor is a stored one under another name, or one of all experts made of one or two a stored expert."""
    if _digest(own) in stored:
        return True
    return own.ndim == 3 and all(
        _digest(expert) in stored or all(_digest(half) in stored for half in expert.chunk(2)) for expert in own
    )


def _digest(value: Tensor) -> str:
    value = value.detach().cpu().contiguous()
    shape, content = str(tuple(value.shape)).encode(), value.view(torch.uint8).numpy().data
    return hashlib.sha256(shape + content).hexdigest()


def _equal(own: Tensor, stored: Tensor) -> bool:
    return stored.shape == own.shape and torch.equal(stored.to(own.dtype), own.cpu())


def _settings(config: Any) -> dict[str, Any]:
    return json.loads(json.dumps(_deciding(config.to_dict()), sort_keys=True, default=str))


def _deciding(record: Any) -> Any:
    """A config's entries without those that change no logits, in its inner configs too."""
    if not isinstance(record, dict):
        return record
    return {key: _deciding(value) for key, value in record.items() if key not in _BESIDE}


def _ends(config: Any) -> Sequence[int]:
    ends = config.eos_token_id
    return [ends] if isinstance(ends, int) else list(ends or [])
