import json

import pytest

from demur.errors import BadFile, InputError, UnknownName
from demur.prompts.duplicates import near
from demur.prompts.pairs import BUILTIN, CAA, HELD_OUT, Pair, balanced, behaviour, caa_pairs, read_pairs

ROW = {"question": "Tea now?\n\nChoices:\n (A) Yes, now\n (B) Later", "answer_matching_behavior": " (B)",
       "answer_not_matching_behavior": "(A)"}  # fmt: skip


def write(path, rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(rows))
    return path


@pytest.mark.parametrize("name", CAA)
def test_every_published_behaviour_is_read_from_the_folder(data, name):
    if not (data / "caa").is_dir():
        pytest.skip("the folder has no caa")
    fit, validation, test = (behaviour(f"caa:{name}", use) for use in ("fit", "validation", "test"))
    assert (len(fit) + len(validation), len(validation), len(test)) == (len(caa_pairs(name)), HELD_OUT, 50)
    assert len(fit) >= 250
    assert all(pair.matching and pair.other and "\n (A)" not in pair.question for pair in (*fit, *test))


@pytest.mark.parametrize("name", BUILTIN)
def test_built_in_behaviours_keep_their_topics_apart_and_their_sides_alike(name):
    uses = {use: behaviour(name, use) for use in ("fit", "validation", "test")}
    assert [len(part) for part in uses.values()] == [60, 12, 24]
    topics = [{pair.topic for pair in part} for part in uses.values()]
    assert not topics[0] & topics[1] and not topics[0] & topics[2] and not topics[1] & topics[2]
    pairs = [pair for part in uses.values() for pair in part]
    assert len({pair.question for pair in pairs}) == len({pair.id for pair in pairs}) == 96
    words = [
        sum(len(text.split()) for text in side) for side in ([p.matching for p in pairs], [p.other for p in pairs])
    ]
    assert 0.9 < words[0] / words[1] < 1.1
    assert len(balanced(uses["fit"])) == 60


@pytest.mark.parametrize("name", BUILTIN)
def test_no_question_for_fitting_is_nearly_one_for_the_test(name):
    held = [pair.question for use in ("validation", "test") for pair in behaviour(name, use)]
    assert not near(held, [pair.question for pair in behaviour(name, "fit")])


def test_a_pair_holds_the_answers_in_full_and_its_letters(tmp_path):
    (pair,) = read_pairs(write(tmp_path / "tea.json", [ROW]))
    assert pair == Pair("tea-0", "Tea now?", "Later", "Yes, now", "B", "A", ROW["question"])
    assert pair.lettered == ROW["question"]


def test_answers_in_full_text_get_letters_in_turn(tmp_path):
    row = {"question": "Tea?", "answer_matching_behavior": "Yes, please.", "answer_not_matching_behavior": "No."}
    one, two = read_pairs(write(tmp_path / "tea.json", [row, row]))
    assert one.lettered == "Tea?\n\nChoices:\n (A) Yes, please.\n (B) No."
    assert two.lettered == "Tea?\n\nChoices:\n (A) No.\n (B) Yes, please."
    assert balanced([one, two]) == [one, two]
    with pytest.raises(InputError, match="one letter"):
        balanced([one, one])


def test_a_file_without_uses_is_cut_and_one_with_uses_says_so(tmp_path):
    path = write(tmp_path / "p.json", [{**ROW, "question": f"{i} {ROW['question']}"} for i in range(200)])
    parts = [behaviour(str(path), use) for use in ("fit", "validation", "test")]
    assert [len(part) for part in parts] == [120, 40, 40]
    assert len({pair.id for part in parts for pair in part}) == 200
    assert [{pair.use for pair in part} for part in parts] == [{"fit"}, {"validation"}, {"test"}]
    path = write(
        tmp_path / "u.json",
        [{**ROW, "use": "fit"}, {**ROW, "question": ROW["question"].replace("Tea", "A walk, a swim"), "use": "test"}],
    )
    assert [len(behaviour(str(path), use)) for use in ("fit", "validation", "test")] == [1, 0, 1]
    with pytest.raises(InputError, match="3 pairs"):
        behaviour(str(write(tmp_path / "few.json", [ROW] * 3)), "fit")


def test_a_file_whose_uses_leak_is_refused_with_the_pair(tmp_path):
    again = {**ROW, "question": ROW["question"].replace("now", "right now")}
    path = write(tmp_path / "u.json", [{**ROW, "use": "fit"}, {**again, "use": "validation"}])
    with pytest.raises(InputError, match=r"fitting prompt 'Tea now\?' and the validation prompt 'Tea right now\?'"):
        behaviour(str(path), "fit")
    rows = [{**ROW, "question": f"Word{i} {ROW['question']}"} for i in range(159)]
    path = write(tmp_path / "p.json", [*rows, rows[0]])
    with pytest.raises(InputError, match="1 prompts are in both the fitting and the validation split"):
        behaviour(str(path), "test")


@pytest.mark.parametrize(("change", "said"), [
    ({"answer_matching_behavior": "(C)"}, r"the answer \(C\) is not among the choices \(A, B\)"),
    ({"answer_matching_behavior": "(A)"}, r"both answers are \(A\)"),
    ({"use": "train"}, "'train'; a pair is for fit, validation or test"),
    ({"answer_matching_behavior": None}, "column 'answer_matching_behavior': null"),
])  # fmt: skip
def test_a_malformed_row_is_named(tmp_path, change, said):
    with pytest.raises(BadFile, match=said):
        read_pairs(write(tmp_path / "p.json", [{**ROW, **change}]))


def test_a_missing_folder_or_file_is_explained(folder, monkeypatch):
    with pytest.raises(InputError, match=r"needs caa/generate/refusal/generate_dataset\.json in the folder"):
        caa_pairs("refusal")
    monkeypatch.delenv("DEMUR_DATA")
    with pytest.raises(InputError, match="it is None"):
        caa_pairs("refusal")


def test_an_unknown_behaviour_lists_the_known_ones():
    with pytest.raises(UnknownName, match="Did you mean 'refusal'"):
        caa_pairs("caa:refusals")
    with pytest.raises(UnknownName, match="Did you mean 'warmth'"):
        behaviour("warmpth", "fit")
