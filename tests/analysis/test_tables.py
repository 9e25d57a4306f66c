from typing import Any

import pytest

from demur.analysis.tables import accuracy_figures, deltas, examples, excess, find, in_words, table_figures
from demur.evaluation.evaluator import Judged
from demur.stats import wilson
from demur.types import Conversation, Figure, Generation, Message, Prompt, Verdict


def judged(arm: str, outcomes: str, attack: str = "plain", prefill: str = "", turns: int = 1) -> list[Judged]:
    """One answer a letter: r refused, c complied."""
    found = []
    for i, letter in enumerate(outcomes):
        messages = [Message("user", f"earlier {i}"), Message("assistant", "yes")] * (turns - 1)
        talk = Conversation(Prompt(f"p{i}", f"t{i}", "s"), (*messages, Message("user", f"ask {i}")), prefill, attack)
        outcome: Any = {"r": "refused", "c": "complied"}[letter]
        generation = Generation(f"k{i}", talk, f"{arm} says {i}", (1,), 3, "end", arm)
        found.append(Judged(generation, Verdict(f"k{i}", "rules", outcome)))
    return found


TABLE = {
    ("unsteered", "harmful"): judged("unsteered", "rrrc"),
    ("ablate", "harmful"): judged("ablate", "crcc"),
    ("ablate", "alone"): judged("ablate", "cc"),
}


def test_shares_come_first_and_sum_to_one_then_differences_from_the_baseline():
    found = table_figures(TABLE)
    assert [bool(f.versus) for f in found] == [False] * 18 + [True] * 6
    for arm, name in TABLE:
        part = [f for f in found if (f.arm, f.set, f.versus) == (arm, name, "")]
        assert sum(f.value for f in part) == pytest.approx(1)
        assert {f.n for f in part} == {len(TABLE[arm, name])}
    refused = find(found, "unsteered", "harmful", "refusal_rate")
    assert (refused.value, refused.low, refused.high) == (0.75, *wilson(3, 4))
    change = find(found, "ablate", "harmful", "compliance_rate", "unsteered")
    assert (change.value, change.n, change.judge) == (0.5, 4, "rules")
    assert change.low <= 0.5 <= change.high


def test_differences_are_clustered_by_request():
    a, b = judged("add", "r" * 8 + "c" * 8), judged("unsteered", "c" * 16)
    once = deltas("add", "unsteered", "s", a, b)
    thrice = deltas("add", "unsteered", "s", a * 3, b * 3)
    assert [(f.value, f.low, f.high) for f in once] == [(f.value, f.low, f.high) for f in thrice]
    assert {f.n for f in thrice} == {48}


def test_accuracy_of_every_arm_and_its_change():
    right = {"unsteered": [True, True, False, True], "add": [True, False, False, False]}
    found = accuracy_figures(right, ["a", "b", "c", "d"])
    own, change = find(found, "add", "capability", "accuracy"), found[-1]
    assert (own.value, own.n, own.denominator) == (0.25, 4, "items")
    assert (own.low, own.high) == wilson(1, 4)
    assert (change.arm, change.versus, change.value) == ("add", "unsteered", -0.5)
    assert len(found) == 3
    assert len(accuracy_figures(right, ["a", "b", "c", "d"], baseline="other")) == 2


def test_a_figure_that_was_not_measured_is_named():
    with pytest.raises(KeyError, match=r"no figure accuracy of add \(versus ''\) on harmful"):
        find(table_figures(TABLE), "add", "harmful", "accuracy")


def test_figures_in_words():
    share = Figure("add", "", "s", "refusal_rate", 0.844, 150, "answers", 0.77, 0.891)
    change = Figure("add", "unsteered", "s", "refusal_rate", -0.316, 150, "paired answers", -0.4, 0.021)
    assert in_words(share) == "84% [77, 89], n=150"
    assert in_words(change) == "-32 points [-40, +2], n=150"


def test_examples_show_first_where_the_arms_differ():
    found = examples(TABLE, ["unsteered", "ablate"], ["harmful", "unknown"], each=3)
    assert [example.prompt for example in found] == ["ask 0", "ask 2", "ask 1"]
    assert [(a.arm, a.text, a.outcome) for a in found[0].answers] == [
        ("unsteered", "unsteered says 0", "refused"),
        ("ablate", "ablate says 0", "complied"),
    ]
    assert (found[0].set, found[0].attack) == ("harmful", "plain")


def test_examples_of_conversations_show_every_turn_and_the_prefill():
    (found,) = examples(
        {("unsteered", "s"): judged("unsteered", "c", "escalation", "Sure, here", 2)}, ["unsteered"], ["s"]
    )
    assert found.prompt == "user: earlier 0\n\nassistant: yes\n\nuser: ask 0\n\nanswer begins: Sure, here"
    assert found.attack == "escalation"


def test_the_excess_of_broken_answers_is_the_sets_own_else_the_largest():
    def share(arm: str, metric: str, value: float, name: str) -> Figure:
        return Figure(arm, "", name, metric, value, 10, "answers", value, value, "rules")

    found = [
        share("unsteered", "incoherent_rate", 0.1, "harmful"),
        share("add", "incoherent_rate", 0.15, "harmful"),
        share("add", "off_topic_rate", 0.05, "harmful"),
        share("unsteered", "incoherent_rate", 0.0, "plain"),
        share("add", "incoherent_rate", 0.3, "plain"),
    ]
    assert excess(found, "add", "harmful", "unsteered") == pytest.approx(0.1)
    assert excess(found, "add", "lambada", "unsteered") == pytest.approx(0.3)
    assert excess(found, "ablate", "harmful", "unsteered") == 0
