"""The outcome judge for a model, calibrated on its own unsteered validation answers, and an evaluator around it."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from demur.attacks import attack
from demur.engines.base import Engine, Request
from demur.evaluation.cached import cached
from demur.evaluation.evaluator import Evaluator, Progress, answer, silent
from demur.judges.base import Judge
from demur.judges.coherence import fit_band, mean_nll, plain_request
from demur.judges.outcome import OutcomeJudge, rules_hash
from demur.prompts.builtin import builtin
from demur.prompts.sets import PromptSets, builtin_sets
from demur.runs import Journal, digest
from demur.types import Conversation, Decoding, Generation, Prompt

WRAPS = ("prefix_injection", "persona", "authority")
"""Wrappers of the harmless requests whose answers widen the coherence band, in turn."""
PANEL = 28
"""At most so many requests that answers are compared with: one a topic, so 20 of the present validation prompts.

A common panel lets the engine keep their prompt passes.
"""
SCORED = 64
"""Calibration answers scored at once: what a stopped run loses."""


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


def calibrated_judge(
    engine: Engine,
    decoding: Decoding,
    journal: Journal | None = None,
    progress: Progress = silent,
) -> OutcomeJudge:
    """A judge whose coherence band is that of the engine's unsteered answers to harmless validation prompts.

    Half of them stand in wrappers. Greedy answers to a bare request are the likeliest text there is (perplexity 1.3 to
    2.2 on the bundled model): a band of these alone takes any fluent answer given in a wrapper or under steering, which
    is scored after the bare request too, for babble.
    """
    talks = calibration_talks()
    told = partial(progress, "calibrating the judge")
    answers = answer(engine, [Request(talk) for talk in talks], decoding, journal, told)
    origin = {"prompts": "built-in plain and borderline, validation, bare and in wrappers",
              "wraps": list(WRAPS), "new_tokens": decoding.max_new_tokens}  # fmt: skip
    band = fit_band([a.text for a in answers], _likelihoods(engine, answers, journal, progress), origin)
    return OutcomeJudge(engine, band, panel())


def calibration_talks() -> list[Conversation]:
    """The harmless validation prompts that the judge is calibrated on, bare and then in wrappers."""
    prompts = [*builtin("plain", "validation"), *builtin("borderline", "validation")]
    return [attack(p, "direct") for p in prompts] + [attack(p, WRAPS[i % len(WRAPS)]) for i, p in enumerate(prompts)]


@contextmanager
def open_evaluator(
    engine: Engine,
    decoding: Decoding,
    folder: Path,
    progress: Progress = silent,
    prompts: PromptSets | None = None,
    judge: Judge | None = None,
) -> Iterator[Evaluator]:
    """An evaluator on `folder`'s journal, with the judge that is given; else with a calibrated one."""
    with Journal(folder / "journal.sqlite") as journal:
        if judge is None:
            judge = calibrated_judge(engine, decoding, journal, progress)
        prompts = builtin_sets() if prompts is None else prompts
        yield Evaluator(engine, judge, decoding, journal, progress, prompts, folder)


def _likelihoods(
    engine: Engine, answers: Sequence[Generation], journal: Journal | None, progress: Progress
) -> list[float]:
    """Mean negative log-likelihood of each answer after its direct request, measured once a journal, and kept batch by
    batch."""

    def make(rows: Sequence[int], keys: Sequence[str], some: Sequence[Generation]) -> list[list[float]]:
        pairs = [(plain_request(some[i]), some[i].text) for i in rows]
        values = [mean_nll(row.logprobs) for row in engine.logprobs(pairs)]
        # JSON has no NaN: an answer without a token has no number.
        return [[value] if math.isfinite(value) else [] for value in values]

    about = {"kind": "likelihood", "rules": rules_hash()}
    values: list[list[float]] = []
    for start in range(0, len(answers), SCORED):
        some = answers[start : start + SCORED]
        found, _ = cached(
            lambda row, batch, some=some: digest({**about, "answer": some[row].key, "batch": batch}),
            len(some),
            engine.fingerprint.dtype,
            journal.scores if journal is not None else lambda _: {},
            partial(make, some=some),
            journal.add_scores if journal is not None else lambda _: {},
        )
        values += found
        progress("scoring the judge's calibration", len(values), len(answers))
    return [value[0] if value else math.nan for value in values]
