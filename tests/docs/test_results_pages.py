"""The tables of docs/results equal the results.json files that they come from."""

import pytest
from recipes.results_page import pages, render, tables

from demur.errors import BadFile
from demur.runs import read_results, write_results
from demur.types import Figure

FIGURES = [
    Figure("unsteered", "", "harmful", "refusal_rate", 0.85, 60, "answers", 0.74, 0.92, "rules"),
    Figure("unsteered", "", "harmful", "compliance_rate", 0.125, 60, "answers", 0.06, 0.23, "rules"),
    Figure("unsteered", "", "harmful", "incoherent_rate", 0.025, 60, "answers", 0.0, 0.1, "rules"),
    Figure("unsteered", "", "harmful", "off_topic_rate", 0.0, 60, "answers", 0.0, 0.1, "rules"),
    Figure("add", "unsteered", "harmful", "refusal_rate", 0.1, 60, "paired answers", -0.02, 0.2, "rules"),
    Figure("add", "unsteered", "validation harmful", "refusal_rate", 0.3, 60, "paired answers", 0.1, 0.4, "rules"),
    Figure("add", "", "capability", "accuracy", 0.75, 8, "items", 0.4, 0.9),
]
PAGE = "# A page\n\n<!-- results: mine -->\nold words\n<!-- end of results -->\n\nafter\n"


@pytest.fixture
def repository(tmp_path):
    spec = {"model": "tiny", "command": "demur quickstart", "commit": "abc1234"}
    written = write_results(tmp_path / "made", spec, FIGURES, 12.4)
    (tmp_path / "results").mkdir()
    written.rename(tmp_path / "results" / "mine.json")
    return tmp_path


def test_what_stands_between_the_marks_is_made_from_the_file(repository):
    page = render(PAGE, repository)
    assert page.startswith(
        "# A page\n\n<!-- results: mine -->\n`demur quickstart`, commit abc1234, model tiny, 12 s.\n"
    )
    assert page.endswith("<!-- end of results -->\n\nafter\n")
    assert "old words" not in page
    assert render(page, repository) == page


def test_outcomes_are_shares_and_points_with_their_intervals(repository):
    page = tables(read_results(repository / "results" / "mine.json"))
    assert "| harmful | unsteered | 60 | 85% [74, 92] | 12% [6, 23] | 2% |\n" in page
    assert "| harmful | add | unsteered | 60 | +10 [-2, +20] |" in page
    assert "| capability | add |  | accuracy | 0.75 [0.4, 0.9] | 8 items |\n" in page


def test_outcomes_that_nothing_had_and_validation_sets_are_left_out(repository):
    page = tables(read_results(repository / "results" / "mine.json"))
    assert "off-topic" not in page
    assert "validation" not in page


def test_a_page_without_its_file_says_so(tmp_path):
    assert "(No results/mine.json is committed yet.)" in render(PAGE, tmp_path)


def test_a_file_that_is_no_results_file_is_an_error(repository):
    (repository / "results" / "mine.json").write_text("{}")
    with pytest.raises(BadFile, match="spec, figures and seconds"):
        render(PAGE, repository)


@pytest.mark.parametrize("page", pages(), ids=lambda page: page.stem)
def test_the_page_equals_its_results_file(page):
    text = page.read_text(encoding="utf-8")
    assert render(text) == text, f"run: python -m recipes.results_page {page}"
