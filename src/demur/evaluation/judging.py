"""The outcome judge for a model, calibrated on its own unsteered validation answers, and an evaluator around it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from demur.engines.base import Engine
from demur.evaluation.calibration import calibration
from demur.evaluation.evaluator import Evaluator, Progress, silent
from demur.judges.base import Judge
from demur.judges.outcome import OutcomeJudge
from demur.prompts.builtin import builtin
from demur.prompts.sets import PromptSets, builtin_sets
from demur.runs import Journal
from demur.types import Decoding, Prompt

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


def calibrated_judge(
    engine: Engine,
    decoding: Decoding,
    journal: Journal | None = None,
    progress: Progress = silent,
) -> OutcomeJudge:
    """A judge whose coherence band is that of the engine's unsteered answers to harmless validation prompts, of the
    length that the decoding allows (`calibration`)."""
    found = calibration(engine, decoding.max_new_tokens, journal, progress)
    return OutcomeJudge(engine, found.band(decoding.max_new_tokens), panel())


@contextmanager
def open_evaluator(
    engine: Engine,
    decoding: Decoding,
    folder: Path,
    progress: Progress = silent,
    prompts: PromptSets | None = None,
    judges: Sequence[Judge | None] = (None,),
) -> Iterator[Evaluator]:
    """An evaluator on `folder`'s journal, with these judges, of which the first decides; None stands for a calibrated
    one."""
    with Journal(folder / "journal.sqlite") as journal:
        judge, *others = (
            calibrated_judge(engine, decoding, journal, progress) if one is None else one for one in judges
        )
        prompts = builtin_sets() if prompts is None else prompts
        yield Evaluator(engine, judge, decoding, journal, progress, prompts, folder, others=tuple(others))
