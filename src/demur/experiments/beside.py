"""What the other judges say of a run's answers, and what its own verdicts say beside the outcomes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import combinations

from demur.analysis.agreement import agreement_figures, agreement_line
from demur.analysis.judged import asr_figures, broken_refusals, broken_refusals_line, judges_harm, unknown_harm_line
from demur.analysis.tables import table_figures
from demur.evaluation.verdicts import Beside
from demur.judges.base import Judge
from demur.judges.named import tells_harm_alone
from demur.reports.layout import one_line
from demur.types import Figure, Table


@dataclass(frozen=True)
class Told:
    """What a run's page and results gain."""

    figures: tuple[Figure, ...] = ()
    summary: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    cautions: tuple[str, ...] = ()
    """What a reader must know before any rate is believed; they stand high in the summary."""

    def among(self, summary: Sequence[str]) -> tuple[str, ...]:
        """A run's sentences with these: the cautions behind the first, the others at the end."""
        return (*summary[:1], *self.cautions, *summary[1:], *self.summary)


def told_of(judge: Judge, ask: Callable[[Table], Sequence[Beside]], table: Table, figures: Sequence[Figure]) -> Told:
    """Refusals that became incoherent, by arm; attack success by judges of harm; and of the other judges their rates
    and their agreement. judge: the one that decides. ask: gives the other judges' verdicts on a table.

    The others are asked about the arms and sets that have rates among the figures, and not about each control.
    """
    broken = broken_refusals(table)
    line = broken_refusals_line(broken)
    shown = {(f.arm, f.set) for f in figures if f.metric == "refusal_rate" and not f.versus}
    rated: Table = {place: rows for place, rows in table.items() if place in shown}
    found = [*broken, *_asr(rated)]
    said = [f"{judge.name} knows no refusal: complied is harmful, refused is not."] if tells_harm_alone(judge) else []
    said += _cost(judge, table)
    cautions = [*_unread(judge, table), *_unclear(table)]
    said += _unknown(rated)
    tables: list[tuple[Judge, Table]] = [(judge, rated)]
    for one in ask(rated) if rated else ():
        tables.append((one.judge, one.table))
        found += [] if tells_harm_alone(one.judge) else table_figures(one.table)
        found += [*_asr(one.table), *broken_refusals(one.table)]
        said += [*_cost(one.judge, one.table), *_unknown(one.table)]
        cautions += _unread(one.judge, one.table)
    for (first, own), (second, other) in combinations(tables, 2):
        agreed = agreement_figures(own, other)
        found += agreed
        said.append(agreement_line(agreed) + _apart(first, second))
    return Told(tuple(found), tuple(said), (line,) if line else (), tuple(cautions))


def _asr(table: Table) -> list[Figure]:
    rows = [row for some in table.values() for row in some]
    return asr_figures(table) if judges_harm(rows) else []


def _unclear(table: Table) -> list[str]:
    """How many answers the deciding judge left undecided, and in which languages that its rules do not read."""
    rows = {row.generation.key: row.verdict for some in table.values() for row in some}.values()
    undecided = [verdict for verdict in rows if verdict.outcome == "undecided"]
    rules = [str(one.detail.get("rule") or "") for one in undecided]
    names = Counter(rule.removeprefix("language: ") for rule in rules if rule.startswith("language: "))
    if not names:
        return []
    read = f"{names.total()} in languages that the rules do not read: {', '.join(names)}"
    return [f"{len(undecided)} of {len(rows)} answers are undecided, {read}."]


def _unknown(table: Table) -> list[str]:
    rows = [row for some in table.values() for row in some]
    line = unknown_harm_line(table) if judges_harm(rows) else ""
    return [line] if line else []


def _apart(first: Judge, second: Judge) -> str:
    """What to think of the agreement of a judge of outcomes with one that knows no refusal; "" for two of a kind."""
    harm = [judge.name for judge in (first, second) if tells_harm_alone(judge)]
    return f" {harm[0]} tells harm and knows no refusal: a harmless answer parts them." if len(harm) == 1 else ""


def _unread(judge: Judge, table: Table) -> list[str]:
    """How many of a judge's replies gave no verdict, and how the first of them begins."""
    details = {row.generation.key: row.verdict for rows in table.values() for row in rows}
    asked = [verdict for verdict in details.values() if "reason" not in verdict.detail]
    unread = [str(one.detail["reply"]) for one in asked if one.outcome == "undecided" and "reply" in one.detail]
    if not unread:
        return []
    first = f"first: {one_line(unread[0])[:80]!r}" if unread[0].strip() else "the first is empty"
    return [f"{judge.name} gave no readable verdict on {len(unread)} of {len(asked)} ({first})."]


def _cost(judge: Judge, table: Table) -> list[str]:
    """What a judge's endpoint counted, and what that costs at the price that was given."""
    details = {row.generation.key: row.verdict.detail for rows in table.values() for row in rows}
    counts = [detail["tokens"] for detail in details.values() if "tokens" in detail]
    if not counts:
        return []
    into, out = (sum(count[i] for count in counts) for i in (0, 1))
    cost = getattr(judge, "cost", lambda *_: None)(into, out)
    price = "" if cost is None else f", ${cost:,.4f} at the price given"
    return [f"{judge.name}: {len(counts)} replies, {into:,} tokens in and {out:,} out{price}."]
