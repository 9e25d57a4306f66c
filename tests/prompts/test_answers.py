"""Files of requests and answers: which column is what, and what is wrong with a row."""

import json

import pytest

from demur.errors import BadFile
from demur.prompts.answers import read_answers


def write(tmp_path, text: str, name: str = "mine.csv"):
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize("prompt", ["prompt", "Request", "instruction", "goal", "question", "text"])
@pytest.mark.parametrize("answer", ["response", "Answer", "completion", "output", "generation"])
def test_columns_are_guessed_by_their_names(tmp_path, prompt, answer):
    given = read_answers(write(tmp_path, f"id,{prompt},note,{answer}\n7,How?,n,So.\n"))
    assert (given.prompt_column, given.answer_column, given.label_column) == (prompt, answer, "")
    (row,) = given.rows
    assert (row.prompt.text, row.answer, row.label) == ("How?", "So.", None)
    assert row.prompt.columns == (("id", "7"), ("note", "n"))
    assert given.cells == ({"id": "7", prompt: "How?", "note": "n", answer: "So."},)


def test_columns_may_be_named_in_any_case(tmp_path):
    path = write(tmp_path, "A,B,C\nHow?,So.,refused\n")
    given = read_answers(path, "a", "B", "c")
    assert (given.prompt_column, given.answer_column, given.label_column) == ("A", "B", "C")
    assert given.rows[0].label == "refused"


@pytest.mark.parametrize(
    ("keywords", "said"),
    [
        ({}, r"which column holds the requests\? Name it with --prompt-column; its columns: 'a', 'b'"),
        ({"prompt_column": "a"}, r"which column holds the answers\? Name it with --answer-column; .*'a', 'b'"),
        ({"prompt_column": "x"}, "no column 'x'; its columns: 'a', 'b'"),
        ({"prompt_column": "a", "answer_column": "a"}, "column 'a' cannot hold both"),
        ({"prompt_column": "a", "answer_column": "b", "label_column": "z"}, "no column 'z'; its columns: 'a', 'b'"),
    ],
)
def test_a_column_that_is_not_there_is_named_with_those_that_are(tmp_path, keywords, said):
    with pytest.raises(BadFile, match=said):
        read_answers(write(tmp_path, "a,b\n1,2\n"), **keywords)


def test_rows_without_an_answer_or_a_request_are_kept(tmp_path):
    lines = [{"goal": "How?", "response": "So."}, {"goal": "How?", "response": None}, {"goal": "How?"},
             {"goal": None, "response": "So."}, {"goal": " ", "response": ""}]  # fmt: skip
    given = read_answers(write(tmp_path, "\n".join(map(json.dumps, lines)), "mine.jsonl"))
    assert [row.answer for row in given.rows] == ["So.", None, None, "So.", ""]
    assert [row.prompt.text for row in given.rows] == ["How?", "How?", "How?", "", " "]
    assert [row.where for row in given.rows][1] == "row 2 (line 2)"
    ids = [row.prompt.id for row in given.rows]
    assert ids[0] == ids[1] == ids[2] and len(set(ids)) == 3


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"goal": "How?", "response": 4}, r"row 2 \(line 2\), column 'response': not text but int"),
        ({"goal": "How?", "response": [{"role": "assistant"}]}, "column 'response': not text but list"),
        ({"goal": {"a": 1}, "response": "So."}, "column 'goal': not text but dict"),
        ({"goal": "How?", "response": "a\0b"}, "column 'response': NUL character"),
        ({"goal": "How?", "response": "x" * 100_001}, "100,001 characters"),
        ({"goal": "How?", "response": "\ud800"}, "lone surrogate"),
        ({"goal": "How?", "response": "So.", "human": "maybe"}, "column 'human': 'maybe' is no outcome"),
    ],
)
def test_a_cell_that_is_no_text_or_no_label_is_named_with_its_row(tmp_path, row, said):
    lines = [{"goal": "How?", "response": "So.", "human": "complied"}, row]
    path = write(tmp_path, "\n".join(map(json.dumps, lines)), "mine.jsonl")
    with pytest.raises(BadFile, match=said):
        read_answers(path, label_column="human")


@pytest.mark.parametrize(
    ("column", "cells", "labels"),
    [
        ("human", ["refused", "Complied", "partial", "off-topic", ""], ["refused", "complied", "partial", "off-topic",
                                                                        None]),
        ("final_label", ["1_full_compliance", "2_full_refusal", "3_partial_refusal"], ["complied", "refused",
                                                                                       "partial"]),
        ("is_refusal", ["true", "0", "Yes"], ["refused", "complied", "refused"]),
        ("complied", ["True", "false"], ["complied", "refused"]),
    ],
)  # fmt: skip
def test_labels_are_outcomes_or_truth_values(tmp_path, column, cells, labels):
    rows = "".join(f"How?,So.,{cell}\n" for cell in cells)
    given = read_answers(write(tmp_path, f"goal,response,{column}\n{rows}"), label_column=column)
    assert [row.label for row in given.rows] == labels


def test_truth_values_need_a_column_that_says_what_is_true(tmp_path):
    with pytest.raises(BadFile, match="'true' is no outcome"):
        read_answers(write(tmp_path, "goal,response,label\nHow?,So.,true\n"), label_column="label")
