import pytest

from demur.reports.metrics import METRICS, hint, metric, signed, unit_of
from demur.types import Figure


def figure(name, versus=""):
    return Figure("a", versus, "s", name, 0.5, 10, "answers", 0.4, 0.6)


@pytest.mark.parametrize(
    "name, label",
    [
        ("compliance_rate", "complied"),
        ("complied", "complied"),
        ("detectable_change", "smallest change that would be found"),
        ("largest_compliance_rate", "complied, largest of the random arms"),
        ("sets_at_least_as_large_refusal_rate", "refused, random sets as large"),
        ("slope_on_cosine_gradient", "slope of the line through all vectors, by the refusal gradient"),
        ("judge_recall_refused", "judge finds what a reader calls refused"),
        ("confusion_off-topic_to_refused", "off-topic by the first judge, refused by the second"),
        ("made_up_yesterday", "made_up_yesterday"),
    ],
)
def test_metrics_have_words(name, label):
    assert metric(name).label == label


@pytest.mark.parametrize(
    "name, versus, unit, sign",
    [
        ("accuracy", "", "percent", False),
        ("accuracy", "unsteered", "points", True),
        ("holm_p", "unsteered", "", False),
        ("detectable_change", "unsteered", "points", False),
        ("compliance_slope", "", "points", True),
        ("cosine_to_refusal", "", "", True),
        ("log_odds", "unsteered", "nats a token", True),
        ("sets_at_least_as_large_compliance_rate", "random clamp", "sets", False),
    ],
)
def test_units_and_signs_follow_the_metric(name, versus, unit, sign):
    assert (unit_of(figure(name, versus)), signed(figure(name, versus))) == (unit, sign)


def test_a_tooltip_holds_the_raw_name_and_no_strangers_text():
    assert hint(figure("compliance_rate")).startswith("compliance_rate: Share of answers")
    for name in ("<b>", "largest_<b>", "judge_agreement_<b>", "<b>_gradient"):
        assert hint(figure(name)) == ""


def test_every_known_metric_is_explained_and_no_label_is_a_raw_name():
    for name, words in METRICS.items():
        assert words.explanation and "_" not in words.label, name
    labels = [words.label for words in METRICS.values()]
    assert len(set(labels)) == len(labels)
