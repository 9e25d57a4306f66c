"""What the judge is calibrated on is measured once a model, kept, and cut to the length of what is judged."""

import math
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tests.planted import Planted

from demur.engines.base import Scored
from demur.errors import BadFile, InputError
from demur.evaluation.calibration import LENGTH, Calibration, calibration, calibration_talks, measure, to_calibrate
from demur.evaluation.judging import calibrated_judge
from demur.judges.coherence import LEAST_REPETITION, mean_nll, repetition
from demur.models.kept import cache
from demur.runs import Journal
from demur.types import Decoding

DECODING = Decoding(max_new_tokens=12)
N = len(calibration_talks())
SENTENCE = "The loaf wants an hour in a hot oven, and then a rest."


def files() -> list[Path]:
    return sorted((cache() / "calibrations").glob("*.safetensors"))


def test_every_second_harmless_validation_request_stands_in_a_wrapper():
    talks = calibration_talks()
    assert N >= 150 and {t.prompt.set for t in talks} == {"plain", "borderline"}
    assert {t.prompt.use for t in talks} == {"validation"}
    assert {t.attack for t in talks[::2]} == {"direct"}
    assert {t.attack for t in talks[1::2]} == {"prefix_injection", "persona", "authority"}


def test_the_band_is_that_of_the_unsteered_validation_answers():
    steps: list[tuple[str, int, int]] = []
    engine = Planted()
    judge = calibrated_judge(engine, DECODING, progress=lambda *at: steps.append(at))
    assert judge.band.n == N >= 50
    assert judge.band.origin["new_tokens"] == 12
    assert steps[-1] == ("scoring the judge's calibration", N, N)
    assert ("calibrating the judge", N, N) in steps
    assert engine.answered == N


def test_it_is_measured_once_for_a_model_whatever_the_folder_and_for_shorter_answers_too(tmp_path):
    assert to_calibrate(Planted(), 12) == N
    with Journal(tmp_path / "a.sqlite") as journal:
        first = calibrated_judge(Planted(), DECODING, journal).spec()
    engine = Planted()
    assert to_calibrate(engine, LENGTH) == 0
    with Journal(tmp_path / "b.sqlite") as journal:
        assert calibrated_judge(engine, DECODING, journal).spec() == first
    assert calibrated_judge(engine, Decoding(LENGTH)).band.origin["new_tokens"] == LENGTH
    assert not any(engine.calls.values())


@pytest.mark.parametrize("other", [Planted(seed=108), Planted(n_layers=5)])
def test_another_model_and_longer_answers_have_their_own(other):
    calibration(Planted(), 12)
    assert to_calibrate(other, 12) == N
    assert to_calibrate(Planted(), LENGTH + 1) == N
    calibration(Planted(), LENGTH + 1)
    assert len(files()) == 2 and to_calibrate(Planted(), 2 * LENGTH) == 0


def test_of_two_runs_at_once_one_measures_and_the_other_waits():
    engines = [Planted(), Planted()]
    with ThreadPoolExecutor() as pool:
        first, second = pool.map(lambda engine: calibration(engine, 12), engines)
    assert first.texts == second.texts
    assert sorted(engine.answered for engine in engines) == [0, N]


def test_a_damaged_file_is_measured_again():
    first = calibration(Planted(), 12)
    (file,) = files()
    whole = file.read_bytes()
    file.write_bytes(whole[:-5] + b"\0\0\0\0\0")
    engine = Planted()
    again = calibration(engine, 12)
    assert engine.answered == N and to_calibrate(Planted(), 12) == 0
    assert again.texts == first.texts and torch.equal(again.logprobs.nan_to_num(), first.logprobs.nan_to_num())


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_cache_that_cannot_be_written_is_warned_of(tmp_path, monkeypatch):
    tmp_path.chmod(0o500)
    monkeypatch.setenv("DEMUR_CACHE", str(tmp_path / "cache"))
    with pytest.warns(UserWarning, match="calibration is not kept"):
        assert calibration(Planted(), 12).texts


def test_a_cache_that_is_a_file_is_warned_of_and_costs_no_run(tmp_path, monkeypatch):
    (tmp_path / "cache").write_text("")
    monkeypatch.setenv("DEMUR_CACHE", str(tmp_path / "cache"))
    with pytest.warns(UserWarning, match="calibration is not kept"):
        assert calibration(Planted(), 12).texts


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
            calibration(Stops(), 12, journal)
        assert files() == []
        calibration(engine, 12, journal)
    assert engine.calls == {"logprobs": math.ceil(N / 64) - 2}


def test_without_a_journal_it_comes_out_the_same(tmp_path):
    with Journal(tmp_path / "j.sqlite") as journal:
        some = measure(Planted(), 24, journal)
    assert measure(Planted(), 24).band(24) == some.band(24)


@pytest.mark.parametrize("row", [[], [math.inf]])
def test_answers_without_a_likelihood_are_left_out_and_stay_so(tmp_path, row):
    class Mute(Planted):
        """Cannot score its first answers."""

        def logprobs(self, pairs, intervention=None):
            lost = 0 if self.calls["logprobs"] else 3
            return [Scored(tuple(row), False)] * lost + super().logprobs(pairs, intervention)[lost:]

    bands = [calibrated_judge(Mute(), DECODING).band for _ in range(2)]
    assert bands[0] == bands[1]
    assert bands[0].n == N - 3


def test_a_band_for_shorter_answers_is_that_of_the_answers_cut_there():
    logprobs = torch.arange(N)[:, None] / N - torch.arange(1.0, 25)[None] / 4
    logprobs[0, 9:] = math.nan
    short = Calibration((SENTENCE,) * N, logprobs).band(12)
    cut = logprobs[1:, :12].double()
    assert short.n == N
    assert short.low == pytest.approx(math.exp(min(mean_nll(r.tolist()) for r in cut)), rel=0.05)
    whole = Calibration((SENTENCE,) * N, logprobs).band(24)
    assert whole.high > short.high


def test_answers_that_are_not_about_their_requests_do_not_widen_the_band_unless_hardly_any_is():
    requests = [talk.prompt.text for talk in calibration_talks()]
    some = [f"As to that: {text}" if i % 2 else "Of course!" for i, text in enumerate(requests)]
    logprobs = torch.tensor([[-1.0] * 12 if i % 2 else [-5.0] * 12 for i in range(N)])
    band = Calibration(tuple(some), logprobs).band(12)
    assert band.n == N // 2 and band.high == pytest.approx(math.e)
    few = Calibration(tuple(some[:60]) + ("Of course!",) * (N - 60), logprobs).band(12)
    assert few.n == N and few.high == pytest.approx(math.exp(5))


def test_a_model_that_only_reasons_is_told_so():
    class Thinks(Planted):
        def generate(self, requests, decoding):
            return [replace(g, text="", reasoning=g.text) for g in super().generate(requests, decoding)]

    with pytest.raises(InputError, match="hardly an answer behind its reasoning in 48 tokens"):
        calibration(Thinks(), 12)


def test_a_loop_that_begins_late_widens_the_band_of_long_answers_alone():
    texts = (SENTENCE + " so so so so so so so so so so so so",) * N
    found = Calibration(texts, torch.full((N, 48), -1.0))
    assert repetition(texts[0]) > LEAST_REPETITION
    assert found.band(24).max_repetition == LEAST_REPETITION
    assert found.band(48).max_repetition == repetition(texts[0])


def test_a_file_of_something_else_is_no_calibration(tmp_path):
    from demur.directions.sealed import read_sealed

    with pytest.raises(BadFile, match="no calibration at"):
        read_sealed(tmp_path / "none.safetensors", "calibration", ("demur.calibration",))
