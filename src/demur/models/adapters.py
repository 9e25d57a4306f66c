"""A PEFT adapter in a folder of its own: which base it names, and merging it in."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from safetensors import safe_open

from demur.errors import BadFile, DemurError, MissingExtra
from demur.models.memory import out_of_memory

CONFIG = "adapter_config.json"
WEIGHTS = "adapter_model.safetensors"


def base_of(folder: Path) -> tuple[str, str | None] | None:
    """What an adapter's folder names as its base, and the base's revision; None for a folder that is no adapter.

    Raises BadFile where the folder is a whole model too, or names no base, or is not plain LoRA (with its variants
    rsLoRA, DoRA and modules that are saved whole).
    """
    path = folder / CONFIG
    if not path.exists():
        return None
    if any(folder.glob("model*.safetensors")):
        raise BadFile(f"{folder} holds a model and an adapter ({CONFIG}); which is meant cannot be told: part them.")
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
        base, revision, kind = (config.get(key) for key in ("base_model_name_or_path", "revision", "peft_type"))
    except (OSError, ValueError, AttributeError, RecursionError) as error:
        raise BadFile(
            f"{path} cannot be read ({error}); save the adapter again with peft's save_pretrained."
        ) from error
    if kind != "LORA":
        raise BadFile(f"{path}: an adapter of type {kind!r} is not merged; known: LORA.")
    if config.get("megatron_config"):
        raise BadFile(f"{path}: megatron_config names a module to import; take it out of the file.")
    if not isinstance(base, str) or not base.strip():
        raise BadFile(f"{path} names no base; set `base_model_name_or_path` to a folder or a hub id.")
    if not (folder / WEIGHTS).exists():
        raise BadFile(f"{folder} has no {WEIGHTS}; save the adapter with safe serialization.")
    return base, revision if isinstance(revision, str) else None


def merged(model: Any, folder: Path) -> Any:
    """The model with an adapter's weights merged into its own, by peft.

    Raises MissingExtra without peft, BadFile where the adapter was made for other weights or has values that are not
    finite.
    """
    try:
        from peft import PeftModel, get_peft_model_state_dict
    except ImportError as error:
        raise MissingExtra("an adapter is merged by peft: pip install 'demur[train]'") from error
    try:
        tuned = PeftModel.from_pretrained(model, str(folder))
        own = set(get_peft_model_state_dict(tuned))
        with safe_open(folder / WEIGHTS, "pt") as file:
            stored = set(file.keys())
        if own != stored:
            name = min(own ^ stored)
            raise BadFile(
                f"{folder}: {name} {'is missing' if name in own else 'has no place'}; its base is another one."
            )
        return tuned.merge_and_unload(safe_merge=True)
    except DemurError:
        raise
    except Exception as error:  # peft's and safetensors' errors share no base class
        if out_of_memory(error):
            raise
        line = (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
        raise BadFile(f"cannot merge the adapter {folder}: {line}. Check that it was made for this base.") from error
