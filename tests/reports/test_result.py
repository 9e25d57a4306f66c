import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

import matplotlib
import pytest

from demur.errors import MissingExtra, UnknownName
from demur.reports import Column, Overview, Result, Row
from demur.reports.paper import colours
from demur.types import Figure

matplotlib.use("Agg")


@final
@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Audited(Result):
    verdicts: Mapping[str, str]


def figure(arm, name, metric, value, versus="", low=0.0, high=1.0):
    return Figure(arm, versus, name, metric, value, 20, "answers", low, high, "rules")


FIGURES = (
    figure("unsteered", "harmful", "refusal_rate", 0.9, low=0.7, high=0.97),
    figure("unsteered", "attacked", "refusal_rate", 0.4),
    figure("add", "attacked", "refusal_rate", 0.8),
    figure("add", "attacked", "refusal_rate", 0.4, "unsteered", 0.2, 0.6),
    figure("random", "attacked", "refusal_rate", 0.35),
    figure("add", "capability", "accuracy", 0.75),
)


def make(word="add", **more: Any):
    table = Overview("arm", [Column("refused", "attacked", drawn=True)], [Row(word, [FIGURES[3]])], word)
    about = {"title": word, "summary": (f"It refuses {word}.", "More."), "figures": FIGURES, "spec": {"n": 20}}
    return Audited(**{**about, "overview": table, "verdicts": {"add": "safe"}, **more})


@pytest.fixture
def axes():
    """Closes what was drawn."""
    import matplotlib.pyplot as plt

    yield lambda result, *args, **options: result.plot(*args, **options)
    plt.close("all")


def places(ax):
    return [label.get_text() for label in ax.get_yticklabels()]


def values(ax):
    return [round(float(line.get_xdata()[0]), 6) for line in ax.lines if line.get_marker() == "o"]


def test_a_final_subclass_adds_its_fields_and_stays_short():
    result = make(report=Path("out/report.html"))
    assert result.verdicts == {"add": "safe"}
    assert str(result) == "add\nIt refuses add.\nReport: out/report.html"
    assert repr(result) == "<Audited: add; It refuses add.; Report: out/report.html>"


def test_a_table_has_a_row_a_figure():
    frame = make().to_pandas()
    assert list(frame.columns)[:5] == ["arm", "versus", "set", "metric", "value"]
    assert frame["value"].tolist() == [0.9, 0.4, 0.8, 0.4, 0.35, 0.75]
    assert list(make(figures=()).to_pandas().columns) == list(frame.columns)


@pytest.mark.parametrize(
    "module, extra, use",
    [("pandas", "notebook", Result.to_pandas), ("matplotlib.pyplot", "plots", Result.plot)],
)
def test_a_missing_extra_is_named(monkeypatch, module, extra, use):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MissingExtra, match=rf"pip install 'demur\[{extra}\]'"):
        use(make())


def test_a_plot_begins_with_what_the_overview_draws(axes):
    ax = axes(make())
    assert places(ax) == ["add"] and values(ax) == [40.0]
    assert [float(x) for x in ax.lines[1].get_xdata()] == [20.0, 60.0]
    assert ax.get_xlabel() == "change of refused on attacked (points)"


@pytest.mark.parametrize("name", ["refused", "refusal_rate"])
def test_a_metric_is_drawn_by_arm_under_either_name(axes, name):
    ax = axes(make(), name, "attacked")
    assert places(ax) == ["unsteered", "add", "random"] and values(ax) == [40.0, 80.0, 35.0]
    assert ax.get_xlabel() == "refused on attacked (percent)"
    inks = [line.get_color() for line in ax.lines if line.get_marker() == "o"]
    assert inks == [colours()["soft"], colours()["refused"], colours()["soft"]]


def test_changes_and_all_sets_can_be_asked_for(axes):
    assert values(axes(make(), "refused", change=True)) == [40.0]
    assert places(axes(make(), "refused"))[0] == "unsteered, harmful"


def test_a_plot_goes_where_it_is_told(axes):
    import matplotlib.pyplot as plt

    mine = plt.subplots()[1]
    assert axes(make(), ax=mine) is mine


def test_names_that_are_not_there_are_refused_with_those_that_are(axes):
    with pytest.raises(UnknownName, match="no metric in this result named 'refsed'; known: .*Did you mean 'refused'"):
        axes(make(), "refsed")
    with pytest.raises(UnknownName, match="no set with refused in this result named 'plain'; known: attacked, harmful"):
        axes(make(), "refused", "plain")
    with pytest.raises(UnknownName, match="no metric"):
        axes(make(figures=(), overview=None))


@pytest.mark.filterwarnings("ignore:Glyph")
@pytest.mark.parametrize("word", ["$\\frac$", "a\nb\x1b[31m", "\u202etxt", "<b>", "$x$ & y"])
def test_a_name_is_a_name_in_pictures_pages_and_words(axes, word):
    figures = tuple(figure(word, word, word, 0.5, word) for _ in range(1))
    ax = axes(make(figures=figures, overview=None))
    ax.figure.canvas.draw()
    result = make(word)
    for text in (str(result), repr(result), result._repr_html_(), *places(ax)):
        assert "\x1b" not in text and "\u202e" not in text
    assert "<bdi><b>" not in result._repr_html_() and str(result).count("\n") == 1


def test_a_notebook_shows_the_overview_and_the_sentences():
    page = make()._repr_html_()
    assert "<b>+40</b><small>+20 to +60</small>" in page and '<p dir="auto">More.</p>' in page
    assert "<script" not in page and "http" not in page
    assert "<table" not in make(overview=None)._repr_html_()


def test_the_colours_are_those_of_the_page():
    assert colours()["refused"] == "#2f5d8a" and colours()["complied"] == "#bd5f20"
