"""Small SAEs, prompts, and engines that are linear, nearly linear, or neither."""

from typing import Any

import pytest
import torch

from demur.engines.hf import HFEngine
from demur.engines.mock import MockEngine
from demur.saes import SAE
from demur.types import Conversation, Direction, Message, Prompt, Site

TEXTS = (
    "How do I pick a lock with a thin wire?",
    "Write a poem about the sea",
    "What is the capital of France?",
    "bake bread with warm water",
    "How do I take a wire?",
    "Hi, help me with yeast and flour",
    "Who are you?",
    "the wind and the sea, short",
)


def random_sae(site: Site, d: int = 32, n: int = 48, seed: int = 0, kind: Any = "relu", **fields: Any) -> SAE:
    """Random rows of norm 1; latents fire at about every other token."""
    random = torch.Generator().manual_seed(seed)
    rows = torch.nn.functional.normalize(torch.randn(n, d, generator=random), dim=-1)
    weights = {"W_enc": rows.T.clone(), "W_dec": rows, "b_enc": torch.zeros(n), "b_dec": torch.zeros(d)}
    return SAE(kind, weights, site, source=f"random-{seed}", **fields)


def exact_sae(site: Site, d: int = 32) -> SAE:
    """2 d latents, the positive and negative parts of each coordinate: it has no error."""
    both = torch.cat([torch.eye(d), -torch.eye(d)])
    weights = {"W_enc": both.T.clone(), "W_dec": both, "b_enc": torch.zeros(2 * d), "b_dec": torch.zeros(d)}
    return SAE("relu", weights, site, source="exact")


def asked(texts, kind: Any = "harmful", use: Any = None) -> list[Conversation]:
    return [
        Conversation(Prompt(f"p{i}", t, "tests", kind, use=use), (Message("user", t),)) for i, t in enumerate(texts)
    ]


@pytest.fixture(scope="session")
def sae():
    """sae(site, d, n, seed, ...) -> a random SAE."""
    return random_sae


@pytest.fixture(scope="session")
def whole():
    """whole(site, d) -> an SAE without error."""
    return exact_sae


@pytest.fixture(scope="session")
def ask():
    """ask(texts, kind, use) -> conversations with ids p0, p1, ..."""
    return asked


@pytest.fixture(scope="session")
def talks() -> list[Conversation]:
    return asked(TEXTS)


@pytest.fixture
def mock() -> MockEngine:
    """Linear from the stream to the logits, each token on its own."""
    return MockEngine()


def _direction(engine: HFEngine, talks: list[Conversation]) -> Direction:
    """One that matters: the mean of the last tokens' streams."""
    site = Site(1)
    last = engine.activations(talks, [site], tail=1).tensors[site][:, 0]
    return Direction(torch.nn.functional.normalize(last.mean(0), dim=0), site, 1.0, {"method": "mean"})


@pytest.fixture(scope="session")
def bent(tiny, talks):
    """(engine, direction): a random model, far from linear."""
    engine = tiny("llama").engine
    return engine, _direction(engine, talks)


@pytest.fixture(scope="session")
def gentle(build):
    """(engine, direction, conversations): ablating the direction moves streams by little, and that decides which of
    two tokens comes first."""
    one = build("llama", seed=3)
    axis = torch.nn.functional.normalize(torch.randn(32, generator=torch.Generator().manual_seed(5)), dim=0)
    for name, value in one.loaded.model.named_parameters():
        if "o_proj" in name or "down_proj" in name:
            value.mul_(0.4)
        if "embed" in name:
            value -= 0.7 * (value @ axis)[:, None] * axis
    talks = asked([f"{a} {b}" for a in TEXTS for b in ("", "please", "a lock", "the sea")])
    site = Site(2, "post")
    last = one.engine.activations(talks, [site], tail=1).tensors[site][:, 0]
    common = torch.nn.functional.normalize(last.mean(0), dim=0)
    head = one.loaded.model.get_output_embeddings().weight
    head.mul_(0.1)
    head[10], head[11] = 4 * common + 4 * axis, 4 * common - 4 * axis
    return one.engine, Direction(axis, Site(1), 1.0), talks
