"""Arms x sets: generate, judge and score through the journal. Every experiment stands on this.

The rows of all arms and sets are put in one deterministic order and cut into batches; a batch is the
unit of resume (protocol: Numerics and keys). Arms of one prompt stand side by side, so that the engine
can share their prompt pass.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from demur.engines.base import Engine, Request
from demur.evaluation.cached import cached, spec_of
from demur.evaluation.items import right_items
from demur.evaluation.verdicts import Beside, Progress, beside, judged
from demur.interventions import Intervention
from demur.judges.base import Judge, Resident
from demur.prompts.sets import PromptSets, builtin_sets
from demur.runs import Journal, as_asked, generation_key, source_hash
from demur.types import Conversation, Decoding, Generation, Item, Judged, Table

BATCH = 192
"""Rows handed to the engine at once, and lost at most by a kill."""
FIRST = 48
"""Rows of the first batch; each later one is twice as large up to BATCH. So there is soon something to see."""


def silent(_phase: str, _done: int, _total: int) -> None:
    """Progress that nobody watches."""


@dataclass(frozen=True)
class Arm:
    """One condition of an experiment."""

    name: str
    intervention: Intervention | None = None


@dataclass
class Evaluator:
    """An engine, a journal and a judge that work together, and what they did.

    journal=None keeps nothing.
    """

    engine: Engine
    judge: Judge
    decoding: Decoding
    journal: Journal | None = None
    progress: Progress = field(default=silent)
    prompts: PromptSets = field(default_factory=builtin_sets)
    """Whose prompts are fitted on, chosen on and scored."""
    folder: Path | None = None
    """Where fits are cached for the next time; None: nowhere."""
    run_id: str = ""
    """The journal's run that answers belong to; "" for none."""
    others: tuple[Judge, ...] = ()
    """Judges whose verdicts stand beside the judge's, and decide nothing."""

    def run(self, arms: Sequence[Arm], sets: Mapping[str, Sequence[Conversation]]) -> Table:
        """Judged answers of every arm on every set."""
        places = [(arm, name, i) for name, rows in sets.items() for i in range(len(rows)) for arm in arms]
        requests = [Request(sets[name][i], arm.intervention, arm.name, i) for arm, name, i in places]
        answers = self.answer(requests)
        verdicts = judged(self.judge, answers, self.journal, self.progress)
        table: dict[tuple[str, str], list[Judged]] = {(arm.name, name): [] for name in sets for arm in arms}
        for (arm, name, _), generation, verdict in zip(places, answers, verdicts, strict=True):
            table[arm.name, name].append(Judged(generation, verdict))
        for (arm_name, name), rows in table.items():
            self.link(arm_name, name, [row.generation for row in rows])
        return table

    def answer(self, requests: Sequence[Request]) -> list[Generation]:
        """One generation a request, in order; what the journal has is not made again."""
        return answer(self.engine, requests, self.decoding, self.journal, partial(self.progress, "generating"))

    def link(self, arm: str, name: str, answers: Sequence[Generation]) -> None:
        """Write down that these answers are the run's, of this arm on this set."""
        if self.journal is not None and self.run_id:
            self.journal.link(self.run_id, arm, name, answers)

    def beside(self, table: Table) -> list[Beside]:
        """The other judges' verdicts on judged answers."""
        if isinstance(self.judge, Resident):
            self.judge.release()
        return beside(self.others, table, self.journal, self.progress)

    def score(self, arms: Sequence[Arm], items: Sequence[Item]) -> dict[str, list[bool]]:
        """Arm -> whether each item came out right: the likeliest choice is gold (a lone one: greedy)."""
        found: dict[str, list[bool]] = {}
        self.progress("scoring arms on items", 0, len(arms))
        for index, arm in enumerate(arms):
            found[arm.name] = right_items(self.engine, items, arm.intervention, self.journal, BATCH)
            self.progress("scoring arms on items", index + 1, len(arms))
        return found


def answer(
    engine: Engine,
    requests: Sequence[Request],
    decoding: Decoding,
    journal: Journal | None,
    progress: Callable[[int, int], None] = lambda _done, _total: None,
) -> list[Generation]:
    """One generation a request, in order; what the journal has is not made again.

    progress gets (rows done, rows in all).
    """
    specs = {id(r.intervention): spec_of(r.intervention, engine.n_layers) for r in requests}
    sources = source_hash()

    def key_of(row: int, batch: str, some: Sequence[Request]) -> str:
        r = some[row]
        seeded = replace(decoding, seed=decoding.seed * 1_000_003 + r.seed) if decoding.temperature > 0 else decoding
        return generation_key(
            engine.fingerprint, r.conversation, specs[id(r.intervention)], seeded, sources, batch=batch
        )

    answers: list[Generation] = []
    progress(0, len(requests))
    for some in batches(requests):

        def make(rows: Sequence[int], keys: Sequence[str], some: Sequence[Request] = some) -> list[Generation]:
            made = engine.generate([some[i] for i in rows], decoding)
            return [replace(generation, key=key) for generation, key in zip(made, keys, strict=True)]

        found, _ = cached(
            partial(key_of, some=some),
            len(some),
            engine.fingerprint.dtype,
            journal.generations if journal is not None else _nothing,
            make,
            (lambda fresh: journal.add_generations(fresh.values())) if journal is not None else _nothing,
        )
        answers += [
            as_asked(generation, r.conversation.prompt, r.conversation.attack, r.arm)
            for generation, r in zip(found, some, strict=True)
        ]
        progress(len(answers), len(requests))
    return answers


def batches(requests: Sequence[Request]) -> list[Sequence[Request]]:
    """Requests in order, cut into batches: a function of their number alone, for a batch is the unit of resume."""
    found, start, size = [], 0, min(FIRST, BATCH)
    while start < len(requests):
        found.append(requests[start : start + size])
        start, size = start + size, min(2 * size, BATCH)
    return found


def _nothing(_: object) -> dict[str, Any]:
    """What is found where no journal is."""
    return {}
