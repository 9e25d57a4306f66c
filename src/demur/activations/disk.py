"""Activations on disk: bf16 rows of one or several sites, written in order, resumed after a break, read shuffled.

A folder holds `rows.json` (what the rows are of, how many of them are whole, and the sha256 of each part as it was
written) and one file a site, rows after each other. Training reads them in one permutation, so a training step depends
on the seed and its number alone.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from demur.errors import BadFile, InputError
from demur.runs.strict import json_seal
from demur.runs.writing import room, write_text
from demur.types import Site

INDEX = "rows.json"


class Rows:
    """A folder of activations. `spec`: all that decides the rows; a folder with another spec is refused.

    Raises BadFile for an index that is damaged, and for a site's file that is too short; when its rows are read, for
    rows that are not what was written. Raises OutOfRoom when the disk is full; what was appended before is kept.
    """

    def __init__(self, folder: str | Path, sites: Sequence[Site], width: int, spec: Mapping[str, Any]):
        self.folder, self.sites, self.width = Path(folder), tuple(sites), width
        self.spec = {"sites": [str(site) for site in sites], "width": width, **spec}
        self.count = self.passages = 0
        self._parts: list[tuple[int, dict[str, str]]] = []
        self._checked: set[Site] = set()
        if (self.folder / INDEX).exists():
            self._read_index()
        self.folder.mkdir(parents=True, exist_ok=True)

    def append(self, streams: Mapping[Site, Float[Tensor, "rows d_model"]], passages: int) -> None:
        """Write rows of every site behind those that are there; `passages`: how many passages they are of."""
        n, seals = len(streams[self.sites[0]]), {}
        for site in self.sites:
            data = streams[site].to(torch.bfloat16).view(torch.int16).numpy().tobytes()
            seals[str(site)] = hashlib.sha256(data).hexdigest()
            path = self._path(site)
            with room(path), path.open("r+b" if path.exists() else "w+b") as file:
                file.seek(self.count * self.width * 2)
                file.truncate()
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
        parts = [*self._parts, (n, seals)]
        record = {"spec": self.spec, "rows": self.count + n, "passages": self.passages + passages, "parts": parts}
        text = json.dumps({**record, "sha256": json_seal(record)}, indent=1)
        write_text(self.folder / INDEX, text + "\n")
        self.count, self.passages, self._parts = record["rows"], record["passages"], parts
        self._checked.clear()

    def _read_index(self) -> None:
        path = self.folder / INDEX
        try:
            found = json.loads(path.read_text(encoding="utf-8"))
            record = {name: found[name] for name in ("spec", "rows", "passages", "parts")}
            whole = found["sha256"] == json_seal(record)
            parts = [(int(n), dict(seals)) for n, seals in record["parts"]]
        except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
            raise BadFile(f"{path} cannot be read ({error!r}); remove {self.folder} to collect them again.") from error
        if not whole:
            raise BadFile(f"{path} does not match its sha256: it is damaged; remove {self.folder} to collect again.")
        if record["spec"] != json.loads(json.dumps(self.spec)):
            raise BadFile(f"{self.folder} holds activations made otherwise; give an empty folder, or remove it.")
        self.count, self.passages, self._parts = record["rows"], record["passages"], parts
        for site in self.sites:
            at, wanted = self._path(site), self.count * self.width * 2
            if (size := at.stat().st_size if at.exists() else 0) < wanted:
                raise BadFile(f"{at} has {size} bytes, {self.count} rows have {wanted}: it was cut; remove "
                              f"{self.folder} to collect them again.")  # fmt: skip

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
        """The rows of a site; those of an instance's first reading are compared with their sha256."""
        rows = np.memmap(self._path(site), dtype=np.int16, mode="r", shape=(self.count, self.width))
        start = 0
        for n, seals in self._parts if site not in self._checked else ():
            if hashlib.sha256(rows[start : start + n].data).hexdigest() != seals.get(str(site)):
                raise BadFile(f"{self._path(site)} is damaged in rows {start} to {start + n - 1} (sha256); remove "
                              f"{self.folder} to collect them again.")  # fmt: skip
            start += n
        self._checked.add(site)
        return rows
