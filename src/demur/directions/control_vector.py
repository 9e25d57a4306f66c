"""GGUF control vectors, as llama.cpp and repeng read and write them.

`direction.L` [d_model], L >= 1, is added to the output of block L (counted from 0), so block 0's output cannot be
reached. No field says whether to add or to project; demur adds.
"""

from __future__ import annotations

import re
from pathlib import Path

from demur.directions.gguf_file import open_gguf
from demur.directions.vectors import as_output, from_rows
from demur.errors import BadFile, BadVector
from demur.runs.writing import atomic
from demur.types import Site, SteeringVector

ARCHITECTURE = "controlvector"


def read_control_vector(path: Path) -> SteeringVector:
    """The vector of a GGUF file, at the blocks' outputs. BadFile when it is something else."""
    file = open_gguf(path)
    architecture, hint = (file.fields.get(name) for name in ("general.architecture", f"{ARCHITECTURE}.model_hint"))
    if architecture != ARCHITECTURE:
        raise BadFile(f"{path} is a GGUF file of architecture {architecture!r}, not {ARCHITECTURE!r}; give a vector.")
    rows = []
    for name in file.tensors:
        named = re.fullmatch("direction[.]([0-9]{1,6})", name)
        if not named:
            raise BadFile(f"{path} has a tensor {name!r}; a control vector has direction.1, direction.2, ...")
        rows.append((Site(int(named.group(1)), "post"), file.floats(name)))
    origin = {"file": path.name, "format": "GGUF control vector", "model": str(hint or "")}
    return from_rows(rows, origin, str(path))


def write_control_vector(vector: SteeringVector, path: Path, n_layers: int | None = None) -> Path:
    """Write a GGUF control vector; returns the path.

    n_layers: the model's blocks, for `layer_count`; by default just as many as the vector needs. BadVector for a site
    that llama.cpp cannot reach: anything but a block's input or output, and block 0's output.
    """
    import gguf

    blocks = {site: as_output(site) for site in vector.vectors}
    lost = [str(site) for site, block in blocks.items() if not block]
    if lost:
        raise BadVector(f"a GGUF control vector adds to the outputs of block 1 and later; it cannot act at {lost[0]}.")
    layers = sorted((block, site) for site, block in blocks.items() if block is not None)
    if len({block for block, _ in layers}) < len(layers):
        raise BadVector("two sites of the vector are one place (a block's output is the next one's input); add them.")
    with atomic(path) as temporary:
        writer = gguf.GGUFWriter(temporary, ARCHITECTURE)
        writer.add_string(f"{ARCHITECTURE}.model_hint", str(vector.origin.get("model", "")))
        writer.add_uint32(f"{ARCHITECTURE}.layer_count", n_layers or layers[-1][0] + 1)
        for block, site in layers:
            writer.add_tensor(f"direction.{block}", vector.vectors[site].float().numpy())
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
    return path
