"""GGUF files: what they state and the numbers they hold, for models and for control vectors.

Every length in the file is checked against its size before it is followed, and the tensors must lie one after the
other as llama.cpp writes them: a cut or damaged file is a BadFile, never half a read and never a wait without end.
"""

from __future__ import annotations

import mmap
import struct
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from demur.errors import BadFile

_SCALARS = {0: "<u1", 1: "<i1", 2: "<u2", 3: "<i2", 4: "<u4", 5: "<i4", 6: "<f4", 7: "?", 10: "<u8", 11: "<i8",
            12: "<f8"}  # fmt: skip
_STRING, _ARRAY = 8, 9
_VERSIONS = (2, 3)
_CHUNK = 1 << 22
"""Values unpacked at a time: what keeps the memory for a tensor little more than the tensor."""


@dataclass(frozen=True)
class Stored:
    """A tensor as the file holds it."""

    name: str
    shape: tuple[int, ...]
    """Slowest axis first, as torch has it."""
    type: Any
    """gguf's GGMLQuantizationType."""
    offset: int
    """Its first byte in the file."""
    size: int
    """Its bytes."""


@dataclass(frozen=True)
class GGUFFile:
    """A file's metadata and the places of its tensors; the numbers are read when they are asked for."""

    path: Path
    fields: Mapping[str, Any]
    """Keys and values: text, numbers, booleans, and lists of these. float32 as the shortest decimal that is it."""
    tensors: Mapping[str, Stored]

    def floats(self, name: str, dtype: torch.dtype = torch.float32) -> Tensor:
        """A tensor's numbers in `dtype`, unpacked in float32. BadFile for a type that cannot be, NaN or infinity."""
        from gguf.quants import dequantize

        stored = self.tensors[name]
        out = torch.empty(stored.shape, dtype=dtype)
        if not out.numel():
            return out
        flat = out.view(-1, stored.shape[-1])
        rows = np.memmap(self.path, np.uint8, "r", stored.offset, (len(flat), stored.size // len(flat)))
        step = max(1, _CHUNK // stored.shape[-1])

        def unpack(begin: int) -> bool:
            packed = rows[begin : begin + step]
            if stored.type.name == "F64":
                values = np.ascontiguousarray(packed).view("<f8")
            else:
                values = dequantize(packed, stored.type)
            flat[begin : begin + step] = torch.from_numpy(np.require(values, requirements=["C", "W"]))
            return bool(torch.isfinite(flat[begin : begin + step]).all())

        try:
            with ThreadPoolExecutor(torch.get_num_threads()) as pool:
                finite = list(pool.map(unpack, range(0, len(flat), step)))
        except NotImplementedError as error:
            raise BadFile(f"{self.path}: {name} is of type {stored.type.name}; write it as F32.") from error
        if not all(finite):
            raise BadFile(f"{self.path}: {name} has NaN or infinite values; get the file again.")
        return out


def open_gguf(path: str | Path) -> GGUFFile:
    """Read a file's metadata and its table of tensors. BadFile when it is no whole GGUF file."""
    path = Path(path)
    try:
        with path.open("rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as data:
            fields, tensors = _parse(data)
    except FileNotFoundError:
        raise BadFile(f"no file at {path}; check the path.") from None
    except OSError as error:
        raise BadFile(f"cannot read {path}: {error.strerror or error}; check the path.") from error
    except (ValueError, struct.error) as error:  # mmap's error for an empty file is a ValueError too
        raise BadFile(f"{path} is not a readable GGUF file: {error}; get it again.") from error
    return GGUFFile(path, fields, tensors)


class _Cursor:
    """Reads on from a place in the file, and never beyond its end."""

    def __init__(self, data: mmap.mmap):
        self.data, self.at = data, 0

    def take(self, size: int) -> bytes:
        if size > len(self.data) - self.at:
            raise ValueError(f"it ends at byte {len(self.data)}, within what it says it holds")
        self.at += size
        return self.data[self.at - size : self.at]

    def number(self, form: str) -> int:
        return struct.unpack("<" + form, self.take(struct.calcsize("<" + form)))[0]

    def text(self) -> str:
        return self.take(self.number("Q")).decode("utf-8")

    def value(self, kind: int) -> Any:
        if kind == _STRING:
            return self.text()
        if kind in _SCALARS:
            return self.scalars(kind, 1)[0]
        if kind != _ARRAY:
            raise ValueError(f"a field is of type {kind}, which GGUF does not have")
        inner, count = self.number("I"), self.number("Q")
        if inner in _SCALARS:
            return self.scalars(inner, count)
        if inner != _STRING:
            raise ValueError(f"a field is a list of type {inner}, which is not read")
        if count > (len(self.data) - self.at) // 8:
            raise ValueError(f"a list of {count} texts does not fit in it")
        return [self.text() for _ in range(count)]

    def scalars(self, kind: int, count: int) -> list[Any]:
        form = np.dtype(_SCALARS[kind])
        values = np.frombuffer(self.take(count * form.itemsize), form)
        # 1e-6 in float32 is 9.999999974752427e-07 as a Python float; the decimal is what was meant.
        return [float(str(value)) for value in values] if kind == 6 and count < 1000 else values.tolist()


def _parse(data: mmap.mmap) -> tuple[dict[str, Any], dict[str, Stored]]:
    cursor = _Cursor(data)
    if cursor.take(4) != b"GGUF":
        raise ValueError("it does not begin with GGUF")
    version = cursor.number("I")
    if version not in _VERSIONS:
        raise ValueError(f"it is of version {version}; read are {', '.join(map(str, _VERSIONS))}, little-endian")
    n_tensors, n_fields = cursor.number("Q"), cursor.number("Q")
    fields: dict[str, Any] = {}
    for _ in range(n_fields):
        key = cursor.text()
        if key in fields:
            raise ValueError(f"it states {key!r} twice")
        fields[key] = cursor.value(cursor.number("I"))
    table = [(cursor.text(), *_place(cursor)) for _ in range(n_tensors)]
    alignment = fields.get("general.alignment", 32)
    if not isinstance(alignment, int) or alignment < 1:
        raise ValueError(f"its alignment is {alignment!r}")
    start = -(-cursor.at // alignment) * alignment
    tensors: dict[str, Stored] = {}
    for stored in _laid_out(table, start, alignment):
        if stored.name in tensors:
            raise ValueError(f"it has the tensor {stored.name!r} twice")
        if stored.offset + stored.size > len(data):
            raise ValueError(f"it ends at byte {len(data)}, before the end of {stored.name}")
        tensors[stored.name] = stored
    return fields, tensors


def _place(cursor: _Cursor) -> tuple[tuple[int, ...], int, int]:
    """A tensor's shape, type and offset in the table."""
    n_dims = cursor.number("I")
    if n_dims > 4:
        raise ValueError(f"a tensor has {n_dims} axes")
    shape = tuple(cursor.number("Q") for _ in range(n_dims))
    return shape[::-1], cursor.number("I"), cursor.number("Q")


def _laid_out(table: list[tuple[str, tuple[int, ...], int, int]], start: int, alignment: int) -> Iterator[Stored]:
    """The tensors with their bytes; ValueError where they do not follow one another."""
    from gguf.constants import GGML_QUANT_SIZES, GGMLQuantizationType

    expected = 0
    for name, shape, number, offset in table:
        try:
            kind = GGMLQuantizationType(number)
        except ValueError:
            raise ValueError(f"{name!r} is of type {number}, which is not known") from None
        block, block_size = GGML_QUANT_SIZES[kind]
        if not shape or shape[-1] % block:
            raise ValueError(f"{name!r} has shape {list(shape)}, which {kind.name} cannot hold")
        size = prod(shape) // block * block_size
        if offset != expected:
            raise ValueError(f"{name!r} does not lie where the tensor before it ends")
        yield Stored(name, shape, kind, start + offset, size)
        expected = -(-(offset + size) // alignment) * alignment
