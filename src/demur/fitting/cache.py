"""One cache for everything that is fitted: sealed files below a run's folder, so that a rerun generates nothing."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, TypeVar

from demur.directions.artifact import KINDS, packed, unpacked
from demur.directions.sealed import Sealed, read_sealed, write_sealed
from demur.engines.base import WhiteBoxEngine
from demur.errors import BadFile, InputError, NoRefusal
from demur.fitting.candidates import Candidate, Fit
from demur.fitting.openings import Openings, measure_openings
from demur.judges.outcome import rules_hash
from demur.runs import SOURCE_ROOMS, digest, source_hash
from demur.types import Conversation, Direction, EngineFingerprint, Site, SteeringVector

T = TypeVar("T")

ROOMS = (*SOURCE_ROOMS, "activations", "directions", "evaluation", "features", "fitting")
"""The packages whose code can change what is fitted, beside the judge's rules."""
FIT, RECORD = "demur.fit", "demur.record"


def cached(folder: Path | None, name: str, about: object, fingerprint: EngineFingerprint, make: Callable[[], T]) -> T:
    """What `make` gives, from a file in `folder / "cache"` where the same code made it of the same things before.

    make: gives a Direction, SteeringVector or Fit, or JSON. about: everything that decides it beside the engine
    and the code, as JSON values and dataclasses. A file that is damaged or of anything else is made again. What comes
    back is what the file holds, so that the first run and a rerun have the same (JSON has no tuples). folder: None
    makes it without keeping it.
    """
    if folder is None:
        return make()
    key = digest({"name": name, "about": about, "engine": fingerprint, "sources": source_hash(ROOMS),
                  "rules": rules_hash()})  # fmt: skip
    path = folder / "cache" / f"{re.sub(r'[^A-Za-z0-9.+-]+', '-', name)[:80]}-{key[:12]}.safetensors"
    with suppress(InputError, LookupError, TypeError, ValueError):
        return _read(path, key)
    content = _packed(make())
    write_sealed(path, replace(content, facts={**content.facts, "key": key}))
    return _read(path, key)


def cached_openings(
    folder: Path | None,
    engine: WhiteBoxEngine,
    harmful: Sequence[Conversation],
    harmless: Sequence[Conversation],
    longest: int = 3,
) -> Openings:
    """`measure_openings`, cached; and so is that a model refuses too little to have any: NoRefusal again."""

    def make() -> dict[str, Any]:
        try:
            return asdict(measure_openings(engine, harmful, harmless, longest))
        except NoRefusal as problem:
            return {"none": str(problem)}

    about = [[asdict(talk) for talk in some] for some in (harmful, harmless)]
    found = cached(folder, "refusal openings", [about, longest], engine.fingerprint, make)
    if "none" in found:
        raise NoRefusal(found["none"])
    return _openings(found)


def _openings(facts: dict[str, Any]) -> Openings:
    return Openings(**{**facts, "sequences": tuple(map(tuple, facts["sequences"]))})


def _read(path: Path, key: str) -> Any:
    """The file's content. BadFile when it has another key, and as `read_sealed`."""
    content = read_sealed(path, "cached result", (*KINDS, FIT, RECORD))
    if content.facts["key"] != key:
        raise BadFile(f"{path} was made of something else; remove it.")
    if content.kind == RECORD:
        return content.facts["record"]
    return fit_of(content) if content.kind == FIT else unpacked(content, str(path))


def _packed(value: object) -> Sealed:
    if isinstance(value, (Direction, SteeringVector)):
        return packed(value)
    if not isinstance(value, Fit):
        return Sealed(RECORD, {"record": value}, {})
    difference = packed(value.difference)
    (tensor,) = difference.tensors.values()
    facts = {
        **difference.facts,
        "candidates": [asdict(candidate) for candidate in value.candidates],
        "openings": asdict(value.openings),
    }
    site = value.direction.site
    return Sealed(FIT, {**facts, "layer": site.layer, "point": site.point, "norm": value.direction.norm},
                  {"direction": value.direction.vector, "difference": tensor})  # fmt: skip


def fit_of(content: Sealed) -> Fit:
    """The fit that a sealed file holds, its difference standing where its direction does."""
    facts, vector, difference = content.facts, content.tensors["direction"], content.tensors["difference"]
    site, norm, origin = Site(facts["layer"], facts["point"]), facts["norm"], facts["origin"]
    return Fit(
        Direction(vector, site, norm, origin),
        SteeringVector({site: difference}, {site: norm}, origin),
        tuple(Candidate(**candidate) for candidate in facts["candidates"]),
        _openings(facts["openings"]),
    )
