import io

import pytest
from rich.console import Console

from demur.cli import show
from demur.reports import Column, Overview, Row, Ruling
from demur.types import Figure

HOSTILE = "[red]x[/red] [link=https://example.org]y[/link]\x1b[31m\u202e\nfake row"
SEEN = "[red]x[/red] [link=https://example.org]y[/link]\u241b[31m<U+202E> fake row"


def figure(arm="a", name="s", metric="compliance_rate", value=0.3, versus="unsteered"):
    return Figure(arm, versus, name, metric, value, 20, "answers", value - 0.1, value + 0.1, "rules")


def printed(table, width=100, **options):
    to = io.StringIO()
    Console(file=to, width=width, **options).print(table)
    return to.getvalue()


@pytest.fixture
def wide(monkeypatch):
    """Makes the console `width` columns wide."""
    return lambda width: monkeypatch.setattr(show, "console", Console(width=width))


def overview(columns=3, word="warm"):
    cells = [Ruling("raises compliance", "bad"), *[figure(value=0.3 + i / 100) for i in range(columns)]]
    heads = [Column("verdict"), *[Column("complied", f"at {i}") for i in range(columns)]]
    return Overview("vector", heads, [Row(word, cells), Row("random", [""] * (columns + 1), control=True)], word)


def test_intervals_stand_beside_their_figures_where_they_fit(wide):
    wide(120)
    assert "raises compliance  +30 [+20, +40]  +31 [+21, +41]" in printed(show.answer_table(overview()))


@pytest.mark.parametrize("width", [100, 80])
def test_a_table_of_seven_columns_fits_a_terminal_with_every_digit(wide, width):
    wide(width)
    page = printed(show.answer_table(overview(5)), width)
    assert max(map(len, page.splitlines())) <= width and "\u2026" not in page
    for i in range(5):
        assert f"+3{i}" in page and f"[+2{i}, +4{i}]" in page


def test_nothing_in_the_first_table_is_markup_or_control():
    table = Overview(HOSTILE, [Column(HOSTILE, HOSTILE)], [Row(HOSTILE, [Ruling(HOSTILE, "good")])], HOSTILE)
    page = printed(show.answer_table(table), 500)
    assert page.count(SEEN) == 6
    assert "\x1b" not in page and "\u202e" not in page
    linked = printed(show.answer_table(table), 500, force_terminal=True)
    assert "]8;" not in linked and "\x1b[31m" not in linked


def test_nothing_in_the_long_table_is_markup_or_control():
    metrics = ("refusal_rate", "compliance_rate", *show.REST)
    figures = [figure(HOSTILE, HOSTILE, metric, 0.2, "") for metric in metrics]
    page = printed(show.outcome_table(figures, HOSTILE), 500)
    assert page.count(SEEN) == 3 and "20% [10-30]" in page
    assert "\x1b" not in page and "\u202e" not in page
