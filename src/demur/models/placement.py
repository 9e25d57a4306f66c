"""Where a model stands: on one device, or split over several by accelerate."""

from __future__ import annotations

import shutil
import tempfile
import weakref
from collections.abc import Mapping
from typing import Any

import torch

from demur.errors import BadSpec
from demur.models.hooks import Edit

DeviceMap = str | Mapping[str, int | str]
"""As transformers takes it: a strategy ("auto", "balanced", ...), a device, or module path -> device or "disk"."""


def check_placement(device: str | None, device_map: DeviceMap | None) -> None:
    """BadSpec for a device that is not here, or for both a device and a map."""
    if device is not None and device_map is not None:
        raise BadSpec("device and device_map say both where the model goes; give one of them.")
    named = [device] if device_map is None else device_map.values() if isinstance(device_map, Mapping) else []
    for one in named:
        if one is None or one == "disk":
            continue
        try:
            torch.empty(0, device=one)
        except (RuntimeError, AssertionError) as error:
            line = (str(error).splitlines() or [""])[0][:120]
            raise BadSpec(f"device {one!r} cannot be used: {line}. Choose another, as cpu.") from error


def offload_folder(device_map: DeviceMap | None) -> str | None:
    """A new folder for weights that stay on disk, where a map says so or may; None where none does."""
    if device_map is None or (isinstance(device_map, Mapping) and "disk" not in device_map.values()):
        return None
    return tempfile.mkdtemp(prefix="demur-offload-")


def delete_with(model: object, folder: str) -> None:
    """Take a folder away when the model goes."""
    weakref.finalize(model, shutil.rmtree, folder, True)


def input_device(model: Any) -> torch.device:
    """The device that tokens go to: of a split model, the one where its embedding runs."""
    embedding = model.get_input_embeddings()
    hook = getattr(embedding, "_hf_hook", None)
    # A weight that waits on disk or in memory for its turn says "meta"; accelerate's hook knows where it will be.
    for one in getattr(hook, "hooks", (hook,)):
        device = getattr(one, "execution_device", None)
        if device is not None:
            return torch.device(device)
    return embedding.weight.device


def split(model: Any) -> bool:
    """Whether accelerate placed the model on more than one device."""
    return len(set((getattr(model, "hf_device_map", None) or {}).values())) > 1


def at_home(edit: Edit, device: torch.device) -> Edit:
    """An edit whose tensors stand on `device`, for a stream that may stand elsewhere."""

    def moved(x: torch.Tensor) -> torch.Tensor | None:
        new = edit(x.to(device))
        return None if new is None else new.to(x.device)

    return moved
