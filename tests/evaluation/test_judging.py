import math

import pytest
from tests.planted import Planted

from demur.engines.base import Scored
from demur.evaluation.judging import PANEL, calibrated_judge, open_evaluator, panel
from demur.judges.topic import OTHERS, other_requests
from demur.prompts.builtin import builtin
from demur.runs import Journal
from demur.types import Decoding, Prompt

DECODING = Decoding(max_new_tokens=12)
N = 2 * (len(builtin("plain", "validation")) + len(builtin("borderline", "validation")))
"""Answers the band is fitted on: each request bare and in a wrapper."""


def test_the_panel_is_fixed_one_a_topic_of_validation_requests_of_all_kinds():
    chosen = panel()
    assert chosen == panel()
    assert {p.use for p in chosen} == {"validation"}
    assert {p.set for p in chosen} == {"plain", "borderline", "harmful"}
    assert len({p.topic for p in chosen}) == len(chosen) <= PANEL


@pytest.mark.parametrize("name", ["harmful", "borderline", "plain"])
def test_the_panel_is_large_enough_for_every_request_its_own_among_them(name):
    for prompt in [*builtin(name), Prompt("mine-1", panel()[0].text.upper(), "mine")]:
        assert len(other_requests(prompt, panel())) == OTHERS


def test_the_band_is_that_of_the_unsteered_validation_answers():
    steps: list[tuple[str, int, int]] = []
    engine = Planted()
    judge = calibrated_judge(engine, DECODING, progress=lambda *at: steps.append(at))
    assert judge.band.n == N >= 50
    assert judge.band.origin["new_tokens"] == 12
    assert steps[-1] == ("scoring the judge's calibration", N, N)
    assert ("calibrating the judge", N, N) in steps and len(steps) > 6
    assert engine.answered == N


def test_with_a_journal_it_is_fitted_once_and_for_each_decoding(tmp_path):
    engine = Planted()
    with Journal(tmp_path / "j.sqlite") as journal:
        first = calibrated_judge(engine, DECODING, journal).spec()
        calls = engine.calls.copy()
        assert calibrated_judge(engine, DECODING, journal).spec() == first
        assert engine.calls == calls == {"generate": 4, "logprobs": 6}
        assert calibrated_judge(engine, Decoding(max_new_tokens=6), journal).spec() != first
        assert engine.calls == {"generate": 8, "logprobs": 12}
        assert calibrated_judge(Planted(seed=108), DECODING, journal).spec() != first


def test_what_was_scored_is_kept_when_it_stops(tmp_path):
    class Stops(Planted):
        """Is stopped in its third batch of scores."""

        def logprobs(self, pairs, intervention=None):
            if self.calls["logprobs"] == 2:
                raise KeyboardInterrupt
            return super().logprobs(pairs, intervention)

    engine = Planted()
    with Journal(tmp_path / "j.sqlite") as journal:
        with pytest.raises(KeyboardInterrupt):
            calibrated_judge(Stops(), DECODING, journal)
        calibrated_judge(engine, DECODING, journal)
    assert engine.calls == {"logprobs": 4}


def test_without_a_journal_it_comes_out_the_same(tmp_path):
    with Journal(tmp_path / "j.sqlite") as journal:
        cached = [calibrated_judge(Planted(), DECODING, journal).spec() for _ in range(2)]
    assert cached == [calibrated_judge(Planted(), DECODING).spec()] * 2


@pytest.mark.parametrize("row", [[], [math.inf]])
def test_answers_without_a_likelihood_are_left_out_and_stay_so(tmp_path, row):
    class Mute(Planted):
        """Cannot score its first answers."""

        def logprobs(self, pairs, intervention=None):
            lost = 0 if self.calls["logprobs"] else 3
            return [Scored(tuple(row), False)] * lost + super().logprobs(pairs, intervention)[lost:]

    with Journal(tmp_path / "j.sqlite") as journal:
        bands = [calibrated_judge(Mute(), DECODING, journal).band for _ in range(2)]
    assert bands[0] == bands[1]
    assert bands[0].n == N - 3


def test_an_opened_evaluator_answers_what_calibrates_its_judge_and_makes_nothing_twice(tmp_path):
    counts, phases = [], set()
    for _ in range(2):
        engine = Planted()
        with open_evaluator(engine, DECODING, tmp_path, lambda phase, *_: phases.add(phase)) as opened:
            counts.append(engine.answered)
            assert (opened.run_id, opened.folder) == ("", tmp_path)
            assert opened.prompts.name == "built-in"
    assert counts == [N, 0]
    assert phases == {"calibrating the judge", "scoring the judge's calibration"}
