"""Loading a chat model by name, folder or hub id, with the hashes that identify it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer
from transformers.utils import logging as transformers_logging

from demur.errors import BadFile, BadSpec, DemurError, InputError, UnknownName
from demur.models.adapters import merged
from demur.models.bundled import BUNDLED, apply_adapter
from demur.models.families import Family, family_of, points_of, text_config
from demur.models.files import Files, files_of, line_of
from demur.models.fingerprint import DTYPES, of_folder, running
from demur.models.memory import memory_for, out_of_memory
from demur.models.named import NAMED
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
    before weights are read where it can be told, as for a quantised model whose kernels do not run here; OutOfRoom
    where disk or memory run out.
    """
    own = None if chat_template is None else template_text(chat_template)
    name = os.fspath(name)
    asked, dtype = dtype, best_dtype() if dtype == "auto" else dtype
    _check_asked(name, dtype, revision)
    check_placement(device, device_map)
    if device is None and device_map is None and torch.cuda.is_available():
        device = "cuda"
    transformers_logging.disable_progress_bar()
    with memory_for(name, dtype, device):
        files = files_of(name, revision)
        with _readable(files.folder):
            config = AutoConfig.from_pretrained(files.folder, local_files_only=True, trust_remote_code=False)
            family_of(config)
            check_runs(files.folder, config, device_map)
            quantised = method_of(config) is not None
            if quantised and files.theirs is not None:
                raise BadSpec(
                    f"{files.theirs} is an adapter on {files.folder}, which is quantised; name the model that was made "
                    f"of."
                )
            tokenizer = _tokenizer(files, own)
            given = "" if own is None or own == chat_template else f"the chat template {os.fspath(chat_template or '')}"
            chat = template_of(tokenizer, name, thinking, given)
        if quantised and device_map is None:
            device_map = {"": device or "cpu"}
        model, family = _model(files.folder, dtype, device_map)
        check_vocabulary(tokenizer, chat, n_embeddings(model), name)
        ends = ends_of(tokenizer, chat, model.generation_config)
        model = _adapted(model, files, name).eval().requires_grad_(False)
        if device is not None and not quantised:
            model.to(device)
    if quantised:
        dtype = computed_in(model, asked)
    fingerprint = running(of_folder(files, tokenizer, dtype), model, chat)
    return LoadedModel(name, model, tokenizer, family, fingerprint, chat, ends)


def n_embeddings(model: Any) -> int:
    """Rows of a model's embedding."""
    return model.get_input_embeddings().weight.shape[0]


def _check_asked(name: str, dtype: str, revision: str | None) -> None:
    """UnknownName, BadSpec or InputError for what cannot be loaded, whatever is there."""
    if not name.strip():
        raise UnknownName(f"the model name is empty; give {', '.join(BUNDLED)}, a folder, a .gguf file or a hub id.")
    if dtype not in DTYPES:
        raise BadSpec(f"dtype {dtype!r} is not known; known: auto, {', '.join(DTYPES)}.")
    if revision is not None and (name in (*BUNDLED, *NAMED) or os.path.exists(os.path.expanduser(name))):
        raise InputError(f"{name} is on this machine and has no revision {revision!r}; leave it out.")


@contextmanager
def _readable(folder: Path) -> Iterator[None]:
    """BadFile for whatever a library raises of a folder's files, but for memory that runs out."""
    try:
        yield
    except DemurError:
        raise
    except Exception as error:  # transformers', tokenizers' and safetensors' errors share no base class
        if out_of_memory(error):
            raise
        raise BadFile(f"cannot load a model from {folder}: {line_of(error)}. Check the folder.") from error


def _tokenizer(files: Files, template: str | None) -> Any:
    """The model's tokenizer, or its adapter's where that has one; with a template in the place of its own."""
    theirs = files.theirs
    words = theirs if theirs is not None and (theirs / "tokenizer_config.json").exists() else files.folder
    tokenizer = AutoTokenizer.from_pretrained(words, local_files_only=True, trust_remote_code=False)
    if template is not None:
        tokenizer.chat_template = template
    return tokenizer


def _model(folder: Path, dtype: str, device_map: DeviceMap | None) -> tuple[Any, Family]:
    """transformers' model of a folder, placed by the map, with its family. BadFile unless all its weights are there."""
    offload = offload_folder(device_map)
    try:
        with _readable(folder):
            loaded: Any = AutoModelForCausalLM.from_pretrained(
                folder,
                dtype=DTYPES[dtype],
                use_safetensors=True,
                output_loading_info=True,
                local_files_only=True,
                device_map=device_map,
                offload_folder=offload,
                trust_remote_code=False,  # left out, transformers asks on the terminal, and a "yes" runs folder's code
            )
    except BaseException:
        if offload is not None:
            shutil.rmtree(offload, ignore_errors=True)
        raise
    model, report = loaded
    if offload is not None:
        delete_with(model, offload)
    # transformers loads the text model of some checkpoints that also see, which is another family.
    family = family_of(model.config)
    _check_complete(folder, family, report)
    return model, family


def _adapted(model: Any, files: Files, name: str) -> Any:
    """The model with its adapter merged. BadSpec where weights wait on disk."""
    if files.added and any(value.is_meta for value in model.parameters()):
        raise BadSpec(f"{name} is an adapter, merged where all weights are in memory; leave disk out of device_map.")
    if files.ours is not None:
        apply_adapter(model, files.ours)
    return model if files.theirs is None else merged(model, files.theirs)


def _check_complete(folder: Path, family: Family, report: Any) -> None:
    """BadFile when weights are missing, which transformers makes up, or blocks are left over, which it drops."""
    left = [key for key in report["unexpected_keys"] if key.startswith(family.blocks + ".")]
    for what, keys in (("lacks", report["missing_keys"]), ("has blocks beyond its config:", left)):
        if keys:
            raise BadFile(
                f"{folder} {what} {min(keys)} and {len(keys) - 1} more weights; "
                f"check num_hidden_layers in config.json, or fetch the model again."
            )
