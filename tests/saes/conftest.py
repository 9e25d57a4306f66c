"""Small random SAEs of every kind, and sae-lens where it is installed."""

import importlib
import warnings
from typing import Any

import pytest
import torch

from demur.saes.sae import NEEDS, SAE
from demur.types import Site

D_IN, D_SAE = 8, 24
VERSIONS = {"sae_lens_version": "6.54.12", "sae_lens_training_version": "6.54.12"}


def random_weights(kind: Any, seed: int = 0, d_in: int = D_IN, d_sae: int = D_SAE) -> dict[str, torch.Tensor]:
    random = torch.Generator().manual_seed(seed)
    shapes = {"W_enc": (d_in, d_sae), "W_dec": (d_sae, d_in), "b_dec": (d_in,)}
    weights = {name: torch.randn(shapes.get(name, (d_sae,)), generator=random) for name in NEEDS[kind]}
    if "threshold" in weights:
        weights["threshold"] = weights["threshold"].abs()
    return weights


@pytest.fixture(scope="session")
def weights():
    """weights(kind, seed, d_in, d_sae) -> random tensors under SAELens' names."""
    return random_weights


@pytest.fixture(scope="session")
def sae():
    """sae(kind, **fields) -> a random SAE, 8 wide with 24 latents; topk keeps 5."""

    def make(kind: Any = "relu", seed: int = 0, **fields: Any) -> SAE:
        metadata = {**VERSIONS, "model_name": "tiny", "hook_name": "blocks.5.hook_resid_post"}
        known = {"k": 5 if kind == "topk" else 0, "metadata": metadata, "apply_b_dec_to_input": True}
        parts = {"weights": random_weights(kind, seed), "site": Site(5, "post"), **known}
        return SAE(kind, **{**parts, **fields})

    return make


@pytest.fixture(scope="session")
def x():
    """x(*shape, seed=1) -> a stream [*shape, 8]."""
    return lambda *shape, seed=1: 2 * torch.randn(*shape, D_IN, generator=torch.Generator().manual_seed(seed)) + 0.5


@pytest.fixture(scope="session")
def saelens():
    """sae_lens, or skip. Its imports warn, which the suite would take for errors."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pytest.importorskip("sae_lens")
        return importlib.import_module("sae_lens")
