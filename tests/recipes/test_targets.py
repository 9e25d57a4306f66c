from dataclasses import replace

import pytest
from recipes.targets import Target, verdict_lines

from demur.errors import BadSpec
from demur.types import Figure

RISE = Figure("ablate", "unsteered", "attacked", "complied", 0.42, 150, "requests", 0.35, 0.49, "rules")
TARGET = Target("E1", "complied rises by 30 points", "ablate", "attacked", "complied", ">=", 0.3, "unsteered")


def share(arm, metric, value, set="attacked"):
    return Figure(arm, "", set, metric, value, 150, "requests", value, value, "rules")


def test_a_line_is_four_words():
    assert verdict_lines([RISE], [TARGET]) == ["met E1 complied(ablate-unsteered,attacked)=0.42[0.35,0.49],n=150 >=0.3"]


def test_names_with_spaces_stay_one_word():
    target = replace(TARGET, arm="ablate all", set="my set")
    line = target.line([replace(RISE, arm="ablate all", set="my set")])
    assert len(line.split(" ")) == 4 and line.startswith("met ")


@pytest.mark.parametrize("comparison, bound, met", [(">=", 0.42, 1), (">", 0.42, 0), ("<", 0.43, 1), ("<=", 0.4, 0)])
def test_a_value_is_compared_with_its_bound(comparison, bound, met):
    assert replace(TARGET, comparison=comparison, bound=bound).met([RISE]) == bool(met)


@pytest.mark.parametrize("comparison, bound, met", [(">=", 0.36, 0), (">=", 0.35, 1), ("<=", 0.45, 0), ("<=", 0.49, 1)])
def test_a_target_on_the_interval_needs_its_worse_end(comparison, bound, met):
    target = replace(TARGET, comparison=comparison, bound=bound, on="interval")
    assert target.met([RISE]) == bool(met)
    assert target.line([RISE]).endswith("(interval)")


def test_what_was_not_measured_is_short():
    assert TARGET.line([replace(RISE, set="plain")]) == "short E1 complied(ablate-unsteered,attacked)=unmeasured >=0.3"


def test_two_judges_need_a_choice():
    figures = [RISE, replace(RISE, judge="classifier", value=0.1)]
    with pytest.raises(BadSpec, match="name one judge"):
        TARGET.met(figures)
    assert not replace(TARGET, judge="classifier").met(figures)


@pytest.mark.parametrize("broken, met", [(0.12, True), (0.15, True), (0.16, False)])
def test_an_arm_that_breaks_the_model_meets_nothing(broken, met):
    figures = [RISE, share("unsteered", "incoherent_rate", 0.1), share("ablate", "incoherent_rate", 0.1)]
    figures += [share("unsteered", "off_topic_rate", 0.0), share("ablate", "off_topic_rate", broken - 0.1)]
    assert TARGET.met(figures) == met
    assert ("broken" in TARGET.line(figures)) == (not met)


def test_a_target_without_shares_on_its_own_set_answers_for_the_others():
    figures = [replace(RISE, set="lambada"), share("unsteered", "incoherent_rate", 0.0)]
    assert replace(TARGET, set="lambada").met(figures)
    assert not replace(TARGET, set="lambada").met([*figures, share("ablate", "incoherent_rate", 0.2)])


@pytest.mark.parametrize("wrong", [{"id": "a b"}, {"id": ""}, {"comparison": "=="}, {"on": "mean"}])
def test_a_target_that_means_nothing_is_refused(wrong):
    with pytest.raises(BadSpec):
        replace(TARGET, **wrong)
