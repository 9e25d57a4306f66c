"""A fit kept in a file beside its run, so that a rerun makes no model call."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from demur.directions.vector_file import load_vector, save_vector
from demur.fitting.candidates import Candidate, Fit
from demur.fitting.openings import Openings
from demur.judges.outcome import rules_hash
from demur.runs import SOURCE_ROOMS, digest, source_hash
from demur.runs.writing import atomic
from demur.types import Direction, EngineFingerprint, Site, SteeringVector


def cached_fit(
    folder: Path | None, name: str, about: object, engine: EngineFingerprint, make: Callable[[], Fit]
) -> Fit:
    """The fit in `folder` that the same code made from the same things; else made, and written there."""
    if folder is None:
        return make()
    key, path = _place(folder, name, about, engine)
    return kept(path, key, make)


def cached_vector(
    folder: Path | None, name: str, about: object, engine: EngineFingerprint, make: Callable[[], SteeringVector]
) -> SteeringVector:
    """The vector in `folder` that the same code made from the same things; else made, and written there."""
    if folder is None:
        return make()
    _, path = _place(folder, name, about, engine)
    if not path.exists():
        save_vector(make(), path)
    return load_vector(path, engine.weights)


def _place(folder: Path, name: str, about: object, engine: EngineFingerprint) -> tuple[str, Path]:
    sources = source_hash((*SOURCE_ROOMS, "activations", "directions", "fitting"))
    key = digest({"about": about, "engine": engine, "sources": sources, "rules": rules_hash()})
    return key, folder / "cache" / f"{re.sub(r'[^A-Za-z0-9.+-]+', '-', name)}-{key[:12]}.safetensors"


def kept(path: Path, key: str, make: Callable[[], Fit]) -> Fit:
    """The fit in the file, when it was made under this key; else a fresh one, which is written there.

    key: a digest of all that decides a fit. A file under another key or a damaged one is replaced.
    """
    found = _read(path, key)
    if found is None:
        found = make()
        _write(found, path, key)
    return found


def _write(fit: Fit, path: Path, key: str) -> None:
    site = fit.direction.site
    facts = {
        "layer": site.layer,
        "point": site.point,
        "norm": fit.direction.norm,
        "origin": dict(fit.direction.origin),
        "candidates": [asdict(candidate) for candidate in fit.candidates],
        "openings": asdict(fit.openings),
    }
    tensors = {"direction": fit.direction.vector, "difference": fit.difference.vectors[site]}
    whole = {name: t.float().contiguous() for name, t in tensors.items()}
    written = json.dumps(facts)
    header = {"kind": "demur.fit", "key": key, "facts": written, "seal": _seal(written, whole)}
    with atomic(path) as temporary:
        temporary.write_bytes(save(whole, header))


def _seal(facts: str, tensors: Mapping[str, Tensor]) -> str:
    """sha256 of what is kept: a flipped bit must not become a direction."""
    found = hashlib.sha256(facts.encode())
    for name in sorted(tensors):
        found.update(tensors[name].numpy().tobytes())
    return found.hexdigest()


def _read(path: Path, key: str) -> Fit | None:
    try:
        with safe_open(path, framework="pt") as file:
            header = file.metadata() or {}
            if header.get("key") != key:
                return None
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (a handle, not a dict)
    except (OSError, SafetensorError):
        return None
    if header.get("seal") != _seal(header.get("facts", ""), tensors):
        return None
    vector, difference = tensors["direction"], tensors["difference"]
    facts = json.loads(header["facts"])
    site = Site(facts["layer"], facts["point"])
    opened = facts["openings"]
    openings = Openings(tuple(map(tuple, opened.pop("sequences"))), **opened)
    return Fit(
        Direction(vector, site, facts["norm"], facts["origin"]),
        SteeringVector({site: difference}, {site: facts["norm"]}, facts["origin"]),
        tuple(Candidate(**candidate) for candidate in facts["candidates"]),
        openings,
    )
