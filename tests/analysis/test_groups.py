from dataclasses import replace

import pytest

from demur.analysis.groups import LONGEST, MOST, check_groups, group_figures, group_of, of_groups
from demur.analysis.tables import find, table_figures
from demur.errors import InputError, UnknownName
from demur.types import Conversation, Generation, Judged, Prompt, Verdict


def prompt(i: int, **columns: str) -> Prompt:
    return Prompt(f"p{i}", f"text {i}", "mine", columns=tuple(columns.items()))


PROMPTS = [prompt(i, Tone="formal" if i < 3 else "warm") for i in range(5)]


def judged(prompts, outcomes, arm):
    return [
        Judged(Generation(f"{arm}{p.id}", Conversation(p, ()), "", (1,), 1, "end", arm), Verdict("", "rules", outcome))
        for p, outcome in zip(prompts, outcomes, strict=True)
    ]


TABLE = {
    ("unsteered", "direct"): judged(PROMPTS, ["refused", "refused", "complied", "complied", "complied"], "unsteered"),
    ("steered", "direct"): judged(PROMPTS, ["refused"] * 5, "steered"),
    ("random 0", "direct"): judged(PROMPTS, ["complied"] * 5, "random 0"),
}


def test_each_group_has_its_rates_with_its_own_n():
    figures = group_figures(TABLE, "tone", leave=("random",))
    formal = find(figures, "unsteered", "direct [tone: formal]", "refusal_rate")
    warm = find(figures, "unsteered", "direct [tone: warm]", "refusal_rate")
    assert (formal.value, formal.n, warm.value, warm.n) == (2 / 3, 3, 0.0, 2)
    assert 0 < formal.low < formal.value < formal.high < 1
    change = find(figures, "steered", "direct [tone: warm]", "refusal_rate", "unsteered")
    assert (change.value, change.n) == (1.0, 2)
    assert {f.arm for f in figures} == {"unsteered", "steered"}


def test_figures_of_groups_are_told_from_those_of_sets():
    parts = group_figures(TABLE, "tone")
    assert of_groups([*table_figures(TABLE), *parts], "tone") == parts
    assert group_figures(TABLE, "") == []


def test_an_empty_cell_and_a_missing_column_are_one_group_and_a_long_cell_is_cut():
    assert [group_of(p, "tone") for p in (prompt(1, tone=" "), prompt(2, mood="x"))] == ["none", "none"]
    assert len(group_of(prompt(1, tone="x" * 500), "tone")) == LONGEST
    assert group_of(replace(prompt(1), topic="law"), "Topic") == "law"


def test_a_column_that_no_prompt_has_is_named_with_those_there_are():
    check_groups(PROMPTS, "")
    check_groups(PROMPTS, "tone")
    check_groups(PROMPTS, "kind")
    with pytest.raises(UnknownName, match=r"no column of the prompts named 'Tome'; known: Tone, .*Did you mean 'Tone'"):
        check_groups(PROMPTS, "Tome")


def test_a_column_that_tells_all_prompts_apart_is_refused():
    with pytest.raises(
        InputError, match=rf"column 'row' makes {MOST + 1} groups of {MOST + 1} prompts; .*at most {MOST}"
    ):
        check_groups([prompt(i, row=str(i)) for i in range(MOST + 1)], "row")
