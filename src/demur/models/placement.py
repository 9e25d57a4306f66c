"""Where a model stands: on one device, or split over several by accelerate."""

from __future__ import annotations

from typing import Any

import torch


def input_device(model: Any) -> torch.device:
    """The device that tokens go to: of a split model, the one where its embedding runs."""
    embedding = model.get_input_embeddings()
    # A weight that waits on disk or in memory for its turn says "meta"; accelerate's hook knows where it will be.
    device = getattr(getattr(embedding, "_hf_hook", None), "execution_device", None)
    return embedding.weight.device if device is None else torch.device(device)
