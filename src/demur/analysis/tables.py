"""From judged answers to figures: shares with Wilson intervals, paired differences with a clustered bootstrap."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from demur.evaluation.evaluator import Judged, Table
from demur.judges.outcome import outcome_deltas, outcome_figures
from demur.reports.findings import Answer, Example
from demur.stats import paired_difference, wilson
from demur.types import Figure

BROKEN = ("incoherent", "off-topic", "incoherent_rate", "off_topic_rate")
"""Metrics of answers that say nothing."""


def table_figures(table: Table, baseline: str = "unsteered") -> list[Figure]:
    """Shares of every arm on every set, then each arm's paired differences from the baseline."""
    found: list[Figure] = []
    for (arm, name), rows in table.items():
        found += shares(arm, name, rows)
    for (arm, name), rows in table.items():
        if arm != baseline and (baseline, name) in table:
            found += deltas(arm, baseline, name, rows, table[baseline, name])
    return found


def shares(arm: str, name: str, rows: Sequence[Judged]) -> list[Figure]:
    """The share of every outcome; intervals know that answers to one request are not independent."""
    return outcome_figures([row.verdict for row in rows], arm, name, requests(rows))


def requests(rows: Sequence[Judged]) -> list[str]:
    """The request of each answer: what a bootstrap resamples."""
    return [row.generation.conversation.prompt.id for row in rows]


def deltas(arm: str, versus: str, name: str, rows: Sequence[Judged], against: Sequence[Judged]) -> list[Figure]:
    """Paired change of every outcome, `arm` minus `versus`, bootstrap clustered by request."""
    pair = [row.verdict for row in rows], [row.verdict for row in against]
    return outcome_deltas(*pair, requests(rows), arm, versus, name)


def accuracy_figures(
    right: Mapping[str, Sequence[bool]], clusters: Sequence[str], name: str = "capability", baseline: str = "unsteered"
) -> list[Figure]:
    """Accuracy of every arm on items, and its paired difference from the baseline."""
    found = []
    for arm, hits in right.items():
        low, high = wilson(sum(hits), len(hits))
        found.append(Figure(arm, "", name, "accuracy", sum(hits) / len(hits), len(hits), "items", low, high))
    for arm, hits in right.items():
        if arm != baseline and baseline in right:
            a, b = [float(hit) for hit in hits], [float(hit) for hit in right[baseline]]
            d = paired_difference(a, b, clusters)
            found.append(Figure(arm, baseline, name, "accuracy", d.value, len(hits), "items", d.low, d.high))
    return found


def find(figures: Sequence[Figure], arm: str, name: str, what: str, versus: str = "") -> Figure:
    """The one figure with these coordinates; KeyError when it was not measured."""
    for figure in figures:
        if (figure.arm, figure.set, figure.metric, figure.versus) == (arm, name, what, versus):
            return figure
    raise KeyError(f"no figure {what} of {arm} (versus {versus!r}) on {name}")


def excess(figures: Iterable[Figure], arm: str, set: str, baseline: str) -> float:
    """By how much the arm's incoherent + off-topic share exceeds the baseline's; 0 where unmeasured.

    On the set itself where both arms have shares there, else the largest over the sets where both do.
    """
    shares: dict[tuple[str, str], dict[str, float]] = {}
    for figure in figures:
        if not figure.versus and figure.metric in BROKEN and figure.arm in (arm, baseline):
            place = shares.setdefault((figure.set, figure.judge), {arm: 0.0, baseline: 0.0})
            place[figure.arm] += figure.value
            place[f"has {figure.arm}"] = 1.0
    more = {
        place: share[arm] - share[baseline]
        for place, share in shares.items()
        if f"has {arm}" in share and f"has {baseline}" in share
    }
    here = [value for (name, _), value in more.items() if name == set]
    return max(here or list(more.values()), default=0.0)


def in_words(figure: Figure) -> str:
    """`84% [77, 89], n=150`, or a difference in points."""
    if figure.versus:
        return f"{100 * figure.value:+.0f} points [{100 * figure.low:+.0f}, {100 * figure.high:+.0f}], n={figure.n}"
    return f"{100 * figure.value:.0f}% [{100 * figure.low:.0f}, {100 * figure.high:.0f}], n={figure.n}"


def examples(table: Table, arms: Sequence[str], sets: Sequence[str], each: int = 3) -> list[Example]:
    """The first `each` requests of each set whose arms differ in outcome, then others, side by side."""
    found = []
    for name in sets:
        columns = [table[arm, name] for arm in arms if (arm, name) in table]
        rows = list(zip(*columns, strict=True))
        rows.sort(key=lambda row: len({judged.verdict.outcome for judged in row}) == 1)
        for row in rows[:each]:
            conversation = row[0].generation.conversation
            text = "\n\n".join(f"{m.role}: {m.content}" for m in conversation.messages if m.content)
            text = text.removeprefix("user: ") if len(conversation.messages) == 1 else text
            if conversation.prefill:
                text += f"\n\nanswer begins: {conversation.prefill}"
            answers = [Answer(j.generation.arm, j.generation.text, j.verdict.outcome) for j in row]
            found.append(Example(text, answers, name, conversation.attack))
    return found
