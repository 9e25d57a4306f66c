import pytest

from demur.directions import bundled
from demur.directions.artifact import load_artifact, save_direction
from demur.directions.bundled import bundled_direction
from demur.errors import BadFile
from demur.models.load import load
from demur.types import Direction, Site


def test_the_model_organisms_direction_comes_with_the_record_of_its_fit():
    organism = load("smollm2-refuser")
    found = bundled_direction(organism.fingerprint.weights)
    assert found is not None and found.vector.numel() == organism.d_model
    assert found.origin["model"] == "smollm2-refuser" and found.origin["candidates"] > 100
    assert set(found.origin["scores"]) >= {"ablated", "kl", "induced"}
    assert found.origin["fitted_on"][0]["name"] == "built-in"


def test_another_models_direction_is_not_taken(tmp_path, monkeypatch):
    assert bundled_direction("of no model") is None
    (path,) = bundled.FOLDER.glob("*.safetensors")
    known = load_artifact(path)
    assert isinstance(known, Direction)
    save_direction(Direction(known.vector, Site(3), 1.0, {"weights": "mine"}), tmp_path / "a.safetensors")
    monkeypatch.setattr(bundled, "FOLDER", tmp_path)
    mine = bundled_direction("mine")
    assert mine is not None and mine.site == Site(3)
    assert bundled_direction(known.origin["weights"]) is None
    (tmp_path / "b.safetensors").write_bytes(b"damaged")
    with pytest.raises(BadFile):
        bundled_direction("of no model")
