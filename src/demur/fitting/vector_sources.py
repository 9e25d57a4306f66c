"""Where audited vectors come from: fitted with a null, read from files, made to a length."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from demur.directions.artifact import load_direction
from demur.directions.exchange import ENDINGS, read_vector
from demur.directions.vector_file import load_vector, save_vector
from demur.directions.vectors import check_fits, rescaled
from demur.engines.hf import HFEngine
from demur.errors import DemurError, InputError, NoDirection, NoRefusal
from demur.evaluation.behaviour import clears_null, log_odds
from demur.evaluation.evaluator import Progress, silent
from demur.experiments.baseline import fit_refusal, plainly, size_for
from demur.experiments.vector_audit import Subject, as_it_is, subject
from demur.fitting.edits import steered
from demur.fitting.vectors import FittedVector, fit_vector, texts_of
from demur.interventions import parse_steer
from demur.prompts.builtin import builtin
from demur.prompts.pairs import balanced, behaviour
from demur.runs import SOURCE_ROOMS, digest, source_hash
from demur.types import Direction, Site, SteeringVector

FITTED = 300
"""Pairs that a vector is fitted on, at most."""
FIT = "fit:"
"""Before a behaviour's name: a vector that is fitted on the spot."""


@dataclass(frozen=True)
class Behaved:
    """A fitted vector, and whether it does what it was fitted for."""

    fitted: FittedVector
    effect: float
    """Mean change of log-odds a token on validation pairs, multiplier 1 less multiplier -1, halved."""
    nulls: tuple[float, ...]
    """The same of the vectors with shuffled labels."""
    clears: bool


def fit_behaviour(
    engine: HFEngine,
    name: str,
    sites: Sequence[Site],
    how: str = "text",
    method: str = "mean",
    shuffles: int = 10,
    n: int | None = FITTED,
    progress: Progress = silent,
) -> Behaved:
    """A vector for a behaviour (`prompts.pairs.behaviour`), with its null, on fitting and validation pairs."""
    pairs = behaviour(name, "fit")
    pairs = balanced(pairs, n) if how == "letter" else pairs[:n]
    fitted = fit_vector(engine, pairs, sites, how, method, shuffles,
                        lambda done, total: progress("reading pairs", done, total))  # fmt: skip
    held = behaviour(name, "validation")
    vectors = [fitted.vector, *fitted.nulls]
    progress("measuring the effect", 0, len(vectors))
    odds = log_odds(engine, held, [steered(vector, dose) for vector in vectors for dose in (1.0, -1.0)])
    effects = [(sum(up) - sum(down)) / (2 * len(held)) for up, down in zip(odds[::2], odds[1::2], strict=True)]
    progress("measuring the effect", len(vectors), len(vectors))
    clears = clears_null(effects[0], effects[1:]) if shuffles else False
    made = replace(fitted.vector, origin={**fitted.vector.origin, "behaviour": name, "effect": effects[0],
                                          "null_effects": effects[1:], "clears_null": clears})  # fmt: skip
    return Behaved(replace(fitted, vector=made), effects[0], tuple(effects[1:]), clears)


def subjects_from(
    engine: HFEngine,
    texts: Sequence[str],
    length: float | None = None,
    sites: Sequence[Site] = (),
    folder: Path | None = None,
    progress: Progress = silent,
) -> list[Subject]:
    """Subjects from the command line: a vector file in any format, fit:BEHAVIOUR, or what --steer takes; NAME= before.

    length: give each vector, at each of its sites, this length relative to the median activation norm there; None: as
    they are. sites: where fit:BEHAVIOUR stands; none: the input of the middle block. folder: where fitted vectors are
    kept for the next time. Files are read before anything is fitted. Raises InputError for names that occur twice, or
    sites without anything to fit there.
    """
    subject_names(texts)
    told = [_named(text) for text in texts]
    fits = [what.removeprefix(FIT) for _, what in told if what.startswith(FIT)]
    if sites and not fits:
        raise InputError(f"--site {sites[0]} says where fit:BEHAVIOUR stands, and nothing is fitted; leave it out.")
    for name in fits:
        behaviour(name, "fit")
    read: dict[str, Subject | SteeringVector] = {}
    for name, what in told:
        if what.startswith(FIT):
            continue
        if _is_file(what):
            vector = read_vector(what, engine.fingerprint.weights)
            check_fits(vector, engine.d_model, engine.n_layers, engine.model.name)
            read[name] = vector
        else:
            read[name] = as_it_is(name, parse_steer(what, engine.fingerprint.weights))
    here = sites or [Site(engine.n_layers // 2, "pre")]
    found = []
    for name, what in told:
        one = _fitted(engine, what.removeprefix(FIT), here, folder, progress) if what.startswith(FIT) else read[name]
        if isinstance(one, Subject):
            found.append(one)
        else:
            found.append(subject(name, one if length is None else with_length(engine, one, length)))
    return found


def subject_names(texts: Sequence[str]) -> list[str]:
    """The names that subjects of the command line have. Raises InputError for one that occurs twice."""
    names = [_named(text)[0] for text in texts]
    for name in names:
        if names.count(name) > 1:
            raise InputError(f"two subjects are named {name!r}; give them names of their own, as other=FILE.")
    return names


def _named(text: str) -> tuple[str, str]:
    """A subject's name and what it is."""
    name, _, what = text.rpartition("=")
    if name:
        return name, what
    if what.startswith(FIT):
        return what.rpartition(":")[2], what
    return (Path(what).stem if _is_file(what) else what), what


def _is_file(what: str) -> bool:
    return Path(what).suffix.lower() in ENDINGS and ":" not in what


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


def kept_direction(engine: HFEngine, path: Path | None, folder: Path, progress: Progress = silent) -> Direction:
    """The refusal direction in a file; else fitted on the built-in prompts, and kept in `folder` for the next time."""
    if path is not None:
        return load_direction(path, engine.fingerprint.weights)
    size = size_for(engine.model.name)
    keep = folder / f"refusal-{engine.fingerprint.weights[:12]}.safetensors"
    return fit_refusal(engine, size, lambda done, total: progress("fitting the direction", done, total), keep).direction


def direction_or_why(
    engine: HFEngine, path: Path | None, folder: Path, progress: Progress = silent
) -> tuple[Direction | None, list[str]]:
    """`kept_direction`, or None and a line that says why, where a model has none within the bounds."""
    try:
        return kept_direction(engine, path, folder, progress), []
    except (NoDirection, NoRefusal) as problem:
        return None, [f"This model has no refusal direction: {problem}"]


def _fitted(
    engine: HFEngine, name: str, sites: Sequence[Site], folder: Path | None, progress: Progress
) -> SteeringVector:
    """A behaviour's vector; read from `folder` where the same was fitted before."""

    def fit() -> SteeringVector:
        return fit_behaviour(engine, name, sites, progress=progress).fitted.vector

    texts = [texts_of(behaviour(name, "fit")[:FITTED]), texts_of(behaviour(name, "validation"))]
    return kept_vector(engine, folder, name, ["fitted", texts, [str(site) for site in sites]], fit)


def kept_vector(
    engine: HFEngine, folder: Path | None, name: str, about: object, make: Callable[[], SteeringVector]
) -> SteeringVector:
    """The vector in `folder` that was made by the same code from the same things; else made, and kept there."""
    if folder is None:
        return make()
    sources = source_hash((*SOURCE_ROOMS, "activations", "directions", "fitting"))
    key = digest({"about": about, "engine": engine.fingerprint, "sources": sources})
    path = folder / "vectors" / f"{re.sub(r'[^A-Za-z0-9.+-]+', '-', name)}-{key[:12]}.safetensors"
    if not path.exists():
        save_vector(make(), path)
    return load_vector(path, engine.fingerprint.weights)


def with_length(engine: HFEngine, vector: SteeringVector, share: float) -> SteeringVector:
    """The vector made `share` of the median activation norm long at each of its sites."""
    lacking = [site for site in vector.vectors if site not in vector.norms]
    norms = dict(vector.norms)
    if lacking:
        streams = engine.activations(plainly(builtin("plain", "fit")), lacking)
        norms |= {site: streams.median_norm(site) for site in lacking}
    return rescaled(replace(vector, norms=norms), {site: share * norms[site] for site in vector.vectors})
