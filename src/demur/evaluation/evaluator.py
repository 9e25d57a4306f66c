"""Arms x sets: generate, judge and score through the journal. Every experiment stands on this.

The rows of all arms and sets are put in one deterministic order and cut into batches; a batch is the
unit of resume (protocol: Numerics and keys). Arms of one prompt stand side by side, so that the engine
can share their prompt pass.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from demur.engines.base import Engine, Request
from demur.interventions import Intervention, bound
from demur.judges.outcome import OutcomeJudge
from demur.runs import Journal, as_asked, batch_salt, digest, generation_key, score_key, source_hash, verdict_key
from demur.types import Conversation, Decoding, Generation, Item, Verdict

BATCH = 192
"""Rows handed to the engine at once, and lost at most by a kill."""
JUDGED = 8 * BATCH
"""Answers judged at once: their comparison with other requests is the faster the more they are."""

Progress = Callable[[str, int, int], None]
"""Called with a phase's name, rows done and rows in all."""


def silent(_phase: str, _done: int, _total: int) -> None:
    """Progress that nobody watches."""


@dataclass(frozen=True)
class Arm:
    """One condition of an experiment."""

    name: str
    intervention: Intervention | None = None


@dataclass(frozen=True)
class Judged:
    """One answer and its verdict."""

    generation: Generation
    verdict: Verdict


Table = Mapping[tuple[str, str], Sequence[Judged]]
"""(arm, set) -> judged answers, in the order of the set."""


@dataclass
class Bench:
    """An engine, a journal and a judge that work together, and what they did.

    journal=None keeps nothing.
    """

    engine: Engine
    judge: OutcomeJudge
    decoding: Decoding
    journal: Journal | None = None
    progress: Progress = field(default=silent)
    generated: int = 0
    """Answers that the engine really made (the rest came from the journal)."""
    seconds: float = 0.0

    def run(self, arms: Sequence[Arm], sets: Mapping[str, Sequence[Conversation]], run: str = "") -> Table:
        """Judged answers of every arm on every set."""
        started = time.monotonic()
        places = [(arm, name, i) for name, rows in sets.items() for i in range(len(rows)) for arm in arms]
        requests = [Request(sets[name][i], arm.intervention, arm.name, i) for arm, name, i in places]
        answers = answer(self.engine, requests, self.decoding, self.journal, self.count)
        verdicts = self._judge(answers)
        table: dict[tuple[str, str], list[Judged]] = {(arm.name, name): [] for name in sets for arm in arms}
        for (arm, name, _), generation, verdict in zip(places, answers, verdicts, strict=True):
            table[arm.name, name].append(Judged(generation, verdict))
        if self.journal is not None and run:
            for (arm_name, name), rows in table.items():
                self.journal.link(run, arm_name, name, [row.generation for row in rows])
        self.seconds += time.monotonic() - started
        return table

    def score(self, arms: Sequence[Arm], items: Sequence[Item]) -> dict[str, list[bool]]:
        """Arm -> whether each item came out right: the likeliest choice is gold (a lone one: greedy)."""
        found: dict[str, list[bool]] = {}
        for index, arm in enumerate(arms):
            found[arm.name] = _right(self.engine, items, arm.intervention, self.journal)
            self.progress("scoring items", index + 1, len(arms))
        return found

    def count(self, done: int, total: int, made: int) -> None:
        """Count answers that were just made, and tell of the progress."""
        self.generated += made
        self.progress("generating", done, total)

    def _judge(self, answers: Sequence[Generation]) -> list[Verdict]:
        """Verdicts in order; each batch is stored as it is judged."""
        spec = self.judge.spec()
        version = digest(spec)[:12]
        keys = [verdict_key(a.key or f"row {i}", {**spec, "prompt": a.conversation.prompt.text}) for i, a in
                enumerate(answers)]  # fmt: skip
        found = self.journal.verdicts(keys) if self.journal is not None else {}
        # Equal answers to equal texts have one verdict, the first one's: what a resumed run finds stored.
        first = {keys[i]: i for i in reversed(range(len(keys))) if keys[i] not in found}
        missing = sorted(first.values())
        for start in range(0, len(missing), JUDGED):
            batch = missing[start : start + JUDGED]
            said = self.judge.judge([answers[i] for i in batch])
            fresh = {
                keys[i]: replace(v, detail={**v.detail, "version": version}) for i, v in zip(batch, said, strict=True)
            }
            if self.journal is not None:
                self.journal.add_verdicts(fresh)
            found.update(fresh)
            self.progress("judging", start + len(batch), len(missing))
        return [found[key] for key in keys]


def answer(
    engine: Engine,
    requests: Sequence[Request],
    decoding: Decoding,
    journal: Journal | None,
    progress: Callable[[int, int, int], None] = lambda _done, _total, _made: None,
) -> list[Generation]:
    """One generation a request, in order; what the journal has is not made again.

    progress gets (rows done, rows in all, rows just made).
    """
    specs = {id(r.intervention): spec_of(r.intervention, engine.n_layers) for r in requests}
    sources = source_hash()
    plain = [
        generation_key(
            engine.fingerprint,
            r.conversation,
            specs[id(r.intervention)],
            replace(decoding, seed=decoding.seed * 1_000_003 + r.seed) if decoding.temperature > 0 else decoding,
            sources,
        )
        for r in requests
    ]
    answers: list[Generation] = []
    for start in range(0, len(requests), BATCH):
        batch, keys = requests[start : start + BATCH], plain[start : start + BATCH]
        salted = engine.fingerprint.dtype != "fp32"
        if salted:
            # In bf16 the numbers depend on the batch, so a row is only itself among the same rows.
            salt = batch_salt(keys)
            keys = [
                generation_key(engine.fingerprint, r.conversation, specs[id(r.intervention)], decoding, sources,
                               batch=f"{salt}:{i}")
                for i, r in enumerate(batch)
            ]  # fmt: skip
        found = journal.generations(keys) if journal is not None else {}
        todo = [i for i, key in enumerate(keys) if key not in found]
        if salted and todo:
            todo = list(range(len(batch)))
        once = sorted({keys[i]: i for i in reversed(todo)}.values())
        made = engine.generate([batch[i] for i in once], decoding) if once else []
        fresh = [replace(generation, key=keys[i]) for i, generation in zip(once, made, strict=True)]
        if journal is not None and fresh:
            journal.add_generations(fresh)
        # What was stored stays, here as in the journal.
        found = {**{generation.key: generation for generation in fresh}, **found}
        answers += [
            as_asked(found[key], r.conversation.prompt, r.conversation.attack, r.arm)
            for key, r in zip(keys, batch, strict=True)
        ]
        progress(len(answers), len(requests), len(fresh))
    return answers


def spec_of(intervention: Intervention | None, n_layers: int) -> dict[str, object]:
    """An intervention's spec in keys, as the model runs it; none, or one without sites, is {"op": "none"}."""
    intervention = bound(intervention, n_layers)
    return {"op": "none"} if intervention is None or not intervention.sites else intervention.spec()


def _right(
    engine: Engine, items: Sequence[Item], intervention: Intervention | None, journal: Journal | None
) -> list[bool]:
    spec, sources = spec_of(intervention, engine.n_layers), source_hash()
    right: list[bool] = []
    for start in range(0, len(items), BATCH):
        batch = items[start : start + BATCH]
        keys = [score_key(engine.fingerprint, item, spec, sources) for item in batch]
        salted = engine.fingerprint.dtype != "fp32"
        if salted:
            salt = batch_salt(keys)
            keys = [score_key(engine.fingerprint, item, spec, sources, batch=f"{salt}:{i}") for i, item in
                    enumerate(batch)]  # fmt: skip
        found = journal.scores(keys) if journal is not None else {}
        todo = [i for i, key in enumerate(keys) if key not in found]
        if salted and todo:
            todo = list(range(len(batch)))
        once = sorted({keys[i]: i for i in reversed(todo)}.values())
        scored = engine.items([batch[i] for i in once], intervention) if once else []
        # A lone choice is stored as (1 or 0) for whether greedy decoding gives it.
        fresh = {
            keys[i]: [float(choices[0].greedy)] if len(choices) == 1 else [c.total for c in choices]
            for i, choices in zip(once, scored, strict=True)
        }
        if journal is not None and fresh:
            journal.add_scores(fresh)
        found = {**fresh, **found}
        right += [
            found[key][0] == 1.0 if len(item.choices) == 1 else found[key].index(max(found[key])) == item.gold
            for item, key in zip(batch, keys, strict=True)
        ]
    return right
