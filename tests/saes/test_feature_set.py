import json
import random
from contextlib import suppress
from typing import Any

import pytest

import demur
from demur.errors import BadFile, BadSpec, OutOfRoom
from demur.saes import load_features, load_saes, save_features, save_sae
from demur.types import Feature, FeatureSet, Site

A, B = Site(5, "post"), Site(0, "mlp_out")
HASHES = {A: "a" * 64, B: "b" * 64}


ORIGIN = {"method": "cosine", "n": [1, 2], "version": "0.0.1"}


def made(**changes: Any) -> FeatureSet:
    features = (Feature(A, 7, 0.1 + 0.2), Feature(B, 0), Feature(A, 65535, -1e-30))
    return FeatureSet(**{"features": features, "saes": HASHES, "origin": ORIGIN, **changes})


@pytest.fixture
def file(tmp_path):
    return save_features(made(), tmp_path / "features.json")


def test_what_is_loaded_is_exactly_what_was_saved(tmp_path):
    for features in (made(), made(features=()), made(origin={"ü": None, "x": 1 / 3})):
        path = save_features(features, tmp_path / "new" / "features.json")
        found = load_features(path)
        assert (found.features, found.saes) == (features.features, features.saes)
        assert found.origin == {"version": demur.__version__, **features.origin}
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["features.json"]


def test_the_file_says_what_it_is_and_how_layers_are_counted(file):
    record = json.loads(file.read_text())
    assert record["kind"] == "demur.features"
    assert "blocks from 0" in record["layer_convention"]
    assert record["features"][0] == {"site": "5.post", "index": 7, "score": 0.1 + 0.2}


def test_a_missing_file_says_what_writes_one(tmp_path):
    with pytest.raises(BadFile, match=r"no feature set at .*none.json; `demur features find` writes one"):
        load_features(tmp_path / "none.json")


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe", b"[" * 100000])
def test_bytes_that_are_no_json_are_refused(tmp_path, content):
    (tmp_path / "f.json").write_bytes(content)
    with pytest.raises(BadFile, match=r"f.json is not a readable feature set: .*; find the features again"):
        load_features(tmp_path / "f.json")
    with pytest.raises(BadFile, match="not a readable feature set"):
        load_features(tmp_path)


@pytest.mark.parametrize("record", [{}, [], 5, {"kind": "demur.direction"}, {"op": "chain", "parts": []}])
def test_another_kind_of_file_is_refused_by_its_kind(tmp_path, record):
    (tmp_path / "f.json").write_text(json.dumps(record))
    with pytest.raises(BadFile, match=r"f.json is no demur feature set \(kind .*save_features writes one"):
        load_features(tmp_path / "f.json")


@pytest.mark.parametrize(
    "change",
    [
        lambda r: r["features"][0].update(index=8),
        lambda r: r["features"][0].update(site="4.post"),
        lambda r: r["features"].pop(),
        lambda r: r["saes"].update({"5.post": "c" * 64}),
        lambda r: r["origin"].update(n=3),
        lambda r: r.update(sha256="0" * 64),
    ],
)
def test_a_changed_field_is_noticed(file, change):
    record = json.loads(file.read_text())
    change(record)
    file.write_text(json.dumps(record))
    with pytest.raises(BadFile, match=r"does not match its sha256: the file is damaged; find the features again"):
        load_features(file)


@pytest.mark.parametrize("name", ["features", "saes", "origin", "sha256"])
def test_a_field_that_is_gone_is_noticed(file, name):
    record = json.loads(file.read_text())
    del record[name]
    file.write_text(json.dumps(record))
    with pytest.raises(BadFile, match="features.json"):
        load_features(file)


def test_every_flipped_bit_and_truncation_is_noticed(file):
    whole, dice = file.read_bytes(), random.Random(0)
    wanted = load_features(file)
    for _ in range(300):
        changed = bytearray(whole)
        changed[dice.randrange(len(whole))] ^= 1 << dice.randrange(8)
        file.write_bytes(changed)
        with suppress(BadFile):
            assert load_features(file) == wanted  # 1E-30 is 1e-30
    for length in range(0, len(whole) - 1, 7):
        file.write_bytes(whole[:length])
        with pytest.raises(BadFile, match="features.json"):
            load_features(file)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"saes": {A: "a" * 64}}, r"no SAE hash for its features at 0.mlp_out; add saes\[0.mlp_out\]"),
        ({"features": (Feature(A, -1),)}, "an index from 0 on and a finite score"),
        ({"features": (Feature(A, 1, float("nan")),)}, "an index from 0 on and a finite score"),
        ({"origin": {"x": float("nan")}}, "origin cannot be written as JSON"),
        ({"origin": {"x": object()}}, "origin cannot be written as JSON"),
    ],
)
def test_what_cannot_be_read_back_is_not_saved(tmp_path, changes, message):
    with pytest.raises(BadSpec, match=message):
        save_features(made(**changes), tmp_path / "f.json")
    assert not list(tmp_path.iterdir())


def test_a_failed_write_leaves_the_old_file_and_a_typed_error(file, tmp_path, monkeypatch):
    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.replace", full)
    with pytest.raises(OutOfRoom, match=r"no room to write .*features.json"):
        save_features(made(features=()), file)
    monkeypatch.undo()
    assert load_features(file) == made()


def test_the_saes_are_found_in_the_folders_of_the_origin_and_checked(sae, tmp_path):
    one = sae()
    folder = str(save_sae(one, tmp_path / "sae"))
    features = FeatureSet((Feature(A, 1),), {A: one.sha256}, {"saes": {"5.post": folder}})
    assert load_saes(features)[A].sha256 == one.sha256
    for origin in ({}, {"saes": {}}, {"saes": [folder]}, {"saes": {"5.post": 3}}):
        with pytest.raises(BadFile, match=r"does not say where its SAE at 5.post lies; give its origin"):
            load_saes(FeatureSet(features.features, features.saes, origin))
    with pytest.raises(BadFile, match="the file changed"):
        load_saes(FeatureSet(features.features, {A: "0" * 64}, features.origin))
