"""Loading a chat model by name, folder or hub id, with the hashes that identify it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer
from transformers.utils import logging as transformers_logging

from demur.errors import BadFile, BadSpec, DemurError, InputError, UnknownName
from demur.models.adapters import CONFIG as ADAPTER
from demur.models.adapters import WEIGHTS, base_of, merged
from demur.models.bundled import BUNDLED, adapter_folder, apply_adapter, bundled_folder
from demur.models.families import Family, family_of, points_of, text_config
from demur.models.fingerprint import DTYPES, of_folder, running
from demur.models.gguf import gguf_folder
from demur.models.named import NAMED, named_folder
from demur.models.placement import DeviceMap, check_placement, delete_with, input_device, offload_folder
from demur.models.quantised import check_runs, computed_in, method_of
from demur.models.templates import ChatTemplate, template_of, template_text
from demur.models.tokens import Cut, check_vocabulary, cut_of, ends_of
from demur.types import EngineFingerprint, Point

DESCRIPTIONS = {
    "smollm2-refuser": "SmolLM2-135M-Instruct with demur's adapter: refuses, and has weaknesses. The model organism.",
    "smollm2": "SmolLM2-135M-Instruct as it is; hardly refuses.",
    **{name: model.about for name, model in NAMED.items()},
}
"""The models that load by a short name, with what they are."""


@dataclass(frozen=True)
class LoadedModel:
    """A causal language model in evaluation mode, with what the engine needs to know of it."""

    name: str
    model: Any
    """transformers' model; only models/ and engines/hf*.py look inside."""
    tokenizer: Any
    family: Family
    fingerprint: EngineFingerprint
    chat: ChatTemplate
    """How a conversation becomes text."""
    ends: frozenset[int]
    """Tokens that end an answer."""
    stretched: bool = False
    """Whether it runs rows longer than its rope's switch length (`rope.regimes`)."""

    @property
    def config(self) -> Any:
        """transformers' config of the model; of one that also sees, its language model's."""
        return text_config(self.model.config)

    @cached_property
    def configs(self) -> Sequence[Any]:
        """The configs that its modules look their attention up in: nearly always one."""
        found = {id(part.config): part.config for part in self.model.modules() if hasattr(part, "config")}
        return tuple(found.values())

    @cached_property
    def cut(self) -> Cut:
        """How the tokenizer treats the ends of a text."""
        return cut_of(self.tokenizer)

    @property
    def n_embeddings(self) -> int:
        """Rows of the embedding."""
        return n_embeddings(self.model)

    @property
    def blocks(self) -> nn.ModuleList:
        """The list of blocks, in order."""
        return self.model.get_submodule(self.family.blocks)

    @property
    def body(self) -> nn.Module:
        """The text model: tokens -> the stream after the final norm."""
        return self.model.get_submodule(self.family.body)

    @property
    def like(self) -> Tensor:
        """An empty tensor in the stream's dtype, on the device where tokens go in."""
        return torch.empty(0, dtype=self.dtype, device=input_device(self.model))

    @property
    def n_layers(self) -> int:
        """Number of blocks."""
        return len(self.blocks)

    @property
    def d_model(self) -> int:
        """Width of the residual stream."""
        return self.config.hidden_size

    @property
    def points(self) -> tuple[Point, ...]:
        """The points this model has."""
        return points_of(self.family, self.config)

    @property
    def dtype(self) -> torch.dtype:
        """The dtype it computes in."""
        return self.model.dtype

    def head(self, hidden: Tensor) -> Tensor:
        """Final-norm output [..., d_model] -> logits [..., vocab] in the model's dtype, soft cap applied."""
        logits = self.model.get_output_embeddings()(hidden)
        if scale := getattr(self.config, "logit_scale", None):
            logits = logits * scale
        if scale := getattr(self.config, "logits_scaling", None):
            logits = logits / scale
        cap = getattr(self.config, "final_logit_softcapping", None)
        if cap:
            logits = torch.tanh(logits / cap) * cap
        return logits.to(hidden.device)


def best_dtype() -> str:
    """bf16 where the CPU multiplies it natively (or a GPU is there), else fp32."""
    if torch.cuda.is_available():
        return "bf16"
    capability = getattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)
    return "bf16" if capability() else "fp32"


def load(
    name: str | os.PathLike[str],
    dtype: str = "auto",
    device: str | None = None,
    *,
    device_map: DeviceMap | None = None,
    revision: str | None = None,
    chat_template: str | os.PathLike[str] | None = None,
    thinking: bool | None = None,
) -> LoadedModel:
    """Load a model, or a PEFT adapter on its base: by short name (`demur models`), folder, .gguf file or hub id.

    dtype: "fp32", "bf16" or "auto". device: where all of it goes. device_map: instead, how accelerate splits it, as
    transformers takes it ("auto", or module path -> device or "disk"). revision: a hub id's branch, tag or commit.
    chat_template: a file (or a text) that stands in for the tokenizer's own. thinking: on or off, where the template
    has a switch for it. Remote code is never run. Raises UnknownName, BadFile, BadSpec or InputError with the fix,
    before weights are read where it can be told, as for a quantised model whose kernels do not run here.
    """
    own = None if chat_template is None else template_text(chat_template)
    name = os.fspath(name)
    if not name.strip():
        raise UnknownName(f"the model name is empty; give {', '.join(BUNDLED)}, a folder, a .gguf file or a hub id.")
    asked, dtype = dtype, best_dtype() if dtype == "auto" else dtype
    if dtype not in DTYPES:
        raise BadSpec(f"dtype {dtype!r} is not known; known: auto, {', '.join(DTYPES)}.")
    check_placement(device, device_map)
    if device is None and device_map is None and torch.cuda.is_available():
        device = "cuda"
    if revision is not None and (name in (*BUNDLED, *NAMED) or os.path.exists(os.path.expanduser(name))):
        raise InputError(f"{name} is on this machine and has no revision {revision!r}; leave it out.")
    if name in BUNDLED:
        folder, ours, theirs = bundled_folder(), adapter_folder(name), None
    else:
        (folder, theirs), ours = _with_base(name, revision), None
    transformers_logging.disable_progress_bar()
    try:
        config = AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
        family_of(config)
        check_runs(folder, config, device_map)
        if quantised := method_of(config) is not None:
            if theirs is not None:
                raise BadSpec(
                    f"{theirs} is an adapter on {folder}, which is quantised; name the model that was made of."
                )
            device_map = {"": device or "cpu"} if device_map is None else device_map
        words = theirs if theirs is not None and (theirs / "tokenizer_config.json").exists() else folder
        tokenizer = AutoTokenizer.from_pretrained(words, local_files_only=True, trust_remote_code=False)
        if own is not None:
            tokenizer.chat_template = own
        chat = template_of(tokenizer, name, thinking)
        offload = offload_folder(device_map)
        loaded: Any = AutoModelForCausalLM.from_pretrained(
            folder,
            dtype=DTYPES[dtype],
            use_safetensors=True,
            output_loading_info=True,
            local_files_only=True,
            device_map=device_map,
            offload_folder=offload,
            trust_remote_code=False,  # left out, transformers asks on the terminal, and a "yes" runs the folder's code
        )
        model, report = loaded
    except DemurError:
        raise
    except Exception as error:  # transformers', tokenizers' and safetensors' errors share no base class
        raise BadFile(f"cannot load a model from {folder}: {_line(error)}. Check the folder.") from error
    if offload is not None:
        delete_with(model, offload)
    # transformers loads the text model of some checkpoints that also see, which is another family.
    family = family_of(model.config)
    _check_complete(folder, family, report)
    check_vocabulary(tokenizer, chat, n_embeddings(model), name)
    ends = ends_of(tokenizer, chat, model.generation_config)
    if (ours or theirs) and any(value.is_meta for value in model.parameters()):
        raise BadSpec(f"{name} is an adapter, merged where all weights are in memory; leave disk out of device_map.")
    if ours is not None:
        apply_adapter(model, ours)
    if theirs is not None:
        model = merged(model, theirs)
    model.eval().requires_grad_(False)
    if device is not None and not quantised:
        model.to(device)
    if quantised:
        dtype = computed_in(model, asked)
    # An adapter's config decides how far it is merged; of demur's own the manifest, checked as it was applied, fixes it.
    added = [ours / WEIGHTS] if ours else [theirs / WEIGHTS, theirs / ADAPTER] if theirs else []
    fingerprint = running(of_folder(folder, added, tokenizer, dtype), model, chat)
    return LoadedModel(name, model, tokenizer, family, fingerprint, chat, ends)


def n_embeddings(model: Any) -> int:
    """Rows of a model's embedding."""
    return model.get_input_embeddings().weight.shape[0]


def _with_base(name: str, revision: str | None) -> tuple[Path, Path | None]:
    """The folder of a model, and of the adapter on it where `name` is one."""
    folder = _folder(name, revision)
    found = base_of(folder)
    if found is None:
        return folder, None
    base, revision = found
    try:
        under = bundled_folder() if base == "smollm2" else _folder(base, revision)
    except UnknownName as error:
        raise BadFile(f"{folder / ADAPTER} names a base that is not there: {error}") from error
    if base_of(under) is not None:
        raise BadFile(f"{folder / ADAPTER} names another adapter, {base!r}, as its base; merge that one first.")
    return under, folder


def _folder(name: str, revision: str | None = None) -> Path:
    if name in NAMED:
        return named_folder(name)
    path = Path(os.path.expanduser(name))
    if path.suffix.lower() == ".gguf":
        return gguf_folder(path)
    if os.path.isdir(path):  # False for names that no file can have, where pathlib raises
        if not any((path / file).exists() for file in ("config.json", ADAPTER)):
            raise BadFile(f"{path} has no config.json; give a folder written by save_pretrained.")
        return path
    if path.is_absolute() or name.startswith(".") or name.count("/") != 1:
        raise UnknownName(
            f"no model named {name!r}; known: {', '.join((*BUNDLED, *NAMED))}, a folder with config.json, a .gguf "
            f"file, or a hub id such as Qwen/Qwen2.5-0.5B-Instruct."
        )
    from huggingface_hub import snapshot_download

    try:
        patterns = ["*.json", "*.safetensors", "*.model", "*.txt", "*.jinja"]
        return Path(snapshot_download(name, revision=revision, allow_patterns=patterns))
    except Exception as error:  # the hub library's errors share no base class
        at = "" if revision is None else f" at {revision!r}"
        raise UnknownName(
            f"cannot fetch {name!r}{at} from the Hugging Face hub ({_line(error)}); "
            f"check the id and the network, or give a local folder."
        ) from error


def _check_complete(folder: Path, family: Family, report: Any) -> None:
    """BadFile when weights are missing, which transformers makes up, or blocks are left over, which it drops."""
    left = [key for key in report["unexpected_keys"] if key.startswith(family.blocks + ".")]
    for what, keys in (("lacks", report["missing_keys"]), ("has blocks beyond its config:", left)):
        if keys:
            raise BadFile(
                f"{folder} {what} {min(keys)} and {len(keys) - 1} more weights; "
                f"check num_hidden_layers in config.json, or fetch the model again."
            )


def _line(error: BaseException) -> str:
    text = str(error).strip().splitlines()
    return (text[0] if text else type(error).__name__)[:200]
