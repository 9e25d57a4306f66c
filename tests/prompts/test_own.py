import csv
import random
from collections import Counter
from dataclasses import replace

import pytest

from demur.errors import BadFile, InputError, UnknownName
from demur.prompts import own_sets
from demur.prompts.builtin import builtin
from demur.prompts.duplicates import first_between
from demur.prompts.own import divided
from demur.types import Prompt

ADJECTIVES = ["red", "old", "tiny", "loud", "cold", "soft", "dark", "wild", "calm", "rare"]
NOUNS = ["lantern", "barrel", "saddle", "kettle", "anchor", "ladder", "mirror", "violin", "hammer", "basket"]


def texts(n, start="steal"):
    """n requests with no two words of content in common but one."""
    return [f"{start}{i} {ADJECTIVES[i % 10]}{i // 10} {NOUNS[(3 * i) % 10]}{i}" for i in range(n)]


HARMFUL, HARMLESS = texts(40), texts(40, "paint")


def write(path, rows, columns=("prompt",)):
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([columns, *rows])
    return path


def counts(sets, kind):
    return [len(sets.take(kind, use)) for use in ("fit", "validation", "test")]


def test_lists_are_divided_by_50_20_30(tmp_path):
    sets = own_sets(HARMFUL, HARMLESS)
    assert counts(sets, "harmful") == counts(sets, "plain") == [20, 8, 12]
    assert {p.text for p in sets.prompts} == {*HARMFUL, *HARMLESS}
    assert "borderline" not in sets
    assert sets.name == "harmful: a list of 40, plain: a list of 40"
    file = write(tmp_path / "a.csv", [[text] for text in HARMFUL])
    again = own_sets(f"{file}:prompt", [Prompt(f"q{i}", text, "x") for i, text in enumerate(HARMLESS)])
    assert again.sha256 == sets.sha256 and again.name.startswith(f"harmful: {file}:prompt, plain")


def test_a_division_does_not_depend_on_the_order():
    rows = [Prompt(f"p{i}", text, "s", "harmful") for i, text in enumerate(HARMFUL)]
    rows += [Prompt(f"q{i}", text, "s", "plain") for i, text in enumerate(HARMLESS)]
    rows += [replace(row, text=f"{row.text} now") for row in rows[::3]]
    mixed = random.Random(0).sample(rows, len(rows))
    assert {p.text: p.use for p in divided(rows)} == {p.text: p.use for p in divided(mixed)}
    assert [p.text for p in divided(mixed)] == [p.text for p in mixed]


@pytest.mark.parametrize("seed", range(5))
def test_no_row_nearly_repeats_one_of_another_use_however_alike_they_are(seed):
    draw = random.Random(seed)
    words = [f"w{i}" for i in range(90)]
    some = [" ".join(draw.sample(words, 4)) for _ in range(240)]
    some += [f"{text} {draw.choice(words)}" for text in some[:60]]
    rows = [Prompt(f"p{i}", text, "s", ("harmful", "plain")[i % 2]) for i, text in enumerate(some)]  # pyright: ignore[reportArgumentType]
    done = divided(rows)
    parts = [[p.text for p in done if p.use == use] for use in ("fit", "validation", "test")]
    assert not any(first_between(parts[a], parts[b]) for a, b in ((0, 1), (0, 2), (1, 2)))
    for kind in ("harmful", "plain"):
        count = Counter(p.use for p in done if p.kind == kind)
        assert [count[use] / 150 for use in ("fit", "validation", "test")] == pytest.approx([0.5, 0.2, 0.3], abs=0.04)


def test_harmful_and_harmless_rows_that_are_alike_go_together():
    pairs = [f"{text} please" for text in HARMFUL]
    sets = own_sets(HARMFUL, pairs)
    use = {p.text: p.use for p in sets.prompts}
    assert all(use[text] == use[f"{text} please"] for text in HARMFUL)


def test_a_column_says_what_rows_are_for_and_near_duplicates_follow(tmp_path):
    rows = [[text, "test" if i < 20 else ""] for i, text in enumerate(HARMFUL)]
    rows += [[f"{HARMFUL[0]} now", ""], [f"{HARMFUL[0]} now please", ""]]
    sets = own_sets(write(tmp_path / "a.csv", rows, ("prompt", "Use")), HARMLESS)
    use = {p.text: p.use for p in sets.prompts}
    assert all(use[text] == "test" for text in (*HARMFUL[:20], f"{HARMFUL[0]} now", f"{HARMFUL[0]} now please"))
    assert counts(sets, "harmful") == [14, 6, 22]
    path = write(tmp_path / "b.csv", [["a", "train"]], ("prompt", "use"))
    with pytest.raises(BadFile, match=r"b\.csv, data row 1 .*column 'use': 'train'; a row is for fit, val"):
        own_sets(path, HARMLESS)


def test_a_file_for_the_test_leaves_the_rest_for_fitting_and_validation():
    sets = own_sets(HARMFUL[:30], HARMLESS, test_harmful=HARMFUL[30:])
    assert counts(sets, "harmful") == [21, 9, 10] and counts(sets, "plain") == [20, 8, 12]
    assert {p.text for p in sets.take("harmful", "test")} == {*HARMFUL[30:]}
    with pytest.raises(InputError, match="is reserved for fit; leave it out of the harmful test prompts"):
        own_sets(HARMFUL, HARMLESS, test_harmful=[Prompt("x", "z", "s", use="fit")])


def test_own_prompts_stand_beside_built_in_ones_of_which_every_use_is_kept():
    sets = own_sets(HARMFUL, borderline="borderline")
    for kind in ("plain", "borderline"):
        for use in ("fit", "validation", "test"):
            assert sets.take(kind, use) == builtin(kind, use)
    assert sets.name == "harmful: a list of 40, borderline: built-in, plain: built-in"
    held = builtin("plain", "test")[5]
    sets = own_sets([*HARMFUL, f"{held.text} please now"])
    assert f"{held.text} please now" in [p.text for p in sets.take("harmful", "test")]


def test_a_row_that_nearly_repeats_rows_of_two_uses_is_refused():
    a, b = Prompt("a", "one two three", "s", use="fit"), Prompt("b", "three four five", "s", use="test")
    with pytest.raises(InputError, match="joined by rows that nearly repeat both, such as 'one two three four five'"):
        own_sets([*HARMFUL, a, b, "one two three four five"], HARMLESS)


def test_declared_uses_that_leak_are_refused_with_the_pair():
    rows = [Prompt(f"p{i}", text, "s", use="fit") for i, text in enumerate(HARMFUL)]
    leak = Prompt("leak", f"{HARMFUL[3]} please", "s", use="test")
    with pytest.raises(InputError, match=rf"'{HARMFUL[3]}' \(for fit\) and '{HARMFUL[3]} please' \(for test\)"):
        own_sets([*rows, leak], HARMLESS)


@pytest.mark.parametrize(
    ("harmful", "harmless", "said"),
    [
        (HARMFUL, [*HARMLESS, HARMFUL[2].upper()], r"is both harmful \('own-harmful-3'\) and plain"),
        (HARMFUL[:12], HARMLESS, "too few harmful prompts: 6 for fit, 3 for validation, 3 for test; at least 8, 4, 4"),
        (HARMFUL, [], "too few plain prompts: 0 for fit"),
        ([*HARMFUL, " "], HARMLESS, "harmful prompt 41 is ' '"),
        ([*HARMFUL, 7], HARMLESS, "harmful prompt 41 is 7"),
        ([*HARMFUL, Prompt("x", "y", "s", use="training")], HARMLESS, "'y' is reserved for training"),
    ],
)
def test_what_cannot_be_used_is_refused(harmful, harmless, said):
    with pytest.raises(InputError, match=said):
        own_sets(harmful, harmless)


def test_another_name_is_unknown():
    with pytest.raises(UnknownName, match="no prompt set named 'mine'"):
        own_sets("mine")


def test_files_of_one_name_in_two_folders_keep_their_rows_apart(tmp_path):
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
    a = write(tmp_path / "a" / "prompts.csv", [[text] for text in HARMFUL])
    b = write(tmp_path / "b" / "prompts.csv", [[text] for text in HARMLESS])
    ids = [p.id for p in own_sets(a, b).prompts]
    assert len(set(ids)) == 80 and "harmful-prompts-1" in ids and "plain-prompts-1" in ids
