import pytest
from tests.planted import Planted

from demur.evaluation.calibration import calibration_talks
from demur.evaluation.judging import PANEL, open_evaluator, panel
from demur.judges.topic import OTHERS, other_requests
from demur.prompts.builtin import builtin
from demur.types import Decoding, Prompt

DECODING = Decoding(max_new_tokens=12)


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


def test_an_opened_evaluator_answers_what_calibrates_its_judge_and_makes_nothing_twice(tmp_path):
    counts, phases = [], set()
    for _ in range(2):
        engine = Planted()
        with open_evaluator(engine, DECODING, tmp_path, lambda phase, *_: phases.add(phase)) as opened:
            counts.append(engine.answered)
            assert (opened.run_id, opened.folder) == ("", tmp_path)
            assert opened.prompts.name == "built-in"
    assert counts == [len(calibration_talks()), 0]
    assert phases == {"calibrating the judge", "scoring the judge's calibration"}
