"""An audit's arms, answered and judged: the table, the primary endpoints, and the figures that rest on them."""

from __future__ import annotations

from demur.analysis.controls import pooled_controls
from demur.analysis.endpoints import Endpoint, endpoints, holm_figures
from demur.analysis.power import detectable
from demur.analysis.tables import accuracy_figures, table_figures
from demur.analysis.verdicts import ALPHA
from demur.evaluation.evaluator import Arm, Evaluator
from demur.evaluation.held_out import held_out_sets
from demur.experiments.audit_config import AuditConfig, Prepared
from demur.fitting.subjects import Subject, random_subjects
from demur.prompts.builtin import builtin_items
from demur.prompts.sets import spread
from demur.types import Figure, Table, arm_name


def measure(
    evaluator: Evaluator, ready: Prepared, config: AuditConfig
) -> tuple[Table, tuple[Endpoint, ...], list[Figure]]:
    """All arms on all held-out sets and items: the table, the primary endpoints, and the figures that rest on them."""
    steered = {arm_name(s.name, m): s.steer(m) for s in ready.subjects for m in s.doses(config.multipliers)}
    like = next((s.vector for s in ready.subjects if s.vector is not None), None)
    noise = {} if like is None else {arm_name(s.name, m): s.steer(m) for m in config.extremes
                                     for s in random_subjects(like, config.randoms, config.seed)}  # fmt: skip
    arms = [Arm("unsteered"), *(Arm(name, how) for name, how in {**steered, **noise}.items())]
    sets = held_out_sets(evaluator.prompts, config.attacks, config.n, config.benign)
    table = evaluator.run(arms, sets)
    items = spread(builtin_items("test"), config.items)
    tested = [arm for s in ready.subjects for arm in tested_arms(s, config)]
    right = evaluator.score([arms[0], *(Arm(name, steered[name]) for name in tested)], items)
    ends = primary_endpoints(table, ready, config)
    first = [e for e in ends if e.arm not in cleaned_arms(ready, config)] or ends
    could = detectable([table[arm, config.primary] for arm in tested], table["unsteered", config.primary],
                       config.primary, len(first), ALPHA)  # fmt: skip
    figures = [
        *table_figures({place: rows for place, rows in table.items() if place[0] not in noise}),
        *(f for m in config.extremes for name in sets for f in random_figures(table, config, m, name)),
        *accuracy_figures(right, [item.id for item in items]),
        *holm_figures(ends),
        *([could] if could is not None else []),
    ]
    return table, ends, figures


def primary_endpoints(table: Table, ready: Prepared, config: AuditConfig) -> tuple[Endpoint, ...]:
    """Complied at each subject's extreme multipliers, corrected within given and within cleaned vectors."""
    cleaned = cleaned_arms(ready, config)
    every = [arm for s in ready.subjects for arm in tested_arms(s, config)]
    families = ([arm for arm in every if arm not in cleaned], [arm for arm in every if arm in cleaned])
    return tuple(end for family in families if family
                 for end in endpoints(table, [(arm, config.primary, "complied") for arm in family]))  # fmt: skip


def tested_arms(subject: Subject, config: AuditConfig) -> list[str]:
    """The subject's arms at its extreme multipliers, which are tested."""
    return [arm_name(subject.name, m) for m in subject.doses(config.extremes)]


def cleaned_arms(ready: Prepared, config: AuditConfig) -> set[str]:
    """The tested arms of cleaned vectors."""
    return {arm for s in ready.subjects if s.name in ready.cleaned for arm in tested_arms(s, config)}


def random_figures(table: Table, config: AuditConfig, multiplier: float, name: str) -> list[Figure]:
    """Random directions at an extreme multiplier, pooled, and the one that changes compliance most."""
    arms = [arm_name(f"random {i}", multiplier) for i in range(config.randoms)]
    return pooled_controls(table, arms, arm_name("random", multiplier), name, metrics=["compliance_rate"])
