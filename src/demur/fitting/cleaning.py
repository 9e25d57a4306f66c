"""Cleaning steering vectors of what they do to refusal, and the directions along which refusal moves fastest where
they stand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property, partial
from pathlib import Path

from demur.attacks import unattacked
from demur.directions.artifact import tensor_hash
from demur.directions.subspace import orthonormal, projected_out
from demur.directions.vectors import check_fits
from demur.engines.base import WhiteBoxEngine
from demur.errors import InputError, NoRefusal, unknown
from demur.evaluation.evaluator import Progress, silent
from demur.features.record import MODEL
from demur.fitting.cache import cached, cached_openings
from demur.fitting.edits import constrained_edit, projected
from demur.fitting.gradients import WRAPPERS, gradient_subspaces, wrapped
from demur.fitting.openings import Openings
from demur.fitting.refusal import refusal_direction
from demur.fitting.subjects import Subject, subject
from demur.fitting.subspace import CONSTRUCTIONS, FittedSubspace, fit_subspace
from demur.prompts import uses
from demur.prompts.sets import PromptSets, builtin_sets
from demur.runs import digest
from demur.types import Conversation, Direction, Site, SteeringVector, Subspace

WAYS = ("constrained", "direction", "subspace")
"""Ways of cleaning."""
SUBSPACES = (*CONSTRUCTIONS, "gradients")
"""Ways of making a refusal subspace."""


@dataclass
class Cleaner:
    """Takes out of vectors what they do to refusal; what every vector needs is measured once.

    Ways: "direction" projects out the refusal direction; "subspace" a refusal subspace; "constrained" projects out the
    direction and then edits what is left (`fitting.edits`). construction: "gradients" is the refusal direction and up
    to k directions along which refusal moves fastest at the vector's own sites, as many as validation requests ask for
    by what is left of the vector's change; "iterative" and "categories" stand at the refusal direction's site and are
    cut by ablation (`fitting.subspace`). Edits and gradients are fitted on n fitting requests, bare and in wrappers,
    and judged on as many validation ones. tested: attack families that are none of the wrappers, for an audit that is
    to say what cleaning does under attacks that it has not seen. prompts: the user's own. folder: where fits are
    cached. Raises UnknownName for another construction.
    """

    engine: WhiteBoxEngine
    direction: Path | Direction | None = None
    prompts: PromptSets | None = None
    folder: Path | None = None
    k: int = 5
    n: int = 48
    construction: str = "gradients"
    tested: Sequence[str] = ()
    progress: Progress = silent

    def __post_init__(self) -> None:
        if self.construction not in SUBSPACES:
            raise unknown("construction of a subspace", self.construction, SUBSPACES)
        self.bases: dict[Site, Subspace] = {}

    @cached_property
    def bare(self) -> tuple[list[Conversation], list[Conversation], list[Conversation]]:
        """Harmful and plain fitting requests, and harmful validation ones, as they are."""
        prompts = self.prompts or builtin_sets()
        return (
            unattacked(prompts.take("harmful", "fit", self.n)),
            unattacked(prompts.take("plain", "fit", self.n)),
            unattacked(prompts.take("harmful", "validation", self.n)),
        )

    @property
    def families(self) -> tuple[str, ...]:
        """The wrappers, bare requests first."""
        return tuple(name for name in WRAPPERS if name == "direct" or name not in self.tested)

    @cached_property
    def fitting(self) -> list[Conversation]:
        """Fitting requests, bare and in wrappers."""
        return wrapped([talk.prompt for talk in self.bare[0]], self.families)

    @cached_property
    def held(self) -> list[Conversation]:
        """Validation requests, bare and in wrappers."""
        return wrapped([talk.prompt for talk in self.bare[2]], self.families)

    @cached_property
    def openings(self) -> Openings:
        """First tokens of the model's refusals: a score by longer ones has no gradient."""
        return cached_openings(self.folder, self.engine, *self.bare[:2], longest=1)

    @cached_property
    def about(self) -> list[str]:
        """What decides cleaned vectors and refusal gradients, beside vector and model."""
        talks = [asdict(talk) for talk in (*self.fitting, *self.held, *self.bare[0], *self.bare[1])]
        return [digest(talks), str(self.k)]

    @cached_property
    def toward(self) -> Direction:
        """The refusal direction."""
        return refusal_direction(self.engine, self.direction, self.prompts, self.folder, self.progress)

    def ablated(self, construction: str) -> FittedSubspace:
        """The refusal subspace of up to k directions at the refusal direction's site, and what ablating it does."""
        return fit_subspace(self.engine, *self.bare, self.toward.site, self.openings, construction, self.k)

    @cached_property
    def fixed(self) -> FittedSubspace:
        """The subspace that does not depend on the vector."""
        return self.ablated(self.construction)

    def gradients(self, sites: Sequence[Site]) -> dict[Site, Subspace]:
        """At each site the k directions along which refusal moves fastest (`fitting.gradients`)."""
        if lacking := [site for site in sites if site not in self.bases]:
            told = partial(self.progress, "finding refusal gradients")
            told(0, len(self.fitting))
            self.bases |= gradient_subspaces(self.engine, self.fitting, lacking, self.openings, self.k, told)
        return {site: self.bases[site] for site in sites}

    def __call__(
        self, vector: SteeringVector, way: str = "subspace", dose: float = 1.0
    ) -> tuple[SteeringVector, Mapping[str, object]]:
        """The vector without what it does to refusal at multipliers up to `dose`, and how that went.

        Raises UnknownName for another way, BadVector when the vector does not fit.
        """
        if way not in WAYS:
            raise unknown("way of cleaning", way, WAYS)
        engine, doses = self.engine, (-dose, dose)
        check_fits(vector, engine.d_model, engine.n_layers, engine.name)
        model = {name: vector.origin[name] for name in ("model", *MODEL) if name in vector.origin}
        how: dict[str, object] = {"way": way}
        if way != "direction":
            how["openings_auroc"] = self.openings.auroc
        if way == "constrained" or (way == "subspace" and self.construction == "gradients"):
            how["wrappers"] = list(self.families)
        if way in ("constrained", "direction"):
            made = projected_out(vector, dict.fromkeys(vector.vectors, self.toward.vector[None]))
            if way == "constrained":
                done = constrained_edit(engine, made, self.fitting, self.held, self.openings, doses)
                how |= {"dose": dose, "steps": [asdict(step) for step in done.steps]}
                made = done.vector
        elif self.construction == "gradients":
            bases = {site: orthonormal([self.toward.vector, *found.basis])
                     for site, found in self.gradients(list(vector.vectors)).items()}  # fmt: skip
            done = projected(engine, vector, bases, self.held, self.openings, doses)
            how |= {"construction": self.construction, "dose": dose, "k": done.taken,
                    "steps": [asdict(step) for step in done.steps]}  # fmt: skip
            made = done.vector
        else:
            basis = self.fixed.subspace.basis
            how |= {"construction": self.construction, "k": len(basis), "unsteered": self.fixed.unsteered,
                    "curve": [asdict(effect) for effect in self.fixed.curve]}  # fmt: skip
            made = projected_out(vector, dict.fromkeys(vector.vectors, basis))
        texts = [talk.prompt.text for some in self.bare for talk in some]
        on = [(self.prompts or builtin_sets()).fitted_on(texts), *uses.fitted_on(self.toward.origin)]
        kept = {name: how[name] for name in ("construction", "dose", "k", "openings_auroc", "wrappers") if name in how}
        return replace(made, origin={**model, "cleaned": way, "fitted_on": on, **kept, "of": dict(vector.origin)}), how


def clean_vector(
    engine: WhiteBoxEngine,
    vector: SteeringVector,
    way: str = "subspace",
    dose: float = 1.0,
    direction: Path | Direction | None = None,
    prompts: PromptSets | None = None,
    progress: Progress = silent,
) -> SteeringVector:
    """A steering vector without what it does to refusal at multipliers up to `dose`; its origin says how.

    way: "direction", "subspace" or "constrained" (`Cleaner`). direction: the refusal direction; fitted when left out.
    prompts: the user's own. Raises as `Cleaner` does. Audit what comes out: `demur.audit`.
    """
    return Cleaner(engine, direction, prompts, progress=progress)(vector, way, dose)[0]


def refusal_gradients(cleaner: Cleaner, sites: Sequence[Site]) -> tuple[list[SteeringVector], list[str]]:
    """The orthonormal directions along which refusal moves fastest at each of the sites, first the strongest.

    No directions, and a line that says why, where the model refuses too little to tell; neither without sites.
    """
    engine = cleaner.engine

    def row(i: int) -> SteeringVector:
        found = cleaner.gradients(sites)
        origin = {"model": engine.name, "weights": engine.fingerprint.weights, "row": i,
                  "wrappers": list(cleaner.families)}  # fmt: skip
        return SteeringVector({site: found[site].basis[i] for site in sites}, {}, {**origin, **found[sites[0]].origin})

    if not sites:
        return [], []
    about = ["refusal gradients", *map(str, sites), *cleaner.about]
    try:
        return [cached(cleaner.folder, f"refusal gradient {i}", [*about, i], engine.fingerprint,
                              lambda i=i: row(i)) for i in range(cleaner.k)], []  # fmt: skip
    except NoRefusal as problem:
        return [], [f"The refusal gradients at the vectors' sites are not known: {problem}"]


def cleaned_subjects(cleaner: Cleaner, subjects: Sequence[Subject], way: str, dose: float) -> list[Subject]:
    """Of every subject that is a vector its cleaned self, as `NAME, WAY`. Raises InputError when none is a vector."""
    made, toward = [], cleaner.toward
    for s in subjects:
        if (vector := s.vector) is not None:
            about = ["cleaned", way, cleaner.construction, dose, *cleaner.about,
                     {str(site): tensor_hash(value) for site, value in vector.vectors.items()},
                     vector.origin, tensor_hash(toward.vector), str(toward.site)]  # fmt: skip
            name = f"{s.name}, {way}"
            after = cached(cleaner.folder, name, about, cleaner.engine.fingerprint,
                                  lambda vector=vector: cleaner(vector, way, dose)[0])  # fmt: skip
            made.append(subject(name, after))
    if not made:
        raise InputError("there is no vector to clean among what is audited; leave cleaning out.")
    return made
