from dataclasses import replace
from typing import Any

import pytest

from demur.errors import InputError, UnknownName
from demur.prompts import PromptSets, builtin_sets
from demur.prompts.builtin import SETS, builtin
from demur.prompts.sets import spread
from demur.types import USES, Prompt

WORDS = "lion tiger bear wolf zebra camel horse goat sheep otter heron eagle robin finch crane stork"
USED: Any = ["fit"] * 8 + ["validation"] * 4 + ["test"] * 4


def made(kind: Any, n: int = 16) -> list[Prompt]:
    """Prompts that are alike in nothing, 8 for fitting and 4 each for validation and the test."""
    words = WORDS.split(" ")
    return [Prompt(f"{kind}{i}", f"{kind} {words[i]} {kind}{i}", "mine", kind, use=USED[i]) for i in range(n)]


ROWS = (*made("harmful"), *made("plain"))


def test_the_built_in_sets_are_the_built_in_prompts_in_their_order():
    sets = builtin_sets()
    for kind in SETS:
        for use in ("fit", "validation", "test"):
            rows = builtin(kind, use)
            assert sets.take(kind, use) == rows
            for n in (1, 7, 36, 1000):
                assert sets.take(kind, use, n) == spread(rows, n)
    assert sets.name == "built-in" and builtin_sets() is sets
    assert {p.use for p in sets.prompts} == set(USES) - {"training"}


def test_rows_are_spread_evenly_over_a_list():
    assert spread(range(10), 5) == [0, 2, 4, 6, 8]
    assert spread(range(10), 3) == [0, 3, 6]
    assert spread(range(3), None) == spread(range(3), 3) == spread(range(3), 9) == [0, 1, 2]


def test_a_kind_that_is_not_there_is_said():
    sets = PromptSets("mine", ROWS)
    assert "harmful" in sets and "borderline" not in sets and "borderline" in builtin_sets()
    with pytest.raises(InputError, match="mine: there are no borderline prompts for test"):
        sets.take("borderline", "test")
    with pytest.raises(UnknownName, match="Did you mean 'harmful'"):
        sets.take("harmfull", "test")  # pyright: ignore[reportArgumentType]
    with pytest.raises(UnknownName, match="known: fit, test, validation"):
        sets.take("harmful", "training")


def test_the_record_has_the_numbers_and_a_hash_of_what_a_run_depends_on():
    sets = PromptSets("mine", ROWS)
    counts = {"fit": 8, "validation": 4, "test": 4}
    assert sets.record() == {"name": "mine", "sha256": sets.sha256, "prompts": {"harmful": counts, "plain": counts}}
    renamed = PromptSets("other", tuple(replace(row, id=f"z{i}") for i, row in enumerate(ROWS)))
    assert renamed.sha256 == sets.sha256
    for change in ({"text": "another thing altogether"}, {"category": "c"}):
        assert PromptSets("mine", (replace(ROWS[0], **change), *ROWS[1:])).sha256 != sets.sha256
    assert PromptSets("mine", (ROWS[1], ROWS[0], *ROWS[2:])).sha256 != sets.sha256


@pytest.mark.parametrize(
    ("place", "change", "said"),
    [
        (0, {"kind": "unknown"}, "prompt 'harmful0' is unknown and for fit"),
        (0, {"use": None}, "prompt 'harmful0' is harmful and for None"),
        (0, {"use": "training"}, "for training"),
        (0, {"id": "plain3"}, "1 ids stand at two prompts, such as 'plain3'"),
        (0, {"text": ROWS[16].text.upper() + " "}, r"is both harmful \('harmful0'\) and plain \('plain0'\); drop one"),
        (0, {"text": ROWS[9].text}, "1 prompts are in both the fitting and the validation split"),
        (0, {"text": ROWS[13].text + " please"}, "the fitting prompt .* and the test prompt .* are near-duplicates"),
        (9, {"text": ROWS[30].text + " please"}, "the validation prompt .* and the test prompt .* are near-duplicates"),
        (
            0,
            {"use": "validation"},
            "too few harmful prompts: 7 for fit, 5 for validation, 4 for test; at least 8",
        ),
        (31, {"use": "validation"}, "too few plain prompts: 8 for fit, 5 for validation, 3 for test"),
    ],
)
def test_sets_that_leak_or_do_not_suffice_cannot_be_made(place, change, said):
    PromptSets("mine", ROWS)
    rows = list(ROWS)
    rows[place] = replace(rows[place], **change)
    with pytest.raises(InputError, match=said):
        PromptSets("mine", tuple(rows))


def test_borderline_prompts_are_needed_for_the_test_only_and_not_at_all():
    few = made("borderline")
    PromptSets("mine", (*ROWS, *few[12:]))
    with pytest.raises(InputError, match="too few borderline prompts: 3 for test; at least 4"):
        PromptSets("mine", (*ROWS, *few[:15]))
