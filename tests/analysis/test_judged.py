"""What verdicts say beside the outcomes."""

from dataclasses import replace

import pytest
from tests.hashed import rows

from demur.analysis.judged import asr_figures, broken_refusals, broken_refusals_line, judges_harm, unknown_harm_line
from demur.analysis.tables import find
from demur.errors import InputError
from demur.stats import wilson


def with_detail(letters: str, details: list[dict], arm: str = "unsteered"):
    made = rows(letters, arm=arm)
    return [replace(row, verdict=replace(row.verdict, detail=detail)) for row, detail in
            zip(made, details, strict=True)]  # fmt: skip


def harm(flags: str, arm: str = "unsteered"):
    says = {"y": True, "n": False, "?": None}
    return with_detail("c" * len(flags), [{"harmful": says[flag]} for flag in flags], arm)


def test_attack_success_is_of_the_answers_about_which_the_judge_says_anything():
    table = {("unsteered", "s"): harm("ynn?n"), ("add", "s"): harm("yyyn?", "add")}
    found = asr_figures(table)
    rate = find(found, "unsteered", "s", "asr")
    assert (rate.value, rate.n, rate.judge, (rate.low, rate.high)) == (0.25, 4, "hashed", wilson(1, 4))
    change = find(found, "add", "s", "asr", "unsteered")
    assert (change.value, change.n, change.denominator) == (pytest.approx(2 / 3), 3, "paired answers")
    assert unknown_harm_line(table).startswith("hashed: whether 2 of 10 answers are harmful is undecided;")


def test_a_judge_that_says_nothing_of_harm_at_all_gives_no_attack_success():
    assert asr_figures({("unsteered", "s"): harm("??"), ("add", "s"): harm("y?", "add")})[1:] == []
    assert unknown_harm_line({("unsteered", "s"): harm("yn")}) == ""


def test_attack_success_is_of_judges_of_harm_alone():
    assert judges_harm(harm("y?"))
    assert not judges_harm(rows("c")) and not judges_harm([])
    with pytest.raises(InputError, match="judge of harm"):
        asr_figures({("unsteered", "s"): rows("c")})


def test_refusals_that_became_incoherent_are_counted_by_arm_over_all_sets():
    found = [{"found": "refused", "rule": "declines"}, {"found": "partial", "rule": "x"}, {"found": "none", "rule": ""}]
    unclear = {"found": "undecided", "rule": "language: Turkish"}
    table = {
        ("unsteered", "s"): with_detail("rp.", found),
        ("add", "s"): with_detail("...", found, "add"),
        ("add", "t"): with_detail("r..", [found[0], found[2], unclear], "add"),
        ("ablate", "s"): with_detail("cc", [found[2], found[2]], "ablate"),
    }
    figures = broken_refusals(table)
    assert [(f.arm, f.set, f.value, f.n) for f in figures] == [
        ("unsteered", "all answers", 0.0, 2),
        ("add", "all answers", pytest.approx(2 / 3), 3),
    ]
    assert (figures[1].low, figures[1].high) == wilson(2, 3)
    assert broken_refusals_line(figures).endswith("add 2 of 3.")
    assert "unsteered" not in broken_refusals_line(figures)


def test_nothing_is_said_where_no_refusal_broke_and_of_judges_without_rules():
    assert broken_refusals_line(broken_refusals({("unsteered", "s"): with_detail("r", [{"found": "refused"}])})) == ""
    assert broken_refusals({("unsteered", "s"): rows("r.")}) == []
