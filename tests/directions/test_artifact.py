import math
import random
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save, save_file

import demur
from demur.directions import artifact
from demur.directions.anything import load_direction
from demur.directions.artifact import load_sealed_vector, save_direction, save_vector, tensor_hash
from demur.directions.sealed import Sealed, read_sealed, write_sealed
from demur.directions.vectors import steering_vector
from demur.errors import BadFile, BadSpec, BadVector, OutOfRoom
from demur.types import Direction, Site

WEIGHTS = "a" * 64


def made(seed: int = 0, **changes: Any) -> Direction:
    x = torch.randn(16, generator=torch.Generator().manual_seed(seed))
    parts = {"vector": x / x.norm(), "site": Site(3, "mid"), "norm": 7.1, "origin": {"weights": WEIGHTS, "n": [1, 2]}}
    return Direction(**{**parts, **changes})


@pytest.fixture
def file(tmp_path):
    return save_direction(made(), tmp_path / "refusal.safetensors")


@pytest.mark.parametrize("norm", [7.1, 1 / 3, 1e-30, 123456.789])
def test_what_is_loaded_is_exactly_what_was_saved(tmp_path, norm):
    direction = made(norm=norm, origin={"weights": WEIGHTS, "scores": {"kl": 0.1 + 0.2}, "ü": None})
    loaded = load_direction(save_direction(direction, tmp_path / "new" / "d.safetensors"), WEIGHTS)
    assert loaded.vector.equal(direction.vector)
    assert loaded.vector.dtype == torch.float32
    assert (loaded.site, loaded.norm) == (direction.site, norm)
    assert loaded.origin == {**direction.origin, "version": demur.__version__}
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["d.safetensors"]


def test_a_direction_without_a_model_loads_for_every_model(tmp_path):
    path = save_direction(made(origin={}), tmp_path / "d.safetensors")
    assert load_direction(path, WEIGHTS).origin == {"version": demur.__version__}


def test_a_direction_of_another_model_is_refused_with_both_hashes(file):
    assert load_direction(file).origin["weights"] == WEIGHTS
    with pytest.raises(BadFile, match=r"refusal.safetensors was fitted on .* aaaaaaaaaaaa.*, not bbbbbbbbbbbb.*; fit"):
        load_direction(file, "b" * 64)


def test_a_missing_file_says_what_writes_one(tmp_path):
    with pytest.raises(BadFile, match=r"no direction at .*none.safetensors; `demur direction fit` writes one"):
        load_direction(tmp_path / "none.safetensors")


@pytest.mark.parametrize("content", [b"", b"{}", b"\0" * 200, b"\xff" * 200, b"PK\x03\x04 a pickle, say"])
def test_bytes_that_are_no_safetensors_are_refused(tmp_path, content):
    path = tmp_path / "d.safetensors"
    path.write_bytes(content)
    with pytest.raises(BadFile, match=r"d.safetensors is not a readable direction file: .*, or fit it again"):
        load_direction(path)


def test_a_folder_is_refused(tmp_path):
    with pytest.raises(BadFile, match=r"not a readable direction file"):
        load_direction(tmp_path)


def test_every_truncation_is_noticed(file):
    whole = file.read_bytes()
    for length in range(0, len(whole), 7):
        file.write_bytes(whole[:length])
        with pytest.raises(BadFile, match=r"refusal.safetensors"):
            load_direction(file)


def test_every_flipped_bit_is_noticed(file):
    """Of the vector and of the header alike: the layer, the norm, where it came from."""
    whole, dice = file.read_bytes(), random.Random(0)
    for _ in range(400):
        changed = bytearray(whole)
        changed[dice.randrange(len(whole))] ^= 1 << dice.randrange(8)
        file.write_bytes(changed)
        with pytest.raises(BadFile, match=r"refusal.safetensors"):
            load_direction(file)


@pytest.mark.parametrize(
    ("name", "value"),
    [("facts", "{}"), ("facts", '{"norms": {"3.mid": 71.0}, "origin": {}}'), ("origin", "{}"), ("layer", "three")],
)
def test_a_changed_header_is_noticed(file, name, value):
    with safe_open(file, framework="pt") as opened:
        header, vector = opened.metadata(), opened.get_tensor("3.mid")
    save_file({"3.mid": vector}, file, {**header, name: value})
    with pytest.raises(BadFile, match=r"does not match its sha256: the file is damaged; fit it again"):
        load_direction(file)


@pytest.mark.parametrize("header", [{}, {"kind": "demur.sae"}, {"kind": "demur.direction", "point": "everywhere"}])
def test_another_kind_of_file_is_refused_by_its_kind(tmp_path, header):
    path = tmp_path / "d.safetensors"
    path.write_bytes(save({"vector": made().vector}, header))
    with pytest.raises(BadFile, match=rf"is no demur direction \(kind {header.get('kind')!r}.*`demur direction fit`"):
        load_direction(path)


def test_a_file_without_a_seal_or_of_another_content_is_refused(tmp_path):
    path = tmp_path / "d.safetensors"
    path.write_bytes(save({"other": made().vector}, {"kind": "demur.direction", "point": "pre"}))
    with pytest.raises(BadFile, match=r"is no demur direction .*without a seal"):
        load_direction(path)
    facts = {"origin": {}, "norms": {}}
    for tensors in ({"other": made().vector}, {}, {"1.pre": made().vector, "2.pre": made().vector}):
        write_sealed(path, Sealed("demur.direction", facts, tensors))
        with pytest.raises(BadFile, match=r"has a header that cannot be read .*; fit it again"):
            load_direction(path)


BAD = [
    (torch.full((16,), 0.5), r"has norm 1, this has 2; normalise it"),
    (torch.zeros(16), r"has norm 1, this has 0; normalise it"),
    (torch.tensor([float("nan"), 1.0, float("inf")]), r"2 of 3 entries are NaN or infinite; fit the direction again"),
    (torch.eye(3), r"one vector; this has shape \(3, 3\)"),
]


@pytest.mark.parametrize(("vector", "message"), BAD)
def test_what_is_no_unit_vector_is_neither_saved_nor_loaded(tmp_path, monkeypatch, vector, message):
    path = tmp_path / "d.safetensors"
    with pytest.raises(BadVector, match=message):
        save_direction(made(vector=vector), path)
    assert not path.exists()
    monkeypatch.setattr(artifact, "check_unit", lambda *_: None)
    save_direction(made(vector=vector), path)
    monkeypatch.undo()
    with pytest.raises(BadVector, match=rf"{path.name}: .*{message}"):
        load_direction(path)


def test_a_failed_write_leaves_the_old_file_and_a_typed_error(file, tmp_path, monkeypatch):
    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.replace", full)
    with pytest.raises(OutOfRoom, match=r"no room to write .*refusal.safetensors"):
        save_direction(made(seed=1), file)
    monkeypatch.undo()
    assert load_direction(file).vector.equal(made().vector)
    assert [path.name for path in tmp_path.iterdir()] == [file.name]


def test_a_place_that_cannot_be_written_is_bad_input(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(BadFile, match=r"cannot write .*choose a folder you may write"):
        save_direction(made(), tmp_path / "file" / "d.safetensors")


def test_the_hash_is_of_the_float32_values_and_nothing_else():
    x = made().vector
    assert tensor_hash(x) == tensor_hash(x.double()) == tensor_hash(torch.stack([x, x], 1)[:, 0])
    assert tensor_hash(x) != tensor_hash(-x)


def test_a_kept_fit_is_told_from_a_direction(tmp_path):
    save_file({"direction": torch.ones(4)}, tmp_path / "kept.safetensors", {"kind": "demur.fit"})
    with pytest.raises(BadFile, match="a fit that a run keeps.*demur direction fit"):
        load_direction(tmp_path / "kept.safetensors")


def test_a_vector_of_one_site_loads_as_its_unit_direction(tmp_path):
    value, site = 3.0 * made().vector, Site(5, "post")
    path = save_vector(steering_vector({site: value}, {"weights": WEIGHTS}, {site: 8.0}), tmp_path / "v.safetensors")
    found = load_direction(path, WEIGHTS)
    assert (found.site, found.norm, found.origin["weights"]) == (site, 8.0, WEIGHTS)
    torch.testing.assert_close(found.vector, made().vector)
    with pytest.raises(BadFile, match="not bbbbbbbbbbbb"):
        load_direction(path, "b" * 64)
    save_vector(steering_vector({site: value}), path)
    assert math.isnan(load_direction(path).norm)  # and a relative dose is then refused
    with pytest.raises(BadSpec, match="activation norm at 5.post nan is not a finite number"):
        demur.add(load_direction(path), 0.5, relative=True)
    save_vector(steering_vector({site: value, Site(6): value}), path)
    with pytest.raises(BadFile, match=r"holds a vector at 5.post, 6.pre; a direction stands at one site"):
        load_direction(path)


def test_a_direction_loads_as_the_unit_vector_at_its_site(file, tmp_path):
    found = load_sealed_vector(file, WEIGHTS)
    assert found.vectors[Site(3, "mid")].equal(made().vector)
    assert found.norms == {Site(3, "mid"): 7.1} and found.origin["n"] == [1, 2]
    assert load_sealed_vector(save_direction(made(norm=math.nan), tmp_path / "d.safetensors")).norms == {}


def test_a_file_says_the_version_that_made_it_and_not_the_one_that_copied_it(tmp_path):
    path = save_direction(made(origin={"version": "0.0.1"}), tmp_path / "d.safetensors")
    assert load_direction(path).origin == {"version": "0.0.1"}
    assert "blocks from 0" in str(read_sealed(path, "direction", ["demur.direction"]).facts["layer_convention"])


def test_an_origin_that_is_no_json_is_refused_before_anything_is_written(tmp_path):
    with pytest.raises(BadSpec, match=r"d.safetensors: what it says of its origin is no JSON"):
        save_direction(made(origin={"site": Site(3)}), tmp_path / "d.safetensors")
    assert not list(tmp_path.iterdir())
