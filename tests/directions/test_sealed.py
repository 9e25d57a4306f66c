"""Of every kind of sealed file, today's and version 0.1's: a changed byte anywhere is found."""

import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import save

from demur.directions.sealed import LONGEST, Sealed, read_sealed, write_sealed
from demur.errors import BadFile

DATA = Path(__file__).parent / "data"
KINDS = ("demur.direction", "demur.fit", "demur.record", "demur.vector")


def read(path, weights=None):
    return read_sealed(path, "cached result", KINDS, weights)


@pytest.fixture(params=[*KINDS, "direction-0.1", "fit-0.1", "vector-0.1"])
def file(request, tmp_path):
    """A file of each kind; of version 0.1's as that version wrote them."""
    if request.param not in KINDS:
        return Path(shutil.copy(DATA / f"{request.param}.safetensors", tmp_path))
    facts = {"origin": {"weights": "0" * 64, "ü": [None, 0.1]}, "norms": {"1.pre": 2.0}}
    tensors = {} if request.param == "demur.record" else {"1.pre": torch.tensor([0.6, 0.8]), "2.pre": torch.ones(2)}
    return write_sealed(tmp_path / "f.safetensors", Sealed(request.param, facts, tensors))


def test_every_changed_byte_is_found(file):
    """Each byte of header, padding and data becomes each of: two flipped bits, a blank, a tab, a quotation mark.

    Version 0.1 left the blanks behind its header and a fit's key unsealed, and what is read does not depend on them.
    """
    whole, before = file.read_bytes(), read(file)
    with open(file, "r+b", buffering=0) as changed:
        for place, was in enumerate(whole):
            for byte in {was ^ 1, was ^ 0x80, 0x20, 0x09, 0x22} - {was}:
                changed.seek(place)
                changed.write(bytes([byte]))
                try:
                    found = read(file)
                except BadFile:
                    continue
                assert file.name.endswith("-0.1.safetensors"), (place, byte)
                assert (found.kind, found.facts) == (before.kind, before.facts)
                assert all(found.tensors[name].equal(before.tensors[name]) for name in before.tensors)
            changed.seek(place)
            changed.write(bytes([was]))


def test_added_and_missing_bytes_are_found(file):
    whole = file.read_bytes()
    for changed in (whole + b"\0", whole[:-1], whole[:8], whole[:7], b""):
        file.write_bytes(changed)
        with pytest.raises(BadFile):
            read(file)


def test_what_is_read_is_what_was_written(tmp_path):
    content = Sealed("demur.fit", {"a": [1, "é"], "sha256": "0" * 64, "origin": {}}, {"x": torch.eye(3).double()})
    found = read(write_sealed(tmp_path / "new" / "f.safetensors", content))
    assert (found.kind, found.facts) == (content.kind, content.facts)
    assert found.tensors["x"].dtype == torch.float32 and found.tensors["x"].equal(torch.eye(3))
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["f.safetensors"]


def test_a_file_of_another_model_is_refused_in_every_kind(file):
    said = read(file).facts["origin"]["weights"]
    assert read(file, said).facts
    with pytest.raises(BadFile, match=rf"was fitted on a model with weights {said[:12]}\.\.\., not bbbbbbbbbbbb"):
        read(file, "b" * 64)


def test_a_model_is_told_from_its_header_alone(tmp_path):
    path = tmp_path / "model.safetensors"
    path.write_bytes(save({"weight": torch.ones(4)})[:-4])
    with pytest.raises(BadFile, match=r"is no demur vector \(kind None\); `demur vector fit` writes one"):
        read_sealed(path, "vector", ["demur.vector"])


HEADERS = [
    (b"[1, 2]", "begins with"),
    (b'{"__metadata__": [1]}', "not a readable"),
    (b'{"__metadata__": {"kind": 3}}', "holds more than text"),
    (b'{"__metadata__": ' + b"[" * 100_000, "not a readable"),
    (b'{"__metadata__": {"kind": "demur.vector", "sha256": "", "origin": "{"}}', "cannot be read|sha256"),
    (b'{"__metadata__": {"kind": "demur.fit", "seal": ""}}', "cannot be read"),
    (b'{"x": {"dtype": "F99", "shape": [1], "data_offsets": [0, 4]}, "__metadata__": '
     b'{"kind": "demur.direction", "sha256": ""}}', "cannot be read"),
]  # fmt: skip


@pytest.mark.parametrize(("header", "said"), HEADERS)
def test_headers_of_other_shapes_end_in_a_typed_error(tmp_path, header, said):
    path = tmp_path / "f.safetensors"
    path.write_bytes(len(header).to_bytes(8, "little") + header)
    with pytest.raises(BadFile, match=said):
        read(path)


def test_a_header_longer_than_safetensors_allows_is_not_read(tmp_path):
    path = tmp_path / "prompts.csv"
    path.write_text("id,text\n1,How do I bake bread?\n")
    assert int.from_bytes(path.read_bytes()[:8], "little") > LONGEST
    with pytest.raises(BadFile, match=r"prompts.csv is not a readable direction file: it begins with b'id,text"):
        read_sealed(path, "direction", ["demur.direction"])
