import pytest
import torch

from demur.directions.anything import read_any
from demur.directions.artifact import save_direction
from demur.directions.exchange import write_vector
from demur.directions.vectors import steering_vector
from demur.errors import BadFile
from demur.types import Direction, Site, SteeringVector

AXIS = Direction(torch.tensor([0.6, 0.8]), Site(3), 7.0, {"weights": "a" * 64})
VECTOR = steering_vector({Site(3, "post"): torch.tensor([3.0, 4.0])}, {"weights": "a" * 64})


def test_a_direction_is_told_from_a_vector_by_what_the_file_says(tmp_path):
    found = read_any(save_direction(AXIS, tmp_path / "v.safetensors"), "a" * 64)
    assert isinstance(found, Direction) and found.vector.equal(AXIS.vector)
    for ending in ("safetensors", "gguf", "svec", "pt"):
        found = read_any(write_vector(VECTOR, tmp_path / f"v.{ending}"), "a" * 64)
        assert isinstance(found, SteeringVector)
        assert [value.tolist() for value in found.vectors.values()] == [[3.0, 4.0]]


def test_what_is_no_vector_is_named(tmp_path):
    (tmp_path / "mine.csv").write_text("id,text\n")
    with pytest.raises(BadFile, match=r"mine.csv is no vector: those end in .safetensors, .gguf"):
        read_any(tmp_path / "mine.csv")
    with pytest.raises(BadFile, match="no direction at"):
        read_any(tmp_path / "none.safetensors")
    with pytest.raises(BadFile, match="not bbbbbbbbbbbb"):
        read_any(save_direction(AXIS, tmp_path / "v.safetensors"), "b" * 64)
