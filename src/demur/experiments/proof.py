"""Do these latents cause refusal? Necessity and sufficiency, against matched random latents and the direction.

Necessity: suppressed, compliance with harmful requests rises. Sufficiency: clamped, refusal of attacked and of plain
requests rises. Factor and value are chosen on validation prompts within a budget of broken answers; every figure is
on test prompts, with the full outcome table and the harm to capability items beside it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from demur.analysis.controls import against_controls, pooled_controls
from demur.analysis.endpoints import Endpoint, endpoints, holm_figures
from demur.analysis.tables import accuracy_figures, table_figures
from demur.attacks import unattacked
from demur.engines.base import white_box
from demur.errors import InputError, check_sizes
from demur.evaluation.evaluator import Arm, Evaluator
from demur.evaluation.held_out import held_out_sets
from demur.features.controls import Match, activity, dosed, match, matched
from demur.fitting.doses import Doses
from demur.interventions import Intervention, ablate, add, clamp_features, multiply_features
from demur.prompts.builtin import builtin_items
from demur.prompts.sets import spread
from demur.saes import SAE
from demur.types import Conversation, Direction, FeatureSet, Figure, Outcome, Site, Table

PRIMARY: tuple[tuple[str, str, Outcome], ...] = (("suppress", "harmful", "complied"), ("clamp", "attacked", "refused"))
"""The primary endpoints of a proof; their p-values are Holm-corrected."""
ADDED = 0.3
"""Relative dose at which the direction itself is added, the reference of a clamp."""


@dataclass(frozen=True)
class ProofConfig:
    """How much is measured."""

    n: int | None = 60
    """Held-out requests of each kind; None: all."""
    randoms: int = 20
    """Matched random sets (protocol: Statistics), drawn by their activity on fitting prompts."""
    items: int | None = None
    """Capability items; None: all."""

    def __post_init__(self) -> None:
        check_sizes(n=self.n, items=self.items)
        if self.randoms < 1:
            raise InputError(f"a proof needs random sets to compare with; got {self.randoms}.")


@dataclass(frozen=True)
class Smaller:
    """A subset to score beside the whole set, and the factor to suppress it by."""

    features: FeatureSet
    factor: float


@dataclass(frozen=True)
class Proof:
    """What was found."""

    table: Table
    figures: tuple[Figure, ...]
    endpoints: tuple[Endpoint, ...]


def prove(
    evaluator: Evaluator,
    features: FeatureSet,
    saes: Mapping[Site, SAE],
    direction: Direction,
    doses: Doses,
    attacks: Sequence[str],
    config: ProofConfig | None = None,
    minimal: Smaller | None = None,
) -> Proof:
    """`necessity` and `sufficiency`, on held-out requests.

    direction: the refusal direction, the reference, which is also removed from the decoder rows in the arms
    "... without direction".
    """
    one, down = necessity(evaluator, features, saes, direction, doses.factor, config, minimal)
    two, up = sufficiency(evaluator, features, saes, direction, doses.value, attacks, config, minimal)
    table = {**one, **two}
    ends = endpoints(table, PRIMARY)
    return Proof(table, tuple(dict.fromkeys([*down, *up, *holm_figures(ends)])), ends)


def necessity(
    evaluator: Evaluator,
    features: FeatureSet,
    saes: Mapping[Site, SAE],
    direction: Direction,
    factor: float,
    config: ProofConfig | None = None,
    minimal: Smaller | None = None,
) -> tuple[Table, list[Figure]]:
    """Suppressed on plain harmful requests, beside random sets, the direction ablated, and capability items."""
    config, engine, prompts = config or ProofConfig(), white_box(evaluator.engine), evaluator.prompts
    seen = activity(engine, unattacked(prompts.take("harmful", "fit")), saes)
    arms: dict[str, Intervention] = {
        "suppress": multiply_features(features, factor, saes=saes),
        "suppress without direction": multiply_features(features, factor, saes=saes, without=direction.vector),
        "ablate": ablate(direction),
    }
    if minimal is not None:
        arms["suppress minimal"] = multiply_features(minimal.features, minimal.factor, saes=saes)
    drawn = matched(features, seen, config.randoms)
    controls = {f"random suppress {i}": dosed(control, features, saes, seen, factor=factor)
                for i, control in enumerate(drawn)}  # fmt: skip
    sets = {"harmful": unattacked(prompts.take("harmful", "test", config.n))}
    table = {**evaluator.run(_arms({**arms, **controls}), sets), **_null(evaluator, sets)}
    near = [match(control, features, saes, seen, factor=factor) for control in drawn]
    figures = [
        *_nearness("random suppress", near),
        *_shown(table),
        *_against(table, "suppress", "random suppress", len(drawn), "harmful", "compliance_rate"),
    ]
    return table, figures + _capability(evaluator, arms, config.items)


def sufficiency(
    evaluator: Evaluator,
    features: FeatureSet,
    saes: Mapping[Site, SAE],
    direction: Direction,
    value: float,
    attacks: Sequence[str],
    config: ProofConfig | None = None,
    minimal: Smaller | None = None,
) -> tuple[Table, list[Figure]]:
    """Clamped on attacked, plain and borderline requests, beside random sets (on a share of the attacked ones), the
    direction added at a relative dose of ADDED, and capability items."""
    config, engine, prompts = config or ProofConfig(), white_box(evaluator.engine), evaluator.prompts
    seen = activity(engine, unattacked(prompts.take("harmful", "fit")), saes)
    arms: dict[str, Intervention] = {
        "clamp": clamp_features(features, value, saes=saes),
        "clamp without direction": clamp_features(features, value, saes=saes, without=direction.vector),
        "add": add(direction, ADDED, True),
    }
    if minimal is not None:
        arms["clamp minimal"] = clamp_features(minimal.features, value, saes=saes)
    drawn = matched(features, seen, config.randoms)
    controls = {f"random clamp {i}": dosed(control, features, saes, seen, value=value)
                for i, control in enumerate(drawn)}  # fmt: skip
    held = held_out_sets(prompts, attacks, config.n)
    sets = {name: held[name] for name in ("attacked", "plain", "borderline") if name in held}
    few = "attacked, a share"
    step = len(attacks)
    table = {
        **evaluator.run(_arms(arms), sets),
        **evaluator.run(_arms(controls)[1:], {few: sets["attacked"][::step]}),
        **_null(evaluator, {"attacked": sets["attacked"]}),
    }
    # The unsteered and the clamped answers to the share are there already.
    for arm in ("unsteered", "clamp"):
        table[arm, few] = table[arm, "attacked"][::step]
    near = [match(control, features, saes, seen, value=value) for control in drawn]
    figures = [
        *_nearness("random clamp", near),
        *_shown(table),
        *_against(table, "clamp", "random clamp", len(drawn), few, "refusal_rate"),
    ]
    return table, figures + _capability(evaluator, arms, config.items)


def _null(evaluator: Evaluator, sets: Mapping[str, Sequence[Conversation]]) -> Table:
    """The unsteered arm once more, in other batches, where batches change numbers (protocol: Numerics and keys)."""
    return {} if evaluator.engine.fingerprint.dtype == "fp32" else evaluator.run([Arm("null")], sets)


def _nearness(arm: str, near: Sequence[Match]) -> list[Figure]:
    """How near the control sets come, as means; low and high are the least and the greatest of the sets."""
    values = {"activation_ratio": [m.activation for m in near], "norm_ratio": [m.norm for m in near]}
    return [Figure(arm, "", "controls", metric, sum(v) / len(v), len(v), "random sets", min(v), max(v))
            for metric, v in values.items()]  # fmt: skip


def _shown(table: Table) -> list[Figure]:
    """Figures of every arm but the single random sets."""
    return table_figures({place: rows for place, rows in table.items() if not place[0].startswith("random")})


def _capability(evaluator: Evaluator, arms: Mapping[str, Intervention], items: int | None) -> list[Figure]:
    scored = spread(builtin_items("test"), items)
    return accuracy_figures(evaluator.score(_arms(arms), scored), [item.id for item in scored])


def _arms(steering: Mapping[str, Intervention]) -> list[Arm]:
    return [Arm("unsteered"), *(Arm(name, how) for name, how in steering.items())]


def _against(table: Table, arm: str, pooled: str, n: int, name: str, metric: str) -> list[Figure]:
    """The random sets pooled, the single one that raises the metric most, and what the arm does beyond them."""
    controls = [f"{pooled} {i}" for i in range(n)]
    found = pooled_controls(table, controls, pooled, name, worst=float, metrics=[metric])
    return found + against_controls(table, arm, controls, pooled, name, metric)
