"""Where audited vectors come from: fitted with a null, cleaned of refusal, read from files, made to a length."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from demur.audit.behaviour import clears_null, shown
from demur.audit.feature_study import direction_for
from demur.audit.study import plainly, spread
from demur.audit.vector_audit import Subject, as_it_is, subject
from demur.directions.artifact import load_direction, save_direction, tensor_hash
from demur.directions.exchange import ENDINGS, read_vector
from demur.directions.subspace import projected_out
from demur.directions.vector_file import load_vector, save_vector
from demur.directions.vectors import check_fits, rescaled
from demur.engines.hf import HFEngine
from demur.errors import DemurError, InputError, unknown
from demur.interventions.expression import read_steer
from demur.prompts.builtin import builtin
from demur.prompts.pairs import balanced, behaviour
from demur.runs import digest
from demur.selection.clean import constrained_edit, steered
from demur.selection.openings import measure_openings
from demur.selection.subspace import fit_subspace
from demur.selection.vectors import FittedVector, fit_vector, texts_of
from demur.types import Direction, Site, SteeringVector

Progress = Callable[[str, int, int], None]
WAYS = ("constrained", "direction", "subspace")
"""Ways of cleaning."""
FITTED = 300
"""Pairs that a vector is fitted on, at most."""
FIT = "fit:"
"""Before a behaviour's name: a vector that is fitted on the spot."""


def _silent(_phase: str, _done: int, _total: int) -> None:
    pass


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
    progress: Progress = _silent,
) -> Behaved:
    """A vector for a behaviour (`prompts.pairs.behaviour`), with its null, on fitting and validation pairs."""
    pairs = behaviour(name, "fit")
    pairs = balanced(pairs, n) if how == "letter" else pairs[:n]
    fitted = fit_vector(engine, pairs, sites, how, method, shuffles,
                        lambda done, total: progress("reading pairs", done, total))  # fmt: skip
    held = behaviour(name, "validation")
    vectors = [fitted.vector, *fitted.nulls]
    effects = []
    for i, vector in enumerate(vectors):
        ends = [shown(engine, held, steered(vector, dose)).log_odds for dose in (1.0, -1.0)]
        effects.append(sum(a - b for a, b in zip(*ends, strict=True)) / (2 * len(held)))
        progress("measuring the effect", i + 1, len(vectors))
    clears = clears_null(effects[0], effects[1:]) if shuffles else False
    made = replace(fitted.vector, origin={**fitted.vector.origin, "behaviour": name, "effect": effects[0],
                                          "null_effects": effects[1:], "clears_null": clears})  # fmt: skip
    return Behaved(replace(fitted, vector=made), effects[0], tuple(effects[1:]), clears)


def clean(
    engine: HFEngine,
    vector: SteeringVector,
    way: str = "subspace",
    direction: Path | Direction | None = None,
    k: int = 5,
    n: int = 48,
    dose: float = 1.0,
    progress: Progress = _silent,
) -> tuple[SteeringVector, Mapping[str, object]]:
    """The vector without what it does to refusal, and how that went.

    direction: project out the refusal direction. subspace: project out a refusal subspace of up to k directions, as
    many as validation prompts ask for. constrained: `selection.clean`. All on fitting and validation prompts.
    """
    if way not in WAYS:
        raise unknown("way of cleaning", way, WAYS)
    check_fits(vector, engine.d_model, engine.n_layers, engine.model.name)
    origin = {**vector.origin, "cleaned": way}
    harmful, harmless = (plainly(spread(builtin(kind, "fit"), n)) for kind in ("harmful", "plain"))
    held = plainly(spread(builtin("harmful", "validation"), n))
    if way == "constrained":
        openings = measure_openings(engine, harmful, harmless)
        done = constrained_edit(engine, vector, harmful, held, openings, (-dose, dose))
        return done.vector, {"steps": [asdict(step) for step in done.steps]}
    toward = direction if isinstance(direction, Direction) else direction_for(engine, direction, progress)
    if way == "direction":
        return replace(projected_out(vector, toward.vector[None]), origin=origin), {"k": 1}
    openings = measure_openings(engine, harmful, harmless)
    found = fit_subspace(engine, harmful, harmless, held, toward.site, openings, k=k)
    basis = found.subspace.basis
    return replace(projected_out(vector, basis), origin=origin), {
        "k": len(basis),
        "unsteered": found.unsteered,
        "curve": [asdict(effect) for effect in found.curve],
    }


def subjects_from(
    engine: HFEngine,
    texts: Sequence[str],
    length: float | None = None,
    sites: Sequence[Site] = (),
    folder: Path | None = None,
    progress: Progress = _silent,
) -> list[Subject]:
    """Subjects from the command line: a vector file in any format, fit:BEHAVIOUR, or what --steer takes; NAME= before.

    length: give each vector, at each of its sites, this length relative to the median activation norm there; None: as
    they are. sites: where fit:BEHAVIOUR stands; none: the input of the middle block. folder: where fitted vectors are
    kept for the next time.
    """
    found = []
    for text in texts:
        name, _, what = text.rpartition("=")
        if what.startswith(FIT):
            told = what.removeprefix(FIT)
            vector = _fitted(engine, told, sites or [Site(engine.n_layers // 2, "pre")], folder, progress)
            name = name or told.rpartition(":")[2]
        elif Path(what).suffix.lower() in ENDINGS and ":" not in what:
            vector = read_vector(what, engine.fingerprint.weights)
            check_fits(vector, engine.d_model, engine.n_layers, engine.model.name)
            name = name or Path(what).stem
        else:
            found.append(as_it_is(name or what, read_steer(what, engine.n_layers, engine.fingerprint.weights)))
            continue
        found.append(subject(name, vector if length is None else with_length(engine, vector, length)))
    return found


def measurable(subjects: Sequence[Subject]) -> dict[str, str]:
    """Of each vector that says which behaviour it was fitted for, that behaviour, where its pairs can be read here."""
    found = {}
    for s in subjects:
        what = None if s.vector is None else s.vector.origin.get("behaviour")
        if isinstance(what, str):
            with suppress(DemurError):
                behaviour(what, "test")
                found[s.name] = what
    return found


def kept_direction(engine: HFEngine, path: Path | None, folder: Path, progress: Progress = _silent) -> Direction:
    """The refusal direction in a file; else the one that `folder` keeps, fitted the first time."""
    kept = folder / "refusal.safetensors"
    if path is None and kept.exists():
        path = kept
    found = direction_for(engine, path, progress)
    return found if path is not None else load_direction(save_direction(found, kept))


def _fitted(
    engine: HFEngine, name: str, sites: Sequence[Site], folder: Path | None, progress: Progress
) -> SteeringVector:
    """A behaviour's vector, read from `folder` where it was fitted on the same pairs at the same sites before."""
    path = None if folder is None else folder / "vectors" / f"{re.sub(r'[^A-Za-z0-9]+', '-', name)}.safetensors"
    if path is not None and path.exists():
        found = load_vector(path, engine.fingerprint.weights)
        if set(found.vectors) == set(sites) and found.origin.get("texts") == texts_of(behaviour(name, "fit")[:FITTED]):
            return found
    found = fit_behaviour(engine, name, sites, progress=progress).fitted.vector
    return found if path is None else load_vector(save_vector(found, path))


def cleaned_subjects(
    engine: HFEngine,
    subjects: Sequence[Subject],
    way: str,
    direction: Direction,
    folder: Path,
    progress: Progress = _silent,
) -> list[Subject]:
    """Of every subject that is a vector its cleaned self, as `NAME, WAY`; `folder` keeps them for the next time."""
    made = []
    for s in subjects:
        if s.vector is None:
            continue
        about = digest([way, {str(site): tensor_hash(value) for site, value in s.vector.vectors.items()},
                        tensor_hash(direction.vector), str(direction.site)])  # fmt: skip
        path = folder / "vectors" / f"cleaned-{about[:16]}.safetensors"
        if not path.exists():
            save_vector(clean(engine, s.vector, way, direction, progress=progress)[0], path)
        made.append(subject(f"{s.name}, {way}", load_vector(path, engine.fingerprint.weights)))
    if not made:
        raise InputError("there is no vector to clean among what is audited; leave --clean out.")
    return made


def with_length(engine: HFEngine, vector: SteeringVector, share: float) -> SteeringVector:
    """The vector made `share` of the median activation norm long at each of its sites."""
    lacking = [site for site in vector.vectors if site not in vector.norms]
    norms = dict(vector.norms)
    if lacking:
        streams = engine.activations(plainly(builtin("plain", "fit")), lacking)
        norms |= {site: streams.median_norm(site) for site in lacking}
    return rescaled(replace(vector, norms=norms), {site: share * norms[site] for site in vector.vectors})
