"""Activations on disk: bf16 rows of one or several sites, written in order, resumed after a break, read shuffled.

A folder holds `rows.json` (what the rows are of, and how many of them are whole) and one file a site, rows after
each other. Training reads them in one permutation, so a training step depends on the seed and its number alone.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from demur.errors import BadFile, InputError
from demur.runs.writing import write_text
from demur.types import Site

INDEX = "rows.json"


class Rows:
    """A folder of activations. `spec`: all that decides the rows; a folder with another spec is refused."""

    def __init__(self, folder: str | Path, sites: Sequence[Site], width: int, spec: Mapping[str, Any]):
        self.folder, self.sites, self.width = Path(folder), tuple(sites), width
        self.spec = {"sites": [str(site) for site in sites], "width": width, **spec}
        self.count = self.passages = 0
        index = self.folder / INDEX
        if index.exists():
            found = json.loads(index.read_text(encoding="utf-8"))
            if found["spec"] != json.loads(json.dumps(self.spec)):
                raise BadFile(f"{self.folder} holds activations made otherwise; give an empty folder, or remove it.")
            self.count, self.passages = found["rows"], found["passages"]
        self.folder.mkdir(parents=True, exist_ok=True)

    def append(self, streams: Mapping[Site, Float[Tensor, "rows d_model"]], passages: int) -> None:
        """Write rows of every site behind those that are there; `passages`: how many passages they are of."""
        n = len(streams[self.sites[0]])
        for site in self.sites:
            with self._path(site).open("r+b" if self._path(site).exists() else "w+b") as file:
                file.seek(self.count * self.width * 2)
                file.truncate()
                file.write(streams[site].to(torch.bfloat16).view(torch.int16).numpy().tobytes())
        self.count += n
        self.passages += passages
        record = {"spec": self.spec, "rows": self.count, "passages": self.passages}
        write_text(self.folder / INDEX, json.dumps(record, indent=1) + "\n")

    def shuffled(self, site: Site, batch: int, seed: int, start: int = 0) -> Iterator[Float[Tensor, "batch d_model"]]:
        """Batches of float32 rows for ever, each pass over the rows in another order; `start`: batches to skip."""
        per_pass = self.count // batch
        if per_pass < 1:
            raise InputError(f"{self.folder} has {self.count} rows, too few for batches of {batch}; read more text.")
        rows = self._memory(site)
        number = start
        while True:
            turn = number // per_pass
            order = np.random.default_rng([seed, turn]).permutation(self.count)
            for at in range(number % per_pass, per_pass):
                picked = np.sort(order[at * batch : (at + 1) * batch])
                number += 1
                yield torch.from_numpy(rows[picked]).view(torch.bfloat16).float()

    def moments(self, site: Site, most: int = 200_000) -> tuple[Float[Tensor, " d"], Float[Tensor, " d"]]:
        """Mean and variance of each dimension over up to `most` rows, evenly taken, in float64."""
        rows = self._memory(site)
        some = np.array(rows[:: max(1, self.count // most)][:most])
        stream = torch.from_numpy(some).view(torch.bfloat16).double()
        return stream.mean(0), stream.var(0)

    def _path(self, site: Site) -> Path:
        return self.folder / f"{site}.bf16"

    def _memory(self, site: Site) -> np.ndarray:
        return np.memmap(self._path(site), dtype=np.int16, mode="r", shape=(self.count, self.width))
