"""Agreement of two judges, against numbers worked out by hand."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.hashed import rows

from demur.analysis.agreement import EVERY, agreement_figures, agreement_line, label_figures
from demur.errors import InputError
from demur.types import Figure, Judged, Table


def by(judge: str, some: list[Judged]) -> list[Judged]:
    return [replace(row, verdict=replace(row.verdict, judge=judge)) for row in some]


def tables(a: str, b: str, each: int = 1) -> tuple[Table, Table]:
    place = ("unsteered", "harmful")
    return {place: by("one", rows(a, each))}, {place: by("two", rows(b, each))}


def named(figures: list[Figure]) -> dict[str, Figure]:
    return {figure.metric: figure for figure in figures}


def test_shares_kappa_and_confusion_are_those_of_the_table():
    # r/r 4, r/c 1, c/c 3, c/r 1, ./c 1
    found = named(agreement_figures(*tables(2 * "rrrrrcccc.", 2 * "rrrrccccrc")))
    assert {f.arm for f in found.values()} == {"one"} and {f.judge for f in found.values()} == {"two"}
    assert {(f.set, f.n, f.versus, f.denominator) for f in found.values()} == {(EVERY, 20, "", "answers")}
    assert found["judges_equal"].value == pytest.approx(0.7)
    chance = 0.5 * 0.5 + 0.4 * 0.5
    assert found["judges_kappa"].value == pytest.approx((0.7 - chance) / (1 - chance))
    assert found["judges_refused"].value == pytest.approx(0.8)
    assert found["judges_complied"].value == pytest.approx(0.7)
    cells = {name: figure.value for name, figure in found.items() if name.startswith("confusion_")}
    assert cells == {
        "confusion_refused_to_refused": 0.4,
        "confusion_refused_to_complied": 0.1,
        "confusion_complied_to_refused": 0.1,
        "confusion_complied_to_complied": 0.3,
        "confusion_incoherent_to_complied": 0.1,
    }
    assert sum(cells.values()) == pytest.approx(1)
    assert all(f.low <= f.value <= f.high for f in found.values())


def test_intervals_are_wider_where_several_answers_are_to_one_request():
    one, many = (named(agreement_figures(*tables(("r" * 8 + "c" * 8) * 2, "r" * 32, each)))["judges_equal"]
                 for each in (1, 8))  # fmt: skip
    assert one.value == many.value
    assert many.high - many.low > one.high - one.low


def test_all_arms_and_sets_count():
    first = {("a", "s"): by("one", rows("rr")), ("b", "t"): by("one", rows("cc"))}
    second = {("a", "s"): by("two", rows("rr")), ("b", "t"): by("two", rows("rr"))}
    found = named(agreement_figures(first, second))["judges_equal"]
    assert (found.value, found.n) == (0.5, 4)


@given(st.lists(st.tuples(st.sampled_from("rc.po"), st.sampled_from("rc.po")), min_size=1, max_size=24))
def test_any_two_judges_have_figures_that_make_sense(pairs):
    found = named(agreement_figures(*tables("".join(a for a, _ in pairs), "".join(b for _, b in pairs))))
    assert "judges_kappa" not in found or -1 <= found["judges_kappa"].value <= 1
    assert all(f.low <= f.value <= f.high for f in found.values())
    cells = [f.value for name, f in found.items() if name.startswith("confusion_")]
    assert sum(cells) == pytest.approx(1)


@pytest.mark.parametrize(
    ("a", "b", "why"),
    [
        ("rc" * 9 + "r", "rc" * 9 + "r", "no kappa (of 20 answers or more)"),
        ("r" * 20, "rc" * 10, "no kappa (one of them gives all answers one outcome)"),
        ("rc" * 10, "r" * 20, "no kappa (one of them gives all answers one outcome)"),
    ],
)
def test_kappa_is_not_given_where_it_would_say_nothing(a, b, why):
    figures = agreement_figures(*tables(a, b))
    assert "judges_kappa" not in named(figures) and why in agreement_line(figures)


def test_it_is_said_in_a_sentence():
    said = agreement_line(agreement_figures(*tables("rrrrrccccc", "rrrrcccccr")))
    assert said.startswith("one and two: the same outcome on 80% [")
    assert said.endswith("; one says refused and two complied: 1, the reverse: 1.")


def test_without_answers_there_is_no_agreement():
    with pytest.raises(InputError, match="no answers on which judges could agree"):
        agreement_figures({}, {})


def test_against_labels_it_is_said_how_often_the_judge_is_right_and_what_it_finds():
    labels, said = (by(name, rows(letters)) for name, letters in (("labels", "rrrrcccc"), ("judge", "rrcccc.r")))
    found = named(label_figures(labels, said))
    assert {name: (f.value, f.n) for name, f in found.items()} == {
        "judge_precision_refused": (pytest.approx(2 / 3), 3),
        "judge_recall_refused": (0.5, 4),
        "judge_precision_complied": (0.5, 4),
        "judge_recall_complied": (0.5, 4),
    }
    assert named(label_figures(by("labels", rows("pp")), by("judge", rows("cp")))).keys() == {
        "judge_precision_complied"
    }
