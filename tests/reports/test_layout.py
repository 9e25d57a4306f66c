import pytest

from demur.reports import Example, layout
from demur.types import Figure


def figure(metric, versus="", value=0.5, **more):
    about = {
        "arm": "a",
        "set": "s",
        "n": 10,
        "denominator": "requests",
        "low": value,
        "high": value,
        "judge": "j",
    }
    return Figure(metric=metric, versus=versus, value=value, **{**about, **more})


def test_each_figure_goes_to_one_section():
    laid = layout.lay_out(
        [
            figure("refused"),
            figure("compliance_rate"),
            figure("refused", versus="unsteered"),
            figure("accuracy", versus="unsteered"),
            figure("accuracy"),
            figure("judge_agreement"),
        ]
    )
    assert list(laid.shares[0].rows[0].shares) == ["refused", "complied"]
    assert [panel.metric for panel in laid.differences] == ["refused", "accuracy"]
    assert [panel.metric for panel in laid.measures] == ["accuracy"]
    assert [panel.metric for panel in laid.judges] == ["judge_agreement"]


def test_what_two_judges_say_of_the_same_answers_goes_to_one_table():
    rows = [figure("judges_equal"), figure("confusion_refused_to_off-topic", value=0.3), figure("judges_kappa"),
            figure("confusion_refused_to_complied", value=0.7), figure("judges_equal", judge="k")]  # fmt: skip
    first, second = layout.lay_out(rows).agreements
    assert (first.first, first.second, second.second) == ("a", "j", "k")
    assert [one.metric for one in first.measures] == ["judges_equal", "judges_kappa"]
    assert (first.rows, first.columns) == (["refused"], ["complied", "off-topic"])
    assert (first.count("refused", "complied"), first.count("refused", "off-topic")) == (7, 3)
    assert first.count("complied", "refused") == 0
    # A pair that has no kappa leaves its place in the table empty.
    laid = layout.lay_out([*rows, figure("judges_refused", judge="k")])
    assert [one.metric for one in laid.compared] == ["judges_equal", "judges_kappa", "judges_refused"]
    assert (second.measure("judges_kappa"), second.measure("judges_equal")) == (None, rows[-1])


def test_judges_and_denominators_are_never_mixed_in_a_row():
    laid = layout.lay_out([figure("refused"), figure("complied", judge="k"), figure("partial", n=9)])
    assert [(table.judge, len(table.rows)) for table in laid.shares] == [("j", 2), ("k", 1)]


@pytest.mark.parametrize(
    "value, said", [(0.634, "63"), (0, "0"), (1, "100"), (0.004, "0.4"), (0.9951, "99.5"), (0.99, "99")]
)
def test_shares_read_as_percent(value, said):
    assert layout.percent(value) == said


@pytest.mark.parametrize(
    "metric, versus, value, said",
    [
        ("complied", "unsteered", -0.3, "\u221230.0"),
        ("complied", "", 0.3, "30.0"),
        ("perplexity", "unsteered", 0.1234, "+0.123"),
        ("perplexity", "", 9.12345, "9.123"),
    ],
)
def test_numbers_read_in_their_figures_unit(metric, versus, value, said):
    assert layout.number(figure(metric, versus), value) == said


@pytest.mark.parametrize(
    "metric, versus, value, said",
    [
        ("refusal_rate", "", 0.634, "63"),
        ("refusal_rate", "unsteered", 0.634, "+63"),
        ("refusal_rate", "unsteered", -0.004, "\u22120.4"),
        ("refusal_rate", "unsteered", -0.0, "+0"),
        ("cosine_to_refusal", "", -0.0001, "+0.00"),
        ("cosine_to_refusal", "", -0.5, "\u22120.50"),
        ("perplexity", "", 9.126, "9.13"),
    ],
)
def test_small_tables_round_to_whole_points(metric, versus, value, said):
    assert layout.short(figure(metric, versus), value) == said


def test_an_interval_of_no_width_is_said_for_a_change_and_for_nothing_else():
    assert layout.span(figure("refusal_rate", "unsteered", 0.0)) == "+0 to +0"
    assert layout.span(figure("cosine_to_refusal", value=0.2)) == ""
    assert layout.span(figure("holm_p", "unsteered", 0.2)) == ""
    assert layout.span(figure("refusal_rate", low=0.4, high=0.6), ", ") == "40, 60"


def test_rows_stand_with_their_set():
    rows = [figure("refused", set="s"), figure("refused", set="t"), figure("refused", arm="b", set="s")]
    table = layout.lay_out(rows).shares[0]
    assert {name: [row.arm for row in some] for name, some in table.sets().items()} == {"s": ["a", "b"], "t": ["a"]}


def test_the_first_example_of_each_set_leads():
    asked = [Example(str(i), [], name) for i, name in enumerate("aabca")]
    first, others = layout.leading(asked)
    assert [example.prompt for example in first] == ["0", "2", "3"]
    assert [example.prompt for example in others] == ["1", "4"]


def test_a_name_stays_on_its_line():
    assert layout.one_line("a\n  b\t\x1b[2J\u202e") == "a b \u241b[2J<U+202E>"


def test_hidden_characters_are_shown():
    assert layout.visible("a\x00\x1b\u202e\ud800\r\n\t") == "a\u2400\u241b<U+202E>\ufffd\n\t"


@pytest.mark.parametrize(
    "seconds, said", [(0.123456, "0.123 s"), (59, "59 s"), (95.2, "1 min 35 s"), (59.7, "1 min 0 s")]
)
def test_durations_are_for_people(seconds, said):
    assert layout.duration(seconds) == said
