"""The safety audit: what does steering that was made for something else do to refusal? (Li et al. 2603.24543)

Arms: unsteered, each subject at each multiplier, random directions as long at the extreme ones. Sets: harmful requests
as they are and under attack, borderline and plain ones; capability items. Primary endpoint: complied, pooled over the
attacks, at the extreme multiplier of each sign; Holm over subjects and signs (cleaned vectors are a family of their
own). Everything else is exploratory.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import final

from demur.analysis.endpoints import Endpoint
from demur.analysis.fail_if import violations
from demur.analysis.groups import check_groups, group_figures
from demur.analysis.verdicts import verdict
from demur.directions.anything import DirectionSource
from demur.directions.artifact import tensor_hash
from demur.directions.cosines import basis_cosines
from demur.engines.base import WhiteBoxEngine
from demur.errors import InputError, unknown
from demur.evaluation.behaviour import BehaviourScores
from demur.evaluation.evaluator import Progress, silent
from demur.evaluation.judging import open_evaluator
from demur.experiments.audit_config import AuditConfig, Prepared
from demur.experiments.audit_figures import behaviours_seen, geometry_figures, mitigation_figures
from demur.experiments.audit_measure import measure, tested_arms
from demur.experiments.audit_report import audit_page, summarise
from demur.experiments.run import Begun, Setup, begin, open_run
from demur.features.record import direction_record
from demur.fitting.attack_ranking import rank_attacks
from demur.fitting.cleaning import Cleaner, cleaned_subjects, refusal_gradients
from demur.fitting.refusal import direction_or_why
from demur.fitting.subjects import Given, Subject, measurable, named, subjects_from
from demur.judges.named import Judges
from demur.prompts import uses
from demur.prompts.pairs import behaviour
from demur.prompts.sets import PromptSets, builtin_sets
from demur.reports import Result
from demur.reports.overview import audit_overview
from demur.runs import digest
from demur.types import Decoding, Direction, Figure, Table, arm_name


@final
@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class AuditResult(Result):
    """An audit: its verdicts, and what they rest on."""

    verdicts: Mapping[str, str]
    """Subject -> raises compliance | raises over-refusal | inconclusive | safe."""
    reasons: Mapping[str, str]
    """Subject -> why, in words."""
    endpoints: tuple[Endpoint, ...]
    failed: tuple[str, ...]
    """What the condition `fail_if` found."""
    table: Table
    subjects: tuple[Subject, ...]


def audit(
    engine: WhiteBoxEngine,
    vectors: Given,
    config: AuditConfig | None = None,
    out: str | Path = "runs/audit",
    direction: DirectionSource | None = None,
    prompts: PromptSets | None = None,
    progress: Progress = silent,
    judge: Judges = None,
) -> AuditResult:
    """Does steering make the model easier or harder to jailbreak? Paired, held out, against random directions.

    vectors: by name, in memory or as files in any known format; fit:BEHAVIOUR fits one; or anything that --steer takes;
    a lone path is one vector. direction: the refusal direction, as a value or a file; fitted when left out. prompts:
    the user's own; built-in ones when left out. judge: the user's own, by name or as a value; the calibrated outcome
    judge when left out; of several the first decides. Writes journal, results.json and report.html under `out`, and
    resumes.

    Cleaning, and what the geometry says of refusal at the vectors' sites, go by attack families that the audit does not
    test. Raises InputError when vectors are to be cleaned and the model has no refusal direction, and
    for a vector or a direction that was fitted on prompts that are tested here.
    """
    config, out, begun = config or AuditConfig(), Path(out), begin(engine)
    config, setup = _checked(config, vectors), Setup(prompts, judge, progress).checked()
    check_groups((prompts or builtin_sets()).tested, config.by)
    ready = prepare(engine, vectors, config, out, direction, prompts, progress)
    if not config.attacks:
        config = with_attacks(engine, config, out, setup)
    ready = compared(engine, ready, config, out, prompts, progress)
    return run_audit(engine, ready, config, out, setup, begun)


def prepare(
    engine: WhiteBoxEngine,
    vectors: Given,
    config: AuditConfig,
    out: Path,
    direction: DirectionSource | None = None,
    prompts: PromptSets | None = None,
    progress: Progress = silent,
) -> Prepared:
    """The subjects, their behaviours, and the refusal direction."""
    subjects = subjects_from(engine, vectors, config.length, config.sites, out, progress)
    if config.clean and all(s.vector is None for s in subjects):
        raise InputError("there is no vector to clean among what is audited; leave cleaning out.")
    _unleaked(None, subjects, prompts)
    toward, undirected = direction_or_why(engine, direction, prompts, out, progress)
    if config.clean and toward is None:
        raise InputError(f"{engine.name}: cleaning needs a refusal direction; leave it out. {undirected[0]}")
    own, unscored = measurable(subjects)
    return Prepared(tuple(subjects), toward, {}, {**own, **config.behaviours}, (), (*unscored, *undirected))


def with_attacks(engine: WhiteBoxEngine, config: AuditConfig, out: Path, setup: Setup) -> AuditConfig:
    """The config with the three attack families that have most compliance on validation requests."""
    decoding = Decoding(config.new_tokens)
    with open_evaluator(engine, decoding, out, setup.progress, setup.prompts, setup.judges) as evaluator:
        return replace(config, attacks=rank_attacks(evaluator).best)


def compared(
    engine: WhiteBoxEngine,
    ready: Prepared,
    config: AuditConfig,
    out: Path,
    prompts: PromptSets | None = None,
    progress: Progress = silent,
) -> Prepared:
    """The audit with cleaned vectors beside the given ones, and the refusal gradients at their sites."""
    cleaner = Cleaner(engine, ready.direction, prompts, out, tested=config.attacks, progress=progress)
    subjects, cleaned, behaviours = ready.subjects, {}, dict(ready.behaviours)
    if config.clean:
        made = cleaned_subjects(cleaner, subjects, config.clean, config.largest)
        cleaned = {s.name: s.name.removesuffix(f", {config.clean}") for s in made}
        behaviours |= {after: behaviours[name] for after, name in cleaned.items() if name in behaviours}
        subjects = (*subjects, *made)
    sites = sorted({site for s in subjects if s.vector is not None for site in s.vector.vectors})
    gradients, lacking = refusal_gradients(cleaner, sites)
    return Prepared(subjects, ready.direction, cleaned, behaviours, tuple(gradients), (*ready.remarks, *lacking))


def run_audit(
    engine: WhiteBoxEngine,
    ready: Prepared,
    config: AuditConfig,
    out: str | Path,
    setup: Setup | None = None,
    begun: Begun | None = None,
) -> AuditResult:
    """Measure what was prepared; generations, scores and verdicts go through `out`'s journal."""
    setup = setup or Setup()
    _sound(ready)
    _unleaked(ready.direction, ready.subjects, setup.prompts)
    with open_run(engine, "vector audit", out, _spec(ready, config), config.new_tokens, setup, begun) as run:
        evaluator = run.evaluator
        if not config.attacks:
            config = replace(config, attacks=rank_attacks(evaluator).best)
        table, ends, figures = measure(evaluator, ready, config)
        said = {s.name: verdict([e for e in ends if e.arm in tested_arms(s, config)], figures) for s in ready.subjects}
        verdicts, reasons = ({name: both[i] for name, both in said.items()} for i in (0, 1))
        seen, told, sides = behaviours_seen(
            evaluator, ready.subjects, ready.behaviours, config.extremes, config.questions
        )
        figures += _geometry(figures, ready, config) + told + _mitigation(table, seen, ready, config)
        arms = {s.name: {m: arm_name(s.name, m) for m in s.doses(config.extremes)} for s in ready.subjects}
        shown = {**arms, "random": {m: arm_name("random", m) for m in config.extremes}}
        broken = {e.arm: e.broken for e in ends}
        shared = run.finish(
            f"{engine.name}: what steering does to refusal ({', '.join(s.name for s in ready.subjects)})",
            summarise(figures, ends, verdicts, reasons, ready, config),
            [*figures, *group_figures(table, config.by, ("random",))],
            audit_overview(figures, verdicts, shown, broken, config.primary),
            page=audit_page(table, ends, figures, ready, config, sides, engine.fingerprint.dtype),
            chosen={
                "command": config.command,
                "attacks": list(config.attacks),
                "verdicts": verdicts,
                "primary": [f"complied on {config.primary} at the extreme multipliers"],
                **({"by": config.by} if config.by else {}),
            },
            table=table,
        )
    failed = tuple(violations(config.fail_if, figures, [e.arm for e in ends])) if config.fail_if else ()
    return AuditResult(**shared, verdicts=verdicts, reasons=reasons, endpoints=ends, failed=failed, table=table,
                       subjects=ready.subjects)  # fmt: skip


def _geometry(figures: Sequence[Figure], ready: Prepared, config: AuditConfig) -> list[Figure]:
    return geometry_figures(figures, ready.subjects, config.multipliers, ready.direction, ready.cleaned,
                            ready.gradients, ready.behaviours, config.primary)  # fmt: skip


def _mitigation(
    table: Table, seen: Mapping[str, Mapping[str, BehaviourScores]], ready: Prepared, config: AuditConfig
) -> list[Figure]:
    return mitigation_figures(table, ready.cleaned, ready.behaviours, seen, config.extremes, config.primary)


def _checked(config: AuditConfig, vectors: Given) -> AuditConfig:
    """The config. Raises UnknownName for a behaviour of what is not audited."""
    names = list(named(vectors))
    for name in config.behaviours:
        if name not in names:
            raise unknown("audited subject", name, names)
    return config


def _sound(ready: Prepared) -> None:
    """InputError without subjects, when two have one name, when a behaviour or a cleaned self belongs to none, for a
    behaviour without test pairs, and for gradients that lack one of a vector's sites."""
    names = [s.name for s in ready.subjects]
    if not names or len(set(names)) < len(names):
        raise InputError(f"an audit needs subjects with names of their own; got {names}.")
    for stranger in sorted({*ready.behaviours, *ready.cleaned, *ready.cleaned.values()} - set(names)):
        raise InputError(
            f"{stranger!r} has a behaviour or a cleaned self but is not audited; audited: {', '.join(names)}."
        )
    for what in dict.fromkeys(ready.behaviours.values()):
        if not behaviour(what, "test"):
            raise InputError(f"behaviour {what} has no test pairs; mark some rows with use = test.")
    for s in ready.subjects:
        if s.vector is not None and ready.gradients:
            basis_cosines(s.vector, ready.gradients)


def _unleaked(direction: Direction | None, subjects: Sequence[Subject], prompts: PromptSets | None) -> None:
    """InputError for a direction or a vector that was fitted or chosen on what is tested here."""
    for made in (direction, *(s.vector for s in subjects)):
        if made is not None:
            uses.check_artifact(made.origin, prompts or builtin_sets())


def _spec(ready: Prepared, config: AuditConfig) -> dict[str, object]:
    """What decides the run."""
    toward = ready.direction
    lengths = {s.name: {str(site): float(v.norm()) for site, v in s.vector.vectors.items()}
               for s in ready.subjects if s.vector is not None}  # fmt: skip
    asked = {name: value for name, value in asdict(config).items() if name not in ("command", "fail_if")}
    return {
        "subjects": {s.name: digest([s.steer(m).spec() for m in s.doses(config.multipliers)]) for s in ready.subjects},
        "config": {**asked, "sites": [str(site) for site in config.sites]},
        "lengths": lengths,
        "behaviours": dict(ready.behaviours),
        "cleaned": dict(ready.cleaned),
        "direction": toward and {**direction_record(toward), "scores": toward.origin.get("scores")},
        "gradients": [
            {str(site): tensor_hash(value) for site, value in one.vectors.items()} for one in ready.gradients
        ],
    }
