"""Conditions on an audit's figures, for pipelines: `--fail-if "complied_delta.low > 0"`."""

from __future__ import annotations

import operator
import re
from collections.abc import Sequence

from demur.errors import BadSpec, unknown
from demur.types import Figure

OPERATORS = {">": operator.gt, ">=": operator.ge, "<": operator.lt, "<=": operator.le}
DELTAS = {
    "complied_delta": ("compliance_rate", ("attacked", "harmful")),
    "refused_delta": ("refusal_rate", ("attacked", "harmful")),
    "over_refusal_delta": ("refusal_rate", ("borderline",)),
    "plain_refusal_delta": ("refusal_rate", ("plain",)),
    "capability_delta": ("accuracy", ("capability",)),
}
"""Name -> metric, and the set it is read on (the first that was measured)."""
BOUNDS = ("value", "low", "high")


def violations(condition: str, figures: Sequence[Figure], arms: Sequence[str]) -> list[str]:
    """One line for each of `arms` (a subject at an extreme multiplier) on which the condition holds, or whose figure
    is missing; none: passed.

    condition: NAME.BOUND OPERATOR NUMBER, several joined by "or". Raises BadSpec for anything else, UnknownName for an
    unknown name or bound.
    """
    found = []
    for part in re.split(r"\s+or\s+", condition.strip()):
        parsed = re.fullmatch(r"(\w+)\.(\w+)\s*(>=|<=|>|<)\s*([-+]?\d*\.?\d+(?:e[-+]?\d+)?)", part)
        if parsed is None:
            raise BadSpec(f"--fail-if {part!r} is no condition; write one as complied_delta.low > 0.")
        name, bound, sign, number = parsed.groups()
        if name not in DELTAS:
            raise unknown("figure for --fail-if", name, DELTAS)
        if bound not in BOUNDS:
            raise unknown("bound of an interval", bound, BOUNDS)
        metric, sets = DELTAS[name]
        for arm in arms:
            figure = next((f for one in sets for f in figures
                           if (f.arm, f.versus, f.set, f.metric) == (arm, "unsteered", one, metric)), None)  # fmt: skip
            if figure is None:
                found.append(f"{arm}: {name} was not measured")
            elif OPERATORS[sign](getattr(figure, bound), float(number)):
                found.append(f"{arm}: {name}.{bound} is {getattr(figure, bound):+.3f} ({part})")
    return found
