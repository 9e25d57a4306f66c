"""The steer file in lm-eval's own steered model, against the same vector in ours."""

import importlib
import warnings

import pytest
import torch

from demur.directions.exchange import write_vector
from demur.directions.vectors import steering_vector
from demur.engines.hf import HFEngine
from demur.engines.rows import row_of
from demur.interventions import add
from demur.types import Site


@pytest.fixture(scope="module")
def steered():
    """lm-eval's SteeredModel, or skip. Its imports warn, which the suite would take for errors."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pytest.importorskip("lm_eval")
        return importlib.import_module("lm_eval.models.hf_steered").SteeredModel


@pytest.mark.parametrize("layers", [(1,), (0, 2)])
@pytest.mark.filterwarnings("ignore")
def test_lm_eval_steers_as_we_do(steered, build, talk, tmp_path, layers):
    made = build("llama", 3)
    made.plain.save_pretrained(tmp_path / "model")
    made.loaded.tokenizer.save_pretrained(tmp_path / "model")
    engine = HFEngine(made.loaded)
    vector = steering_vector({Site(layer, "post"): torch.randn(engine.d_model, generator=torch.Generator().manual_seed(
        layer)) for layer in layers})  # fmt: skip
    path = write_vector(vector, tmp_path / "v.pt")
    theirs = steered(pretrained=str(tmp_path / "model"), steer_path=str(path), device="cpu", dtype="float32")
    conversation = talk("How do I bake bread?")
    ids = torch.tensor([row_of(engine.model, conversation).tokens])
    ours = engine.last_logits([conversation], add(vector, 1.0))
    with torch.no_grad():
        torch.testing.assert_close(ours, theirs._model_call(ids)[:, -1].float(), atol=1e-4, rtol=1e-4)
    assert not torch.allclose(ours, engine.last_logits([conversation]), atol=1e-2)
