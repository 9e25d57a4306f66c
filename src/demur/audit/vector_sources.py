"""Where audited vectors come from: fitted with a null, cleaned of refusal, read from files, made to a length."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path

from demur.audit.behaviour import clears_null, log_odds
from demur.audit.feature_study import direction_for
from demur.audit.measure import Progress, silent
from demur.audit.study import fit_refusal, plainly, size_for, spread
from demur.audit.vector_audit import Subject, as_it_is, subject
from demur.directions.artifact import load_direction, tensor_hash
from demur.directions.exchange import ENDINGS, read_vector
from demur.directions.subspace import projected_out
from demur.directions.vector_file import load_vector, save_vector
from demur.directions.vectors import check_fits, rescaled
from demur.engines.hf import HFEngine
from demur.errors import DemurError, InputError, unknown
from demur.features.record import MODEL
from demur.interventions.expression import read_steer
from demur.prompts.builtin import builtin
from demur.prompts.pairs import balanced, behaviour
from demur.runs import SOURCE_ROOMS, digest, source_hash
from demur.selection.clean import constrained_edit, steered
from demur.selection.openings import Openings, measure_openings
from demur.selection.subspace import FittedSubspace, fit_subspace
from demur.selection.vectors import FittedVector, fit_vector, texts_of
from demur.types import Direction, Site, SteeringVector

WAYS = ("constrained", "direction", "subspace")
"""Ways of cleaning."""
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


@dataclass
class Cleaner:
    """Takes out of vectors what they do to refusal; what every vector needs is measured once.

    way: "direction" projects out the refusal direction; "subspace" a refusal subspace of up to k directions, as many as
    validation prompts ask for; "constrained" is `selection.clean`, for multipliers up to `dose`. All on fitting and
    validation prompts, n of each kind. Raises UnknownName for another way.
    """

    engine: HFEngine
    way: str = "subspace"
    direction: Path | Direction | None = None
    k: int = 5
    n: int = 48
    dose: float = 1.0
    progress: Progress = silent

    def __post_init__(self) -> None:
        if self.way not in WAYS:
            raise unknown("way of cleaning", self.way, WAYS)
        self.harmful, self.harmless = (plainly(spread(builtin(kind, "fit"), self.n)) for kind in ("harmful", "plain"))
        self.held = plainly(spread(builtin("harmful", "validation"), self.n))

    @cached_property
    def openings(self) -> Openings:
        """Openings of the model's refusals."""
        return measure_openings(self.engine, self.harmful, self.harmless)

    @cached_property
    def toward(self) -> Direction:
        """The refusal direction."""
        given = self.direction
        return given if isinstance(given, Direction) else direction_for(self.engine, given, self.progress)

    def subspace(self, construction: str = "iterative") -> FittedSubspace:
        """The refusal subspace at the refusal direction's site."""
        return fit_subspace(self.engine, self.harmful, self.harmless, self.held, self.toward.site, self.openings,
                            construction, self.k)  # fmt: skip

    @cached_property
    def projected(self) -> FittedSubspace:
        """The subspace that is projected out."""
        return self.subspace()

    def __call__(self, vector: SteeringVector) -> tuple[SteeringVector, Mapping[str, object]]:
        """The vector without what it does to refusal, and how that went. Raises BadVector when it does not fit."""
        engine = self.engine
        check_fits(vector, engine.d_model, engine.n_layers, engine.model.name)
        model = {name: vector.origin[name] for name in ("model", *MODEL) if name in vector.origin}
        origin = {**model, "cleaned": self.way, "of": dict(vector.origin)}
        if self.way == "constrained":
            doses = (-self.dose, self.dose)
            done = constrained_edit(engine, vector, self.harmful, self.held, self.openings, doses)
            steps = [asdict(step) for step in done.steps]
            return replace(done.vector, origin={**origin, "dose": self.dose}), {"steps": steps}
        if self.way == "direction":
            return replace(projected_out(vector, self.toward.vector[None]), origin=origin), {"k": 1}
        found = self.projected
        basis = found.subspace.basis
        curve = [asdict(effect) for effect in found.curve]
        return replace(projected_out(vector, basis), origin=origin), {
            "k": len(basis),
            "unsteered": found.unsteered,
            "curve": curve,
        }


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
            read[name] = as_it_is(name, read_steer(what, engine.n_layers, engine.fingerprint.weights))
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


def _fitted(
    engine: HFEngine, name: str, sites: Sequence[Site], folder: Path | None, progress: Progress
) -> SteeringVector:
    """A behaviour's vector; read from `folder` where the same was fitted before."""

    def fit() -> SteeringVector:
        return fit_behaviour(engine, name, sites, progress=progress).fitted.vector

    texts = [texts_of(behaviour(name, "fit")[:FITTED]), texts_of(behaviour(name, "validation"))]
    return _kept(engine, folder, name, ["fitted", texts, [str(site) for site in sites]], fit)


def cleaned_subjects(
    engine: HFEngine,
    subjects: Sequence[Subject],
    way: str,
    direction: Direction,
    folder: Path,
    dose: float = 1.0,
    progress: Progress = silent,
) -> list[Subject]:
    """Of every subject that is a vector its cleaned self, as `NAME, WAY`; `folder` keeps them for the next time.

    dose: the largest multiplier it will be used at. Raises InputError when none is a vector.
    """
    made, cleaner = [], Cleaner(engine, way, direction, dose=dose, progress=progress)
    for s in subjects:
        if (vector := s.vector) is not None:
            about = ["cleaned", way, dose, {str(site): tensor_hash(value) for site, value in vector.vectors.items()},
                     vector.origin, tensor_hash(direction.vector), str(direction.site)]  # fmt: skip
            after = _kept(
                engine,
                folder,
                f"{s.name}, {way}",
                about,
                lambda vector=vector: cleaner(vector)[0],
            )
            made.append(subject(f"{s.name}, {way}", after))
    if not made:
        raise InputError("there is no vector to clean among what is audited; leave --clean out.")
    return made


def beside_cleaned(
    engine: HFEngine,
    subjects: Sequence[Subject],
    behaviours: Mapping[str, str],
    way: str,
    direction: Direction,
    folder: Path,
    dose: float,
    progress: Progress = silent,
) -> tuple[list[Subject], dict[str, str], dict[str, str]]:
    """Subjects with their cleaned selves (`cleaned_subjects`), the behaviours of all, and cleaned name -> name."""
    made = cleaned_subjects(engine, subjects, way, direction, folder, dose, progress)
    cleaned = {s.name: s.name.removesuffix(f", {way}") for s in made}
    of_cleaned = {after: behaviours[name] for after, name in cleaned.items() if name in behaviours}
    return [*subjects, *made], {**behaviours, **of_cleaned}, cleaned


def _kept(
    engine: HFEngine, folder: Path | None, name: str, about: object, make: Callable[[], SteeringVector]
) -> SteeringVector:
    """The vector in `folder` that was made by the same code from the same things; else made, and kept there."""
    if folder is None:
        return make()
    sources = source_hash((*SOURCE_ROOMS, "activations", "directions", "selection"))
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
