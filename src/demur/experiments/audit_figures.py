"""What an audit's table says: geometry, behaviours and what cleaning changed, as figures."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from demur.analysis.geometry import bootstrap_line, dose_slope, line
from demur.analysis.mitigation import behaviour_kept, change_removed
from demur.analysis.tables import find
from demur.directions.cosines import basis_cosines, cosines
from demur.evaluation.behaviour import BehaviourScores, behaviour_figures, behaviour_scores
from demur.evaluation.evaluator import Arm, Evaluator
from demur.experiments.open_answers import open_answers, open_examples, open_figures
from demur.fitting.subjects import Subject
from demur.prompts.pairs import behaviour
from demur.reports import Example, Scatter
from demur.types import Direction, Figure, SteeringVector, Table, arm_name

MIN_CLUSTERS = 5
"""Clusters of vectors that a line through them needs: resampled, three points lie on a line more often than not."""
LINES = {"cosine_to_refusal": "", "cosine_to_gradient": "_gradient"}
"""Metrics that slopes are set against, and the end of the line's metrics' names."""


def behaviours_seen(
    evaluator: Evaluator,
    subjects: Sequence[Subject],
    behaviours: Mapping[str, str],
    multipliers: Sequence[float],
    questions: int,
) -> tuple[dict[str, dict[str, BehaviourScores]], list[Figure], list[Example]]:
    """Behaviour -> arm -> what it shows on held-out test pairs; their figures, and open answers side by side.

    behaviours: subject -> behaviour. questions: open questions for each; 0: none.
    """
    seen: dict[str, dict[str, BehaviourScores]] = {}
    figures: list[Figure] = []
    sides: list[Example] = []
    every = list(dict.fromkeys(behaviours.values()))
    for i, what in enumerate(every):
        arms = [Arm("unsteered"), *(Arm(arm_name(s.name, m), s.steer(m)) for s in subjects
                                    if behaviours.get(s.name) == what for m in s.doses(multipliers))]  # fmt: skip
        pairs, steers = behaviour(what, "test"), [arm.intervention for arm in arms]
        each = behaviour_scores(evaluator.engine, pairs, steers, evaluator.journal)
        seen[what] = dict(zip([arm.name for arm in arms], each, strict=True))
        figures += behaviour_figures(seen[what], f"behaviour {what}")
        if questions:
            read = open_answers(evaluator, what, arms, questions)
            figures += open_figures(read, f"behaviour {what}")
            sides += open_examples(read, f"behaviour {what}")
        evaluator.progress("measuring behaviours", i + 1, len(every))
    return seen, figures, sides


def mitigation_figures(
    table: Table,
    cleaned: Mapping[str, str],
    behaviours: Mapping[str, str],
    seen: Mapping[str, Mapping[str, BehaviourScores]],
    multipliers: Sequence[float],
    primary: str = "attacked",
) -> list[Figure]:
    """For each cleaned vector (cleaned name -> name): how much of the change of compliance is gone, and of the
    behaviour left. What cannot be said (a vector that changed nothing) is left out."""
    figures: list[Figure] = []
    for after, name in cleaned.items():
        figures += change_removed(table, [(name, after)], multipliers, primary, after)
        what = behaviours.get(name)
        if what is not None and behaviours.get(after) == what:
            was, now = (_effect(seen[what], one, multipliers) for one in (name, after))
            kept = behaviour_kept(was, now, after)
            figures += [kept] if kept is not None else []
    return figures


def _effect(seen: Mapping[str, BehaviourScores], name: str, multipliers: Sequence[float]) -> list[float]:
    """Of each pair, the change of its log-odds from the lowest multiplier to the highest; 0 is the unsteered arm."""
    doses = {0.0: "unsteered", **{m: arm_name(name, m) for m in multipliers}}
    low, high = (seen[doses[end]].log_odds for end in (min(doses), max(doses)))
    return [b - a for a, b in zip(low, high, strict=True)]


def geometry_figures(
    figures: Sequence[Figure],
    subjects: Sequence[Subject],
    multipliers: Sequence[float],
    direction: Direction | None,
    cleaned: Collection[str] = (),
    gradients: Sequence[SteeringVector] = (),
    behaviours: Mapping[str, str] | None = None,
    primary: str = "attacked",
) -> list[Figure]:
    """Cosine with the refusal direction, slope of compliance against the multiplier, and the line through both, which
    leaves out cleaned vectors: theirs was set.

    figures: the audit's, with the compliance rates. gradients: orthonormal directions along which refusal moves
    (`cleaning.refusal_gradients`); with them `cosine_to_gradient` with the first, `share_in_subspace` (the share of the
    vector's length that lies in their span), and the line on the former. Means over the vector's sites, low and high
    over them. Vectors of one behaviour are one cluster; a line needs MIN_CLUSTERS.
    """
    found: list[Figure] = []
    points: dict[str, dict[str, tuple[float, float]]] = {metric: {} for metric in LINES}
    for s in subjects:
        if s.vector is None:
            continue
        near = {} if direction is None else {"cosine_to_refusal": list(cosines(s.vector, direction).values())}
        if gradients:
            rows = list(basis_cosines(s.vector, gradients).values())
            near["cosine_to_gradient"] = [row[0] for row in rows]
            near["share_in_subspace"] = [sum(x**2 for x in row) ** 0.5 for row in rows]
        rates = {0.0: find(figures, "unsteered", primary, "compliance_rate").value}
        rates |= {m: find(figures, arm_name(s.name, m), primary, "compliance_rate").value for m in multipliers}
        slope = dose_slope(rates)
        means = {metric: sum(values) / len(values) for metric, values in near.items()}
        found += [Figure(s.name, "", "geometry", metric, means[metric], len(values), "sites", min(values),
                         max(values)) for metric, values in near.items()]  # fmt: skip
        n = len(rates)
        found.append(Figure(s.name, "", "geometry", "compliance_slope", slope, n, "multipliers", slope, slope))
        for metric in LINES:
            if metric in means and s.name not in cleaned:
                points[metric][s.name] = (means[metric], slope)
    for metric, some in points.items():
        groups = [(behaviours or {}).get(name, name) for name in some]
        if len(set(groups)) >= MIN_CLUSTERS and len({cosine for cosine, _ in some.values()}) >= MIN_CLUSTERS:
            x, y = zip(*some.values(), strict=True)
            found += line_figures("all vectors", x, y, groups, LINES[metric])
    return found


def line_figures(
    arm: str, cosine: Sequence[float], slope: Sequence[float], groups: Sequence[str], end: str = ""
) -> list[Figure]:
    """The line's gradient and R squared with their intervals over groups of vectors; end: of their metrics' names."""
    found = zip(("slope_on_cosine", "r_squared"), bootstrap_line(cosine, slope, groups), strict=True)
    return [Figure(arm, "", "geometry", f"{name}{end}", value, len(cosine), "vectors", low, high)
            for name, (value, low, high) in found]  # fmt: skip


def geometry_scatter(figures: Sequence[Figure], cleaned: Collection[str] = ()) -> list[Scatter]:
    """The slopes against the cosines that `geometry_figures` found, with the line where there are MIN_CLUSTERS."""
    by = {metric: {f.arm: f.value for f in figures if f.set == "geometry" and f.metric == metric}
          for metric in ("cosine_to_refusal", "compliance_slope")}  # fmt: skip
    points = [
        (arm, x, 100 * by["compliance_slope"][arm]) for arm, x in by["cosine_to_refusal"].items() if arm not in cleaned
    ]
    if not points:
        return []
    through = None
    if len({x for _, x, _ in points}) >= MIN_CLUSTERS:
        found = line([x for _, x, _ in points], [y for _, _, y in points])
        through = (found.gradient, found.intercept)
    y = "points of compliance a multiplier"
    return [Scatter("Does the cosine predict what a vector does?", "cosine with the refusal direction", y, points,
                    through)]  # fmt: skip
