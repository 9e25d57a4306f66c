"""kill -9: real processes, killed at random points, and what the next one finds."""

import os
import random
import signal
import time

import pytest
from tests.planted import Planted

from demur.evaluation import evaluator, verdicts
from demur.experiments.evaluate import EvaluateConfig, evaluate
from demur.interventions import add
from demur.prompts.builtin import builtin
from demur.runs import Journal, read_results

PROMPTS = builtin("harmful", "test")[:12]
CONFIG = EvaluateConfig(("persona",), new_tokens=24)
STEER = add(Planted().direction, 1.5, True)
BATCH = 12


class Slow(Planted):
    """Tells a pipe of each batch it begins, generated or judged, and takes its time."""

    def __init__(self, pipe: int):
        super().__init__()
        self.pipe = pipe

    def _begin(self) -> None:
        os.write(self.pipe, b".")
        time.sleep(0.01)

    def generate(self, requests, decoding):
        self._begin()
        return super().generate(requests, decoding)

    def logprobs(self, pairs, intervention=None):
        self._begin()
        return super().logprobs(pairs, intervention)


def started(out) -> tuple[int, int]:
    """A process that evaluates, and the end of the pipe that tells of its batches."""
    read, write = os.pipe()
    child = os.fork()
    if child:
        os.close(write)
        return child, read
    try:
        os.close(read)
        evaluate(Slow(write), PROMPTS, STEER, CONFIG, out)
    finally:
        os._exit(0)


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_a_run_killed_twice_and_resumed_gives_the_figures_of_one_that_was_not(tmp_path, monkeypatch, seed):
    monkeypatch.setattr(evaluator, "BATCH", BATCH)
    monkeypatch.setattr(verdicts, "JUDGED", BATCH)
    dice, whole, broken = random.Random(seed), tmp_path / "whole", tmp_path / "broken"
    undisturbed = Planted()
    evaluate(undisturbed, PROMPTS, STEER, CONFIG, whole)
    monkeypatch.setenv("DEMUR_CACHE", str(tmp_path / "cache"))  # without the calibration that the first one kept
    for batches in (dice.randint(1, 14), dice.randint(1, 12)):
        child, pipe = started(broken)
        for _ in range(batches):
            os.read(pipe, 1)
        time.sleep(dice.random() * 0.02)
        os.kill(child, signal.SIGKILL)
        assert os.WTERMSIG(os.waitpid(child, 0)[1]) == signal.SIGKILL
        os.close(pipe)
        assert not (broken / "results.json").exists()
    resumed = Planted()
    made = evaluate(resumed, PROMPTS, STEER, CONFIG, broken).generated
    assert made == resumed.answered <= undisturbed.answered
    assert read_results(broken).figures == read_results(whole).figures
    assert read_results(broken).spec == read_results(whole).spec
    with Journal(broken / "journal.sqlite", readonly=True) as journal:
        (run,) = journal.runs()
        rows = [(row.arm, row.set, row.position) for row in journal.rows(run.id) if row.generation]
        assert journal.damaged == ()
    assert len(rows) == len(set(rows)) == 2 * 2 * len(PROMPTS)
