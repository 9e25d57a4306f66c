import pytest
from hypothesis import given
from hypothesis import strategies as st

from demur.reports import Scatter
from demur.reports.layout import Panel, ShareRow
from demur.reports.plots import interval_plot, nice_ticks, scatter_plot, segments
from demur.types import OUTCOMES, Figure


def figure(metric, value, low, high, versus=""):
    return Figure("a", versus, "s", metric, value, 10, "requests", low, high)


def test_a_stacked_bar_fills_its_width_in_the_protocols_order():
    shares = {
        outcome: figure(outcome, value, 0, 1)
        for outcome, value in zip(OUTCOMES, (0.5, 0, 0.3, 0.1, 0.06, 0.04), strict=True)
    }
    parts = segments(ShareRow("a", "s", 10, "requests", shares))
    assert [part.outcome for part in parts] == ["refused", "complied", "off-topic", "incoherent", "undecided"]
    assert parts[-1].x + parts[-1].width == pytest.approx(100)
    assert [part.label for part in parts] == ["50", "30", "10", "", ""]


def test_differences_always_show_zero():
    assert interval_plot(Panel("complied", "", [figure("complied", 0.3, 0.2, 0.4, "u")])).zero == 4.0
    assert interval_plot(Panel("accuracy", "", [figure("accuracy", 0.3, 0.2, 0.4)])).zero is None


def test_shares_of_outcomes_are_drawn_on_all_of_0_to_100():
    plot = interval_plot(Panel("complied", "", [figure("complied", 0.3, 0.2, 0.4)]))
    assert (plot.ticks[0], plot.ticks[-1]) == ((4.0, "0"), (96.0, "100"))


@given(st.lists(st.tuples(*[st.floats(-1e6, 1e6)] * 3).map(sorted), min_size=1, max_size=5))
def test_marks_stay_on_the_page_in_order(rows):
    plot = interval_plot(Panel("m", "", [figure("m", value, low, high) for low, value, high in rows]))
    for mark in plot.marks:
        assert 0 <= mark.low <= mark.x <= mark.high <= 100
    assert all(0 <= x <= 100 for x, _ in plot.ticks)


def test_a_single_point_has_a_scale():
    plot = interval_plot(Panel("m", "", [figure("m", 0.0, 0.0, 0.0)]))
    assert plot.marks[0].x == 50


@pytest.mark.parametrize(
    "low, high, ticks",
    [
        (0, 1, [0, 0.2, 0.4, 0.6, 0.8, 1]),
        (-0.38, 0.79, [-0.2, 0, 0.2, 0.4, 0.6]),
        (8.8, 9.8, [8.8, 9, 9.2, 9.4, 9.6, 9.8]),
    ],
)
def test_ticks_are_round_numbers(low, high, ticks):
    assert nice_ticks(low, high) == pytest.approx(ticks)


def test_a_scatter_shows_both_zeros_its_dots_and_the_whole_line():
    drawn = scatter_plot(Scatter("t", "x", "y", [("a", 0.5, 1.0), ("b", -0.5, -1.0)], (10.0, 1.0)))
    assert drawn.zero_x == 50
    assert [x for _, x, _ in drawn.dots] == [96.0, 4.0]
    (left, low), (right, high) = drawn.line or ((0, 0), (0, 0))
    assert (left, right) == (4.0, 96.0)
    assert (low, high) == (96.0, 4.0)
    assert drawn.dots[0][2] < drawn.zero_y < drawn.dots[1][2]


def test_a_scatter_of_one_point_at_zero_has_a_scale():
    assert scatter_plot(Scatter("t", "x", "y", [("a", 0.0, 0.0)])).dots == [("a", 50.0, 50.0)]
