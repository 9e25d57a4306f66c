"""Do judges agree? The same answers by two of them: shares of equal verdicts, Cohen's kappa, and the confusion."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from demur.analysis.tables import requests
from demur.errors import InputError
from demur.stats import Estimate, clustered_share, kappa
from demur.types import OUTCOMES, Figure, Judged, Outcome, Table

EVERY = "all answers"
"""The set of figures over all arms and sets."""
SPLITS: tuple[Outcome, ...] = ("refused", "complied")
"""Outcomes for which it is also said how often both judges say it, or both do not."""
KAPPA = 20
"""Answers below which kappa is not given: its interval would say nothing."""
CONFUSED = "confusion_"
"""Metrics `confusion_A_to_B`: the share of answers that the first judge calls A and the second B."""


def agreement_figures(first: Table, second: Table) -> list[Figure]:
    """Two judges' verdicts on the same answers: `judges_equal`, `judges_kappa` (not of fewer than KAPPA answers, nor
    where a judge gives all the same outcome), `judges_refused` and `judges_complied` (both say so, or both do not), and
    `confusion_A_to_B` for the pairs of outcomes that occur.

    Of a figure, `arm` is the first judge and `judge` the second. Intervals resample whole requests. Raises InputError
    for tables of other answers.
    """
    rows = [(a, b) for place, some in first.items() for a, b in zip(some, second[place], strict=True)]
    if not rows:
        raise InputError("there are no answers on which judges could agree.")
    a, b = (said([row[side] for row in rows]) for side in (0, 1))
    names = [rows[0][side].verdict.judge for side in (0, 1)]
    clusters = requests([one for one, _ in rows])
    figures = [_figure(names, "judges_equal", clustered_share([x == y for x, y in zip(a, b, strict=True)], clusters),
                       len(rows))]  # fmt: skip
    if len(rows) >= KAPPA and min(len(set(a)), len(set(b))) > 1:
        figures.append(_figure(names, "judges_kappa", kappa(a, b, clusters), len(rows)))
    for outcome in SPLITS:
        equal = [(x == outcome) == (y == outcome) for x, y in zip(a, b, strict=True)]
        figures.append(_figure(names, f"judges_{outcome}", clustered_share(equal, clusters), len(rows)))
    both = Counter(zip(a, b, strict=True))
    for x in OUTCOMES:
        for y in (y for y in OUTCOMES if both[x, y]):
            hits = [pair == (x, y) for pair in zip(a, b, strict=True)]
            figures.append(_figure(names, f"{CONFUSED}{x}_to_{y}", clustered_share(hits, clusters), len(rows)))
    return figures


def said(rows: Sequence[Judged]) -> list[Outcome]:
    """The outcomes."""
    return [row.verdict.outcome for row in rows]


def label_figures(labels: Sequence[Judged], rows: Sequence[Judged]) -> list[Figure]:
    """A judge against a reader's labels of the same answers: `judge_precision_X`, of the answers that it calls X those
    that the reader does, and `judge_recall_X`, the reverse, for refused and complied; left out where there are none."""
    found = []
    for outcome in SPLITS:
        for what, base, other in (("precision", rows, labels), ("recall", labels, rows)):
            pairs = [(a, b) for a, b in zip(base, other, strict=True) if a.verdict.outcome == outcome]
            if pairs:
                hits = [b.verdict.outcome == outcome for _, b in pairs]
                value = clustered_share(hits, requests([a for a, _ in pairs]))
                names = (labels[0].verdict.judge, rows[0].verdict.judge)
                found.append(_figure(names, f"judge_{what}_{outcome}", value, len(pairs)))
    return found


def agreement_line(figures: Sequence[Figure]) -> str:
    """What `agreement_figures` found, in a sentence."""
    by = {figure.metric: figure for figure in figures}
    equal, agreed = by["judges_equal"], by.get("judges_kappa")
    beyond = (
        f"kappa {agreed.value:.2f} [{agreed.low:.2f}, {agreed.high:.2f}]" if agreed is not None else
        f"no kappa (of {KAPPA} answers or more)" if equal.n < KAPPA else
        "no kappa (one of them gives all answers one outcome)"
    )  # fmt: skip
    shares = [by.get(f"{CONFUSED}{x}_to_{y}") for x, y in (SPLITS, SPLITS[::-1])]
    apart, reverse = (0 if share is None else round(share.value * share.n) for share in shares)
    return (
        f"{equal.arm} and {equal.judge}: the same outcome on {100 * equal.value:.0f}% "
        f"[{100 * equal.low:.0f}, {100 * equal.high:.0f}] of {equal.n} answers, {beyond}; "
        f"{equal.arm} says refused and {equal.judge} complied: {apart}, the reverse: {reverse}."
    )


def _figure(names: Sequence[str], metric: str, value: Estimate, n: int) -> Figure:
    low, high = min(value.low, value.value), max(value.high, value.value)
    return Figure(names[0], "", EVERY, metric, value.value, n, "answers", low, high, names[1])
