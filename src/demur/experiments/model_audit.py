"""The audit of one model's vectors as a user asks for it: what `demur vector audit` calls for each model."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from demur.analysis.fail_if import failing
from demur.attacks import get as attack_named
from demur.engines.hf import HFEngine
from demur.errors import InputError, unknown
from demur.evaluation.evaluator import Progress, silent
from demur.evaluation.judging import kept_bench
from demur.experiments.vector_audit import Plan
from demur.experiments.vector_report import Audited, audit_vectors, tested_pairs, with_attacks
from demur.fitting.cleaning import WAYS, Cleaner, beside_cleaned, moves
from demur.fitting.vector_sources import direction_or_why, measurable, subject_names, subjects_from
from demur.types import Decoding, Site


@dataclass(frozen=True)
class Asked:
    """What is to be audited, and how. What cannot be is refused before any work: UnknownName, InputError."""

    vectors: Sequence[str]
    """What `vector_sources.subjects_from` takes."""
    plan: Plan
    length: float | None = None
    """Length of every vector, relative to the median activation norm; None: as they are."""
    sites: Sequence[Site] = ()
    """Where fit:BEHAVIOUR stands."""
    behaviours: Mapping[str, str] = field(default_factory=dict)
    """Subject -> the behaviour that it is scored on; a fitted vector is scored on its own."""
    clean: str = ""
    """Audit each vector beside itself cleaned this way."""
    direction: Path | None = None
    """The refusal direction's file; None: fitted on each model."""
    new_tokens: int = 24
    fail_if: str = ""
    command: str = ""
    """How it was asked for, for the record."""

    def __post_init__(self) -> None:
        if self.clean and self.clean not in WAYS:
            raise unknown("way of cleaning", self.clean, WAYS)
        if self.fail_if:
            failing(self.fail_if, [], [])
        for name in self.plan.attacks:
            attack_named(name)
        names = subject_names(self.vectors)
        for name, what in self.behaviours.items():
            if name not in names:
                raise unknown("audited subject", name, names)
            tested_pairs(what)


def audit_model(engine: HFEngine, asked: Asked, out: Path, progress: Progress = silent) -> Audited:
    """The audit on one model, everything kept under `out`.

    Cleaning, and what the geometry says of refusal at the vectors' sites, go by attack families that the audit does not
    test. Raises InputError when vectors are to be cleaned and the model has no refusal direction.
    """
    name, started, plan = engine.model.name, time.monotonic(), asked.plan
    subjects = subjects_from(engine, asked.vectors, asked.length, asked.sites, out, progress)
    if asked.clean and all(s.vector is None for s in subjects):
        raise InputError("there is no vector to clean among what is audited; leave --clean out.")
    toward, undirected = direction_or_why(engine, asked.direction, out, progress)
    if asked.clean and toward is None:
        raise InputError(f"{name}: --clean needs a refusal direction; leave it out. {undirected[0]}")
    if not plan.attacks:
        decoding = Decoding(asked.new_tokens)
        spec = {"experiment": "attack families", "engine": asdict(engine.fingerprint), "decoding": asdict(decoding)}
        with kept_bench(engine, decoding, out, progress, "attack families", spec) as (bench, run):
            plan = with_attacks(plan, bench, name, run)
    cleaner = Cleaner(engine, toward, tested=plan.attacks, progress=progress)
    named, remarks = measurable(subjects)
    named, cleaned = {**named, **asked.behaviours}, {}
    if asked.clean:
        subjects, named, cleaned = beside_cleaned(cleaner, subjects, named, asked.clean, plan.largest, out)
    steered = sorted({site for s in subjects if s.vector is not None for site in s.vector.vectors})
    moving, lacking = moves(cleaner, steered, out)
    sites = [str(site) for site in asked.sites]
    words = {"command": asked.command, "vectors": asked.vectors, "length": asked.length, "sites": sites}
    return audit_vectors(engine, name, subjects, plan, out, toward, named, asked.new_tokens, asked.fail_if, progress,
                         cleaned, [*remarks, *undirected, *lacking], words, moving, started)  # fmt: skip
