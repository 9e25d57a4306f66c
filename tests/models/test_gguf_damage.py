"""Cut, flipped and invented .gguf files: a BadFile, or the model; never anything else, and never a wait without end."""

import random
import struct
from pathlib import Path

import pytest
from gguf import GGMLQuantizationType as Type
from tests import gguf_files

from demur.directions.gguf_file import open_gguf
from demur.errors import BadFile, InputError
from demur.models.gguf import convert


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> bytes:
    made = gguf_files.model("qwen2", num_hidden_layers=1)
    return gguf_files.write(tmp_path_factory.mktemp("gguf") / "x.gguf", "qwen2", made, Type.Q8_0).read_bytes()


def tried(data: bytes, folder: Path, name: str = "x.gguf") -> str:
    """What becomes of these bytes: "read", or the message of the refusal."""
    path = folder / name
    path.write_bytes(data)
    into = folder / "into"
    into.mkdir(exist_ok=True)
    try:
        convert(open_gguf(path), into)
    except InputError as error:
        return str(error)
    return "read"


def test_a_file_cut_anywhere_is_refused(whole, tmp_path):
    assert tried(whole, tmp_path) == "read"
    places = [0, 3, 4, 23, 24, *random.Random(0).sample(range(24, len(whole)), 60), len(whole) - 1]
    assert all("is not a readable GGUF file" in tried(whole[:place], tmp_path) for place in places)


def test_no_flipped_bit_of_the_head_ends_in_anything_but_a_refusal_or_a_model(whole, tmp_path):
    head = open_gguf(_written(whole, tmp_path)).tensors["output_norm.weight"].offset
    chance = random.Random(1)
    told = []
    for _ in range(60):
        data = bytearray(whole)
        data[chance.randrange(min(head, len(whole)))] ^= 1 << chance.randrange(8)
        told.append(tried(bytes(data), tmp_path))
    assert any(one != "read" for one in told)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "empty"),
        (b"GGUF", "ends at byte 4"),
        (b"\x89PNG" * 50, "does not begin with GGUF"),
        (b"GGUF" + struct.pack("<IQQ", 1, 0, 0), "version 1"),
        (b"GGUF" + struct.pack(">IQQ", 3, 0, 0), "little-endian"),
        (b"GGUF" + struct.pack("<IQQ", 3, 0, 2**63), "ends at byte"),
        (b"GGUF" + struct.pack("<IQQ", 3, 2**63, 0), "ends at byte"),
        (b"GGUF" + struct.pack("<IQQQ", 3, 0, 1, 2**63), "ends at byte"),
        # a list of 2 ** 60 numbers, and of as many texts
        (b"GGUF" + struct.pack("<IQQQ1sIIQ", 3, 0, 1, 1, b"k", 9, 4, 2**60), "ends at byte"),
        (b"GGUF" + struct.pack("<IQQQ1sIIQ", 3, 0, 1, 1, b"k", 9, 8, 2**60), "does not fit"),
        (b"GGUF" + struct.pack("<IQQQ1sIIQ", 3, 0, 1, 1, b"k", 9, 9, 2), "list of type 9"),
        (b"GGUF" + struct.pack("<IQQQ1sI", 3, 0, 1, 1, b"k", 77), "type 77"),
        (b"GGUF" + struct.pack("<IQQQ1sI", 3, 0, 1, 1, b"\xff", 0), "decode"),
        (b"GGUF" + struct.pack("<IQQQ1sIQQIQ", 3, 1, 0, 1, b"t", 1, 33, 8, 0, 0), "unknown|cannot hold|not known|ends"),
    ],
)
def test_invented_heads_are_refused_at_once(data, message, tmp_path):
    path = tmp_path / "x.gguf"
    path.write_bytes(data)
    with pytest.raises(BadFile, match=message):
        open_gguf(path)


def test_tensors_that_do_not_follow_one_another_are_refused(whole, tmp_path):
    """A changed offset would hand over other bytes as numbers."""
    file = open_gguf(_written(whole, tmp_path))
    start = min(stored.offset for stored in file.tensors.values())
    name = list(file.tensors)[2]
    offset = struct.pack("<Q", file.tensors[name].offset - start)
    at = whole.index(offset, whole.index(name.encode()))
    data = whole[:at] + struct.pack("<Q", file.tensors[name].offset - start + 32) + whole[at + 8 :]
    assert "does not lie where" in tried(data, tmp_path)


def test_infinite_weights_are_refused_by_name(whole, tmp_path):
    stored = open_gguf(_written(whole, tmp_path)).tensors["blk.0.ffn_up.weight"]
    data = whole[: stored.offset] + b"\xff\x7f" + whole[stored.offset + 2 :]  # a block's scale, float16
    assert "blk.0.ffn_up.weight has NaN or infinite values" in tried(data, tmp_path)


def test_a_folder_or_nothing_in_the_place_of_a_file_is_said(tmp_path):
    (tmp_path / "dir.gguf").mkdir()
    with pytest.raises(BadFile, match="cannot read"):
        open_gguf(tmp_path / "dir.gguf")
    with pytest.raises(BadFile, match="no file at"):
        open_gguf(tmp_path / "none.gguf")


def _written(data: bytes, folder: Path) -> Path:
    path = folder / "whole.gguf"
    path.write_bytes(data)
    return path
