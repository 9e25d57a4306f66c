"""The world in which the docs' code runs: a mock that refuses in the place of every model, and SAEs of its width."""

from __future__ import annotations

import pytest
import torch
from tests.planted import Planted

from demur.cli.show import console

N_LAYERS, WIDTH = 30, 16
"""As many layers as the bundled model, so that the docs' sites are there."""


@pytest.fixture
def world(tmp_path, monkeypatch):
    """An empty folder to work in, a `Planted` of 30 layers whichever model is named."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(console, "width", 120)
    monkeypatch.setattr("demur.engines.hf.HFEngine", lambda *_, **__: Planted(N_LAYERS, WIDTH))
    torch.manual_seed(0)
