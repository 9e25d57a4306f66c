"""What an audit is of: steering vectors at doses, or any one intervention; from names, files and values."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from demur.directions.anything import read_any
from demur.directions.difference import random_like
from demur.directions.exchange import ENDINGS
from demur.directions.vectors import check_fits, no_vector, steering_vector
from demur.engines.base import WhiteBoxEngine
from demur.errors import BadFile, DemurError, InputError
from demur.evaluation.evaluator import Progress, silent
from demur.fitting.behaviours import cached_behaviour, with_length
from demur.interventions import Intervention, add, at, parse_steer
from demur.interventions.expression import OPS
from demur.prompts.pairs import behaviour
from demur.types import Direction, Site, SteeringVector

RESERVED = re.compile(r"random( \d+)?|unsteered|audit|all vectors|probe of answers")
"""Names that an audit's own arms and figures have."""
FIT = "fit:"
"""Before a behaviour's name: a vector that is fitted on the spot."""

Audited: TypeAlias = "SteeringVector | Direction | Intervention | str | os.PathLike[str]"
"""What can be audited: a value, a vector file in any known format, fit:BEHAVIOUR, or what --steer takes."""
Given: TypeAlias = "Mapping[str, Audited] | str | os.PathLike[str] | Sequence[str | os.PathLike[str]]"
"""Subjects by name, or as texts and paths: one, or several."""
NAMED = re.compile(r"([^/\\:]*)=(.*)", re.DOTALL)
"""NAME=WHAT: a name has no path separator, and none of the colons of what --steer takes."""


@dataclass(frozen=True)
class Subject:
    """What is audited: a steering vector at doses, or any one intervention."""

    name: str
    steer: Callable[[float], Intervention]
    vector: SteeringVector | None = None
    """None for what is no vector: a clamp, a conditional intervention. It is audited as it is, at multiplier 1."""

    def doses(self, multipliers: Sequence[float]) -> tuple[float, ...]:
        """Those of the multipliers that it takes."""
        return tuple(multipliers) if self.vector is not None else (1.0,)


def subject(name: str, vector: SteeringVector, where: str = "from-last") -> Subject:
    """A vector as CAA uses it: added from the last prompt token on."""
    return Subject(name, lambda dose: at(where, add(vector, dose)), vector)


def as_it_is(name: str, intervention: Intervention) -> Subject:
    """Any intervention as a subject."""
    return Subject(name, lambda _dose: intervention)


def random_subjects(like: SteeringVector, n: int, seed: int = 0) -> list[Subject]:
    """n random directions with the vector's length at each of its sites."""
    made = []
    for i in range(n):
        vectors = {site: random_like(value, 1000 * (seed + 1) + 10 * i + k)
                   for k, (site, value) in enumerate(sorted(like.vectors.items()))}  # fmt: skip
        made.append(subject(f"random {i}", steering_vector(vectors, {"random": i, "seed": seed}, like.norms)))
    return made


def named(given: Given) -> dict[str, Audited]:
    """Subjects by name: a mapping as it is; else each text is NAME=WHAT, or WHAT, named by its file or itself.

    Raises InputError for none, for a name that occurs twice, and for values without names.
    """
    if isinstance(given, Mapping):
        found = dict(given)
    else:
        found = {}
        for what in [given] if isinstance(given, (str, os.PathLike)) or not isinstance(given, Sequence) else given:
            if not isinstance(what, (str, os.PathLike)):
                raise InputError(f'a {type(what).__name__} in memory has no name; give {{"mine": it}}.')
            split = NAMED.fullmatch(what) if isinstance(what, str) else None
            name, what = split.groups() if split else ("", os.fspath(what))
            name = name or _own_name(what)
            if name in found:
                raise InputError(f"two subjects are named {name!r}; give them names of their own, as other=FILE.")
            found[name] = what
    if not found:
        raise InputError("there is nothing to audit; give a vector at least.")
    for name in found:
        if RESERVED.fullmatch(name):
            raise InputError(f"{name!r} is what an audit calls its own arms; give the vector another name.")
    return found


def _own_name(what: str) -> str:
    if what.startswith(FIT):
        return what.rpartition(":")[2]
    return Path(what).stem if _is_file(what) else what


def _is_file(what: str | os.PathLike[str]) -> bool:
    """Is it a vector's file, not a line that names one?"""
    line = isinstance(what, str) and what.partition(":")[0] in OPS
    return not line and Path(what).suffix.lower() in ENDINGS


def subjects_from(
    engine: WhiteBoxEngine,
    given: Given,
    length: float | None = None,
    sites: Sequence[Site] = (),
    folder: Path | None = None,
    progress: Progress = silent,
) -> list[Subject]:
    """Subjects from values, files and names (`named`).

    length: give each vector, at each of its sites, this length relative to the median activation norm there; None: as
    they are. sites: where fit:BEHAVIOUR stands; none: the input of the middle block. folder: where fitted vectors are
    cached for the next time. Files are read before anything is fitted. Raises InputError for sites without anything to
    fit there, BadVector for a vector that does not fit the model.
    """
    told = named(given)
    fits = {name: what.removeprefix(FIT) for name, what in told.items()
            if isinstance(what, str) and what.startswith(FIT)}  # fmt: skip
    _check_sites(sites, bool(fits))
    for what in fits.values():
        behaviour(what, "fit")
    read = {name: _read(engine, name, what) for name, what in told.items() if name not in fits}
    found = []
    for name in told:
        one = cached_behaviour(engine, fits[name], sites, folder, progress) if name in fits else read[name]
        if isinstance(one, Subject):
            found.append(one)
        else:
            found.append(subject(name, one if length is None else with_length(engine, one, length)))
    return found


def check_readable(given: Given, sites: Sequence[Site] = ()) -> None:
    """Read all that is named, before there is a model to audit it on. Raises what `subjects_from` raises."""
    told = named(given).values()
    _check_sites(sites, any(isinstance(what, str) and what.startswith(FIT) for what in told))
    for what in told:
        if isinstance(what, str) and what.startswith(FIT):
            behaviour(what.removeprefix(FIT), "fit")
        elif isinstance(what, (str, os.PathLike)):
            _from_text(what)


def _check_sites(sites: Sequence[Site], fitted: bool) -> None:
    if sites and not fitted:
        raise InputError(f"--site {sites[0]} says where fit:BEHAVIOUR stands, and nothing is fitted; leave it out.")


def _from_text(what: str | os.PathLike[str], weights: str | None = None) -> Direction | SteeringVector | Intervention:
    """What a vector file holds, or what --steer takes. BadFile, saying what is known, for anything else."""
    if _is_file(what):
        return read_any(what, weights)
    if os.fspath(what).partition(":")[0] in OPS or Path(what).suffix.lower() == ".json":
        return parse_steer(what, weights)
    raise BadFile(
        f"{os.fspath(what)} is no vector file: those end in {', '.join(ENDINGS)}. An audit also takes {FIT}BEHAVIOUR, "
        f"and what --steer takes: {', '.join(OPS)} before :FILE, or a .json spec."
    )


def _read(engine: WhiteBoxEngine, name: str, what: Audited) -> Subject | SteeringVector:
    if isinstance(what, (str, os.PathLike)):
        what = _from_text(what, engine.fingerprint.weights)
    if isinstance(what, Direction):
        what = SteeringVector({what.site: what.vector}, {what.site: what.norm}, what.origin)
    if isinstance(what, Intervention):
        engine.check(what)
        return as_it_is(name, what)
    if not isinstance(what, SteeringVector):
        raise no_vector(what)
    check_fits(what, engine.d_model, engine.n_layers, engine.name)
    return what


def measurable(subjects: Sequence[Subject]) -> tuple[dict[str, str], list[str]]:
    """Of each vector that says which behaviour it was fitted for, that behaviour; and a line for each whose pairs
    cannot be read here."""
    found, lacking = {}, []
    for s in subjects:
        origin = {} if s.vector is None else s.vector.origin
        what = origin.get("behaviour") or dict(origin.get("of") or {}).get("behaviour")
        if isinstance(what, str):
            try:
                behaviour(what, "test")
                found[s.name] = what
            except DemurError as problem:
                lacking.append(f"{s.name} is not scored on its behaviour: {problem}")
    return found, lacking
