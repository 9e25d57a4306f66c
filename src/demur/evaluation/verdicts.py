"""Verdicts through the journal: what a judge said of an answer it is not asked again."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from demur.attacks import attack
from demur.errors import InputError, unknown
from demur.judges.base import Asking, Estimate, Judge, Resident
from demur.judges.named import Judges, judges_of
from demur.judges.outcome import NAME
from demur.reports.layout import duration
from demur.runs import Journal, digest, verdict_key
from demur.types import OUTCOMES, Generation, Judged, Prompt, Table, Verdict

JUDGED = 384
"""Answers judged at once: their comparison with other requests is the faster the more they are."""
HELD = 32
"""The same of a judge that holds a model: it may take long, and what it said is kept so often."""
REQUEST = 100
"""Characters of a request, about, before any is read."""
TIMED = 8
"""Replies of a judge that asks somebody, after which it is said how long the others take."""

Progress = Callable[[str, int, int], None]
"""Called with a phase's name, rows done and rows in all."""


def judged(judge: Judge, answers: Sequence[Generation], journal: Journal | None, progress: Progress) -> list[Verdict]:
    """A judge's verdicts on answers, in order; those in the journal are not made again, fresh ones are stored as they
    are made.

    Raises InputError for fewer or more verdicts than answers, UnknownName for an outcome that is none, and whatever the
    judge raises; what it said before is kept.
    """
    spec = judge.spec()
    version = digest(spec)[:12]
    keys = [verdict_key(a.key or f"row {i}", {**spec, "prompt": a.conversation.prompt.text}) for i, a in
            enumerate(answers)]  # fmt: skip
    found = journal.verdicts(keys) if journal is not None else {}
    # Equal answers to equal texts have one verdict, the first one's: what a resumed run finds stored.
    first = {keys[i]: i for i in reversed(range(len(keys))) if keys[i] not in found}
    missing = sorted(first.values())
    for batch in _batches(judge, [answers[i] for i in missing], progress) if missing else ():
        fresh = {
            keys[missing[place]]: replace(v, judge=judge.name, detail={**v.detail, "version": version})
            for place, v in batch.items()
        }
        if journal is not None:
            journal.add_verdicts(fresh)
        found.update(fresh)
    return [found[key] for key in keys]


@dataclass(frozen=True)
class Beside:
    """What another judge says of answers that were judged already."""

    judge: Judge
    table: Table


def beside(judges: Sequence[Judge], table: Table, journal: Journal | None, progress: Progress) -> list[Beside]:
    """The table once more, by each of these judges; no two of their models are in memory at once."""
    rows = [row.generation for some in table.values() for row in some]
    found = []
    for judge in judges:
        verdicts = iter(judged(judge, rows, journal, progress))
        again = {place: [Judged(row.generation, next(verdicts)) for row in some] for place, some in table.items()}
        found.append(Beside(judge, again))
        if isinstance(judge, Resident):
            judge.release()
    return found


def _batches(judge: Judge, answers: Sequence[Generation], progress: Progress) -> Iterator[Mapping[int, Verdict]]:
    """Place -> verdict, some at a time, each as soon as it is there."""
    if isinstance(judge, Asking):
        yield from _asked(judge, answers, progress)
        return
    phase = "judging" if judge.name == NAME else f"judging, {judge.name}"
    progress(phase, 0, len(answers))
    size = HELD if isinstance(judge, Resident) else JUDGED
    for start in range(0, len(answers), size):
        some = answers[start : start + size]
        said = judge.judge(some)
        if len(said) != len(some):
            raise InputError(f"judge {judge.name} gave {len(said)} verdicts on {len(some)} answers; give one each.")
        yield {start + i: _known(verdict, judge) for i, verdict in enumerate(said)}
        progress(phase, start + len(some), len(answers))


def _asked(judge: Asking, answers: Sequence[Generation], progress: Progress) -> Iterator[Mapping[int, Verdict]]:
    """The same of a judge that asks somebody: it is said first what that takes, and after a few replies how long."""
    n, begun = len(answers), time.monotonic()
    phase = f"judging, {judge.name}: {in_words(judge.estimate(answers))}"
    progress(phase, 0, n)
    open_places = set(range(n))
    for done, (place, verdict) in enumerate(judge.each(answers), 1):
        if place not in open_places:
            raise InputError(f"judge {judge.name} gave a verdict on answer {place} of {n}, which waits for none.")
        open_places.remove(place)
        yield {place: _known(verdict, judge)}
        if done == TIMED < n:
            left = (time.monotonic() - begun) * (n - done) / done
            phase = f"judging, {judge.name}: about {duration(max(1.0, left))} for the {n - done} that are left"
        progress(phase, done, n)
    if open_places:
        raise InputError(f"judge {judge.name} gave {n - len(open_places)} verdicts on {n} answers; give one each.")


def planned_calls(judge: Judges, answers: int, new_tokens: int) -> list[str]:
    """For each judge that asks somebody, a line with what it will take at most, for so many answers of that length."""
    typical = Generation("", attack(Prompt("", REQUEST * "x", ""), "direct"), 4 * new_tokens * "x", (), 0, "end")
    found = []
    for one in judges_of(judge):
        if isinstance(one, Asking):
            found.append(f"{one.name}: up to {in_words(one.estimate([typical] * answers))}")
    return found


def in_words(estimate: Estimate) -> str:
    """`240 calls, about 110,000 tokens in and 4,800 out, $0.02`."""
    price = "" if estimate.price is None else f", about ${estimate.price:,.2f}"
    calls = f"{estimate.calls} {'call' if estimate.calls == 1 else 'calls'}"
    return f"{calls}, about {estimate.tokens_in:,} tokens in and {estimate.tokens_out:,} or more out{price}"


def _known(verdict: Verdict, judge: Judge) -> Verdict:
    if verdict.outcome not in OUTCOMES:
        raise unknown(f"outcome (judge {judge.name})", str(verdict.outcome), OUTCOMES)
    return verdict
