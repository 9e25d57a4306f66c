"""The outcome judge for a model, fitted on its own unsteered validation answers."""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from demur.attacks import attack
from demur.engines.base import Engine, Request
from demur.evaluation.evaluator import Bench, Progress, answer, silent
from demur.judges.coherence import fit_band, mean_nll, plain_request
from demur.judges.outcome import OutcomeJudge, rules_hash
from demur.prompts.builtin import builtin
from demur.runs import Journal, batch_salt, digest
from demur.types import Decoding, Generation, Prompt

WRAPS = ("prefix_injection", "persona", "authority")
"""Wrappers of the harmless requests whose answers widen the coherence band, in turn."""
PANEL = 28
"""At most so many requests that answers are compared with: one a topic, so 20 of the present validation prompts.

A common panel lets the engine keep their prompt passes.
"""


def panel() -> list[Prompt]:
    """A fixed panel of validation requests of all three kinds, one a topic."""
    chosen: list[Prompt] = []
    for name, share in (("plain", PANEL // 2), ("borderline", PANEL // 4), ("harmful", PANEL // 4)):
        ordered = sorted(builtin(name, "validation"), key=lambda p: hashlib.sha256(p.text.encode()).hexdigest())
        topics = {p.topic for p in chosen}
        for prompt in ordered:
            if prompt.topic not in topics and sum(p.set == name for p in chosen) < share:
                chosen.append(prompt)
                topics.add(prompt.topic)
    return chosen


def fitted_judge(
    engine: Engine,
    decoding: Decoding,
    journal: Journal | None = None,
    progress: Callable[[int, int, int], None] = lambda _done, _total, _made: None,
) -> OutcomeJudge:
    """A judge whose coherence band is that of the engine's unsteered answers to harmless validation prompts.

    Half of them stand in wrappers. Greedy answers to a bare request are the likeliest text there is (perplexity 1.3 to
    2.2 on the bundled model): a band of these alone takes any fluent answer given in a wrapper or under steering, which
    is scored after the bare request too, for babble.
    """
    prompts = [*builtin("plain", "validation"), *builtin("borderline", "validation")]
    talks = [attack(p, "plain") for p in prompts] + [attack(p, WRAPS[i % len(WRAPS)]) for i, p in enumerate(prompts)]
    answers = answer(engine, [Request(talk) for talk in talks], decoding, journal, progress)
    origin = {"prompts": "built-in plain and borderline, validation, bare and in wrappers",
              "wraps": list(WRAPS), "new_tokens": decoding.max_new_tokens}  # fmt: skip
    band = fit_band([a.text for a in answers], _likelihoods(engine, answers, journal), origin)
    return OutcomeJudge(engine, band, panel())


@contextmanager
def kept_bench(
    engine: Engine,
    decoding: Decoding,
    folder: Path,
    progress: Progress = silent,
    kind: str = "",
    spec: Mapping[str, Any] | None = None,
) -> Iterator[tuple[Bench, str]]:
    """A bench with a fitted judge, kept in `folder`'s journal; the answers that the judge is fitted on are counted too.

    With a spec it is a run of that kind, listed from the start and finished unless something is raised; its key comes
    with the bench ("" without).
    """
    started, made = time.monotonic(), 0

    def fitting(done: int, total: int, fresh: int) -> None:
        nonlocal made
        made += fresh
        progress("unsteered answers", done, total)

    with Journal(folder / "journal.sqlite") as journal:
        run = "" if spec is None else journal.start_run(spec, kind)
        judge = fitted_judge(engine, decoding, journal, fitting)
        yield Bench(engine, judge, decoding, journal, progress, made), run
        if run:
            journal.finish_run(run, time.monotonic() - started)


def _likelihoods(engine: Engine, answers: Sequence[Generation], journal: Journal | None) -> list[float]:
    """Mean negative log-likelihood of each answer after its plain request, measured once a journal.

    All or none are measured: in bf16 the numbers depend on the batch.
    """
    salt = batch_salt(a.key for a in answers)
    keys = [digest({"kind": "likelihood", "answers": salt, "row": i, "rules": rules_hash()}) for i in
            range(len(answers))]  # fmt: skip
    found = journal.scores(keys) if journal is not None else {}
    if len(found) < len(keys):
        rows = engine.logprobs([(plain_request(a), a.text) for a in answers])
        values = [mean_nll(row) for row in rows]
        # JSON has no NaN: an answer without a token has no number.
        found = {key: [v] if math.isfinite(v) else [] for key, v in zip(keys, values, strict=True)}
        if journal is not None:
            journal.add_scores(found)
    return [found[key][0] if found[key] else math.nan for key in keys]
