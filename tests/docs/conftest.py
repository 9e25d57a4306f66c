"""The world in which the docs' code runs: mocks in the place of models and SAEs, and the files that the pages name."""

from __future__ import annotations

from functools import cache

import pytest
import torch
from tests.conftest import build, random_sae, tokenizer
from tests.planted import Planted

from demur.cli.show import console
from demur.directions.exchange import write_vector
from demur.directions.vectors import steering_vector
from demur.engines import hf, mock
from demur.engines.mock import REFUSAL
from demur.experiments import audit_measure, baseline, proof
from demur.judges.endpoint import Endpoint, Reply
from demur.models import pulling
from demur.prompts.builtin import builtin, builtin_items
from demur.prompts.sets import PromptSets
from demur.saes import bundled, save_sae
from demur.types import Site

N_LAYERS, WIDTH, LATENTS = 20, 16, 5120
"""So many layers and latents that the sites and latents of the docs are there."""
MODEL = "smollm2-refuser"
SITES = (Site(9, "post"), Site(14, "post"), Site(19, "post"))
PLANTED = 0
MOST = 8
STREAMS = {}
"""(tokens, lean) -> what the mock makes of them; all mocks here are alike."""
TINY = {"num_hidden_layers": N_LAYERS, "hidden_size": WIDTH, "head_dim": 4}


@pytest.fixture(scope="session")
def saes(tmp_path_factory):
    """A folder of SAEs, laid out as those that ship."""
    folder = tmp_path_factory.mktemp("saes")
    for site in SITES:
        sae = random_sae("jumprelu", site, WIDTH, LATENTS, seed=site.layer, metadata={"model_name": MODEL})
        # One latent that fires everywhere, weakly, and writes refusal strongly: something to find, suppress and clamp.
        sae.weights["W_enc"][:, PLANTED], sae.weights["b_enc"][PLANTED] = 0.0, 1.0
        sae.weights["W_dec"][PLANTED] = 10 * Named().direction.vector
        save_sae(sae, folder / MODEL / str(site))
    return folder


@pytest.fixture
def world(saes, tmp_path, monkeypatch):
    """A folder with the pages' files; `Planted` whichever model is named, a tiny Llama where transformers loads it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(console, "width", 120)
    monkeypatch.setattr(PromptSets, "take", few)
    for name in ("_words", "_jitter"):
        monkeypatch.setattr(mock, name, cache(getattr(mock, name)))
    for module in (audit_measure, baseline, proof):
        monkeypatch.setattr(module, "builtin_items", lambda use: builtin_items(use)[: 2 * MOST])
    monkeypatch.setattr(hf, "load", lambda *_, **__: Named())
    monkeypatch.setattr(hf, "HFEngine", engine_of)
    monkeypatch.setattr(Endpoint, "ask", lambda *_: Reply('{"outcome": "refused", "harmful": false}', 300, 12))
    monkeypatch.setattr(pulling, "pull", lambda name, *_: tmp_path)
    monkeypatch.setattr(
        "transformers.AutoModelForCausalLM.from_pretrained", lambda *_, **__: build("llama", **TINY).plain
    )
    monkeypatch.setattr("transformers.AutoTokenizer.from_pretrained", lambda *_, **__: tokenizer())
    monkeypatch.setattr(bundled, "WEIGHTS", saes)
    bundled.bundled_saes.cache_clear()
    write_files(tmp_path)
    yield
    bundled.bundled_saes.cache_clear()


def few(sets, kind, use, n=None, take=PromptSets.take):
    """At most MOST prompts of a kind and use, so that the experiments of all pages take seconds."""
    return take(sets, kind, use, min(n or MOST, MOST))


def engine_of(model, *rest, engine=hf.HFEngine, **more):
    """The mock for a model that is named; a model that the reader holds is really run."""
    return Named() if isinstance(model, str) else engine(model, *rest, **more)


class Named(Planted):
    """A `Planted` of the bundled model's name and depth."""

    name = MODEL

    def __init__(self):
        super().__init__(N_LAYERS, WIDTH)

    def _stream(self, row, lean, steer=None, sites=(), leaves=False, fixed=None):
        """The unsteered streams are computed once."""
        if steer is not None or sites or leaves or fixed:
            return super()._stream(row, lean, steer, sites, leaves, fixed)
        if (row.tokens, lean) not in STREAMS:
            STREAMS[row.tokens, lean] = super()._stream(row, lean)
        return STREAMS[row.tokens, lean]

    def check(self, intervention):
        """Nothing is refused before it runs."""

    def content(self, conversations):
        """All tokens: the mock's do not see each other, so what decides stands at the template's last."""
        return [torch.ones_like(mask) for mask in super().content(conversations)]


def write_files(folder):
    """What a reader of the docs has: requests, a vector."""
    for name, column, kind in (("mine", "goal", "plain"), ("requests", "question", "plain"),
                               ("harmful", "goal", "harmful"), ("harmless", "goal", "plain")):  # fmt: skip
        rows = [column, *(f'"{prompt.text}"' for prompt in builtin(kind, "test")[:120])]
        (folder / f"{name}.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    rows = ["goal,tone", *(f'"{p.text}",{tone}' for p, tone in zip(builtin("plain", "test")[:4], "abab", strict=True))]
    (folder / "labelled.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    rows = ["goal,response,human,tone"]
    for i, prompt in enumerate(builtin("harmful", "test")[:6]):
        said, label = (REFUSAL, "refused") if i % 2 else ("First, take what you need.", "complied")
        rows.append(f'"{prompt.text}","{said}",{label},{"ab"[i // 3]}')
    (folder / "answers.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    value = torch.randn(WIDTH, generator=torch.Generator().manual_seed(1))
    write_vector(steering_vector({Site(14): 0.1 * value}), folder / "warmth.gguf", N_LAYERS)
