"""Cleaning vectors of what they do to refusal, and which directions move refusal where they stand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path

from demur.audit.feature_study import direction_for
from demur.audit.measure import Progress, silent
from demur.audit.study import plainly, spread
from demur.audit.vector_audit import Subject, subject
from demur.audit.vector_sources import kept_vector
from demur.directions.artifact import tensor_hash
from demur.directions.subspace import orthonormal, projected_out
from demur.directions.vectors import check_fits
from demur.engines.hf import HFEngine
from demur.errors import InputError, unknown
from demur.features.record import MODEL
from demur.prompts.builtin import builtin
from demur.selection.clean import constrained_edit, projected
from demur.selection.gradients import gradient_subspaces, wrapped
from demur.selection.openings import Openings, measure_openings
from demur.selection.subspace import CONSTRUCTIONS, FittedSubspace, fit_subspace
from demur.types import Conversation, Direction, Site, SteeringVector, Subspace

WAYS = ("constrained", "direction", "subspace")
"""Ways of cleaning."""
SUBSPACES = (*CONSTRUCTIONS, "gradients")
"""Ways of making a refusal subspace."""


@dataclass
class Cleaner:
    """Takes out of vectors what they do to refusal; what every vector needs is measured once.

    way: "direction" projects out the refusal direction; "subspace" a refusal subspace; "constrained" projects out the
    direction and then edits what is left (`selection.clean`). construction: "gradients" is the refusal direction and up
    to k directions that move refusal at the vector's own sites, as many as validation requests ask for by what is left
    of the vector's change at multipliers up to `dose`; "iterative" and "categories" stand at the refusal direction's
    site and are cut by ablation (`selection.subspace`). Edits and gradients are fitted on n fitting requests, bare and
    in wrappers, and judged on as many validation ones. Raises UnknownName for another way or construction.
    """

    engine: HFEngine
    way: str = "subspace"
    direction: Path | Direction | None = None
    k: int = 5
    n: int = 48
    dose: float = 1.0
    construction: str = "gradients"
    progress: Progress = silent

    def __post_init__(self) -> None:
        if self.way not in WAYS:
            raise unknown("way of cleaning", self.way, WAYS)
        if self.construction not in SUBSPACES:
            raise unknown("construction of a subspace", self.construction, SUBSPACES)
        self.bases: dict[Site, Subspace] = {}

    @cached_property
    def fitting(self) -> list[Conversation]:
        """Fitting requests, bare and in wrappers."""
        return wrapped(spread(builtin("harmful", "fit"), self.n))

    @cached_property
    def held(self) -> list[Conversation]:
        """Validation requests, bare and in wrappers."""
        return wrapped(spread(builtin("harmful", "validation"), self.n))

    @cached_property
    def openings(self) -> Openings:
        """Openings of the model's refusals."""
        harmful, harmless = (plainly(spread(builtin(kind, "fit"), self.n)) for kind in ("harmful", "plain"))
        return measure_openings(self.engine, harmful, harmless)

    @cached_property
    def toward(self) -> Direction:
        """The refusal direction."""
        given = self.direction
        return given if isinstance(given, Direction) else direction_for(self.engine, given, self.progress)

    def ablated(self, construction: str) -> FittedSubspace:
        """The refusal subspace of up to k directions at the refusal direction's site, and what ablating it does."""
        harmful, harmless = (plainly(spread(builtin(kind, "fit"), self.n)) for kind in ("harmful", "plain"))
        held = plainly(spread(builtin("harmful", "validation"), self.n))
        return fit_subspace(self.engine, harmful, harmless, held, self.toward.site, self.openings, construction, self.k)

    @cached_property
    def fixed(self) -> FittedSubspace:
        """The subspace that does not depend on the vector."""
        return self.ablated(self.construction)

    def moving(self, sites: Sequence[Site]) -> dict[Site, Subspace]:
        """At each site the k directions along which refusal moves fastest (`selection.gradients`)."""
        if lacking := [site for site in sites if site not in self.bases]:
            self.progress("finding what moves refusal", 0, 1)
            self.bases |= gradient_subspaces(self.engine, self.fitting, lacking, self.openings, self.k)
            self.progress("finding what moves refusal", 1, 1)
        return {site: self.bases[site] for site in sites}

    def __call__(self, vector: SteeringVector) -> tuple[SteeringVector, Mapping[str, object]]:
        """The vector without what it does to refusal, and how that went. Raises BadVector when it does not fit."""
        engine, doses = self.engine, (-self.dose, self.dose)
        check_fits(vector, engine.d_model, engine.n_layers, engine.model.name)
        model = {name: vector.origin[name] for name in ("model", *MODEL) if name in vector.origin}
        how: dict[str, object] = {"way": self.way}
        if self.way in ("constrained", "direction"):
            made = projected_out(vector, dict.fromkeys(vector.vectors, self.toward.vector[None]))
            if self.way == "constrained":
                done = constrained_edit(engine, made, self.fitting, self.held, self.openings, doses)
                how |= {"dose": self.dose, "steps": [asdict(step) for step in done.steps]}
                made = done.vector
        elif self.construction == "gradients":
            bases = {site: orthonormal([self.toward.vector, *found.basis])
                     for site, found in self.moving(list(vector.vectors)).items()}  # fmt: skip
            done = projected(engine, vector, bases, self.held, self.openings, doses)
            how |= {"construction": self.construction, "dose": self.dose, "k": done.taken,
                    "steps": [asdict(step) for step in done.steps]}  # fmt: skip
            made = done.vector
        else:
            basis = self.fixed.subspace.basis
            how |= {"construction": self.construction, "k": len(basis), "unsteered": self.fixed.unsteered,
                    "curve": [asdict(effect) for effect in self.fixed.curve]}  # fmt: skip
            made = projected_out(vector, dict.fromkeys(vector.vectors, basis))
        kept = {name: how[name] for name in ("construction", "dose", "k") if name in how}
        return replace(made, origin={**model, "cleaned": self.way, **kept, "of": dict(vector.origin)}), how


def moves(
    engine: HFEngine, sites: Sequence[Site], folder: Path, k: int = 5, progress: Progress = silent
) -> tuple[list[SteeringVector], list[str]]:
    """The k orthonormal directions that move refusal at each of the sites, first the strongest; `folder` keeps them.
    None, and a line that says why, where there are no sites or the model refuses too little to tell."""
    cleaner = Cleaner(engine, k=k, progress=progress)

    def row(i: int) -> SteeringVector:
        found = cleaner.moving(sites)
        return SteeringVector({site: found[site].basis[i] for site in sites}, {}, {"moves": "refusal", "row": i})

    about = ["moves", k, *map(str, sites), *_texts(cleaner)]
    if not sites:
        return [], []
    try:
        return [kept_vector(engine, folder, f"refusal gradient {i}", [*about, i], lambda i=i: row(i)) for i in
                range(k)], []  # fmt: skip
    except InputError as problem:
        return [], [f"What moves refusal at the vectors' sites is not known: {problem}"]


def _texts(cleaner: Cleaner) -> list[str]:
    """What a cleaner fits and judges on."""
    return [f"{talk.attack} {talk.prompt.text}" for talk in (*cleaner.fitting, *cleaner.held)]


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
            about = ["cleaned", way, cleaner.construction, cleaner.k, dose, *_texts(cleaner),
                     {str(site): tensor_hash(value) for site, value in vector.vectors.items()},
                     vector.origin, tensor_hash(direction.vector), str(direction.site)]  # fmt: skip
            name = f"{s.name}, {way}"
            after = kept_vector(engine, folder, name, about, lambda vector=vector: cleaner(vector)[0])
            made.append(subject(name, after))
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
