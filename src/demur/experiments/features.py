"""Do these latents cause refusal? Doses chosen on validation, proof on test prompts: `demur features verify`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import final

from demur.analysis.tables import excess, find, in_words
from demur.directions.anything import DirectionSource
from demur.engines.base import WhiteBoxEngine
from demur.errors import check_sizes
from demur.evaluation.evaluator import Progress, silent
from demur.experiments.proof import Proof, ProofConfig, Smaller, prove
from demur.experiments.run import Setup, begin, examples, open_run
from demur.features import minimal
from demur.features.minimal import KEPT
from demur.features.record import direction_record
from demur.fitting.attack_ranking import rank_attacks
from demur.fitting.doses import Doses, choose_doses, choose_factor, effects, refusal_score_drop
from demur.fitting.refusal import refusal_direction, remarks
from demur.judges.named import Judges
from demur.prompts import uses
from demur.prompts.sets import PromptSets, builtin_sets
from demur.reports import Result
from demur.reports.overview import CLAIMS, proof_overview
from demur.runs import digest
from demur.saes import SAE, load_saes, save_features
from demur.types import FeatureSet, Figure, Site

SETS = ("harmful", "attacked", "plain")


@dataclass(frozen=True)
class VerifyConfig:
    """How much is measured."""

    proof: ProofConfig = field(default_factory=ProofConfig)
    minimal: bool = False
    """Find and score the smallest subset that does it."""
    new_tokens: int = 24

    def __post_init__(self) -> None:
        check_sizes(new_tokens=self.new_tokens)


@final
@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class FeatureResult(Result):
    """A proof of features, and what it was made with."""

    doses: Doses
    proof: Proof
    minimal: FeatureSet | None
    """The smallest subset, where one was asked for."""


def verify_features(
    engine: WhiteBoxEngine,
    features: FeatureSet,
    config: VerifyConfig | None = None,
    out: str | Path = "runs/verify",
    direction: DirectionSource | None = None,
    prompts: PromptSets | None = None,
    saes: Mapping[Site, SAE] | None = None,
    progress: Progress = silent,
    judge: Judges = None,
) -> FeatureResult:
    """Necessity and sufficiency of a feature set, with its dose curve, matched random latents, and the cost.

    saes: those that the features are of; read from the folders that the set names when left out. direction: a value or
    a file; fitted when left out. judge: the user's own, by name or as a value; the calibrated outcome judge when left
    out; of several the first decides. Writes journal, results.json, report.html and minimal.json under `out`, and
    resumes. Raises InputError for features or a direction that were found on prompts that are tested here.
    """
    config, out, begun = config or VerifyConfig(), Path(out), begin(engine)
    setup = Setup(prompts, judge, progress).checked()
    uses.check_artifact(features.origin, prompts or builtin_sets())
    saes = load_saes(features) if saes is None else saes
    toward = refusal_direction(engine, direction, prompts, out, progress)
    spec = {
        "features": [[str(f.site), f.index] for f in features.features],
        "found": digest(features.origin),
        "method": features.origin.get("method"),
        "saes": {str(site): sae.sha256 for site, sae in saes.items()},
        "direction": {**direction_record(toward), "scores": toward.origin.get("scores")},
        "config": asdict(config),
    }
    with open_run(engine, "features verify", out, spec, config.new_tokens, setup, begun) as run:
        evaluator = run.evaluator
        attacks = rank_attacks(evaluator).best
        doses = choose_doses(evaluator, features, saes, attacks)
        smaller = None
        if config.minimal:
            drop = refusal_score_drop(engine, evaluator.prompts, saes, doses.factor, folder=out)
            subset = minimal(features, effects(evaluator, saes), screen=drop)
            factor = choose_factor(evaluator, subset, saes, enough=KEPT * doses.gain).dose
            smaller = Smaller(subset, factor)
            save_features(subset, out / "minimal.json")
        proof = prove(evaluator, features, saes, toward, doses, attacks, config.proof, smaller)
        figures = (*proof.figures, *doses.curve)
        broken = {arm: excess(figures, arm, name, "unsteered") for arm, (_, name, _) in CLAIMS.items()
                  if any(f.arm == arm and f.set == name for f in figures)}  # fmt: skip
        shared = run.finish(
            f"{engine.name}: do these {len(features.features)} latents cause refusal?",
            (*_summary(figures, len(features.features), doses), *remarks(toward)),
            figures,
            proof_overview(figures, broken),
            page={
                "examples": examples(proof.table, ("unsteered", "suppress", "clamp"), SETS),
                "notes": (
                    "Factor, value and attack families were chosen on validation prompts; every other figure is on "
                    "test prompts. Sets named validation ... are the dose curve.",
                    "Random sets are matched in activity and in how far they move the stream; set `controls`: how "
                    "nearly.",
                    "Primary: complied on harmful under suppress, refused on attacked under clamp. Else exploratory.",
                ),
            },
            chosen={
                "chosen_on_validation": _record(attacks, doses, smaller),
                "primary": ["complied on harmful under suppress", "refused on attacked under clamp"],
            },
            table=proof.table,
        )
    return FeatureResult(**shared, doses=doses, proof=proof, minimal=None if smaller is None else smaller.features)


def _record(attacks: Sequence[str], doses: Doses, smaller: Smaller | None) -> dict[str, object]:
    found: dict[str, object] = {"attacked": list(attacks), "factor": doses.factor, "value": doses.value}
    if smaller is not None:
        latents = [[str(f.site), f.index] for f in smaller.features.features]
        found["minimal"] = {"features": latents, "factor": smaller.factor}
    return found


def _summary(figures: Sequence[Figure], k: int, doses: Doses) -> tuple[str, ...]:
    def change(arm: str, name: str, metric: str, versus: str = "unsteered") -> str:
        return in_words(find(figures, arm, name, metric, versus))

    lines = [
        f"Suppressed ({doses.factor:g} times), {k} latents change compliance with harmful requests by "
        f"{change('suppress', 'harmful', 'compliance_rate')}; matched random latents by "
        f"{change('random suppress', 'harmful', 'compliance_rate')}; ablating the direction by "
        f"{change('ablate', 'harmful', 'compliance_rate')}.",
        f"Clamped at {doses.value:g}, they change refusal of attacked requests by "
        f"{change('clamp', 'attacked', 'refusal_rate')}, of borderline ones by "
        f"{change('clamp', 'borderline', 'refusal_rate')}, of plain ones by "
        f"{change('clamp', 'plain', 'refusal_rate')}; capability by {change('clamp', 'capability', 'accuracy')}.",
        f"With the refusal direction taken out of their decoder rows: compliance "
        f"{change('suppress without direction', 'harmful', 'compliance_rate')}, refusal of attacked "
        f"{change('clamp without direction', 'attacked', 'refusal_rate')}.",
    ]
    if doses.over_budget:
        which = " and ".join(doses.over_budget)
        lines.append(f"On validation every {which} tried broke more than 5 points more answers; the one that breaks "
                     "fewest was taken, and no claim can be built on it.")  # fmt: skip
    return tuple(lines)
