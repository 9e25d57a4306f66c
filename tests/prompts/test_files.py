import json
import sys

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from demur.errors import BadFile, DemurError, MissingExtra
from demur.prompts.files import read_prompts


@pytest.fixture
def write(tmp_path):
    def put(name, content):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode("utf-8"))
        return path

    return put


def texts(prompts):
    return [prompt.text for prompt in prompts]


def test_a_csv_column_becomes_prompts_in_order(write):
    prompts = read_prompts(write("mine.csv", 'n,question\n1,"Hi, you?"\n2,"two\nlines"\n'), "question")
    assert texts(prompts) == ["Hi, you?", "two\nlines"]
    assert [p.id for p in prompts] == ["mine-1", "mine-2"]
    assert {p.set for p in prompts} == {"mine"}
    assert {p.kind for p in prompts} == {"unknown"}


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.json", '[{"prompt": "one"}, {"prompt": "two"}]'),
        ("a.json", '["one", "two"]'),
        ("a.jsonl", '{"prompt": "one"}\n\n{"prompt": "two"}'),
        ("a.jsonl", '{"prompt": "one"}\r\n{"prompt": "two"}\r\n'),
        ("a.csv", "prompt\none\ntwo\n"),
        ("a.csv", "prompt\r\none\r\n\r\ntwo\r\n"),
        ("a.CSV", "prompt\none\ntwo"),
        ("a.csv", b"\xef\xbb\xbfprompt\none\ntwo\n"),
        ("a.jsonl", b'\xef\xbb\xbf{"prompt": "one"}\n{"prompt": "two"}\n'),
        ("a.json", b'\xef\xbb\xbf["one", "two"]'),
    ],
)
def test_each_format_is_read_with_byte_order_mark_and_crlf(write, name, content):
    assert texts(read_prompts(write(name, content))) == ["one", "two"]


def test_parquet_is_read(tmp_path):
    pa = pytest.importorskip("pyarrow")
    import pyarrow.parquet as pq

    pq.write_table(pa.table({"goal": ["one", "two"], "n": [1, 2]}), tmp_path / "a.parquet")
    assert texts(read_prompts(tmp_path / "a.parquet", "goal")) == ["one", "two"]
    pq.write_table(pa.table({"goal": ["one", None]}), tmp_path / "b.parquet")
    with pytest.raises(BadFile, match=r"b\.parquet, row 2, column 'goal': null"):
        read_prompts(tmp_path / "b.parquet", "goal")


def test_parquet_without_pyarrow_names_the_extra(write, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(MissingExtra, match=r"demur\[parquet\]"):
        read_prompts(write("a.parquet", b"PAR1"))


def test_a_json_string_may_hold_a_line_separator(write):
    assert texts(read_prompts(write("a.jsonl", '{"prompt": "one\u2028two"}\n'))) == ["one\u2028two"]


def test_metadata_can_be_given(write):
    path = write("a.csv", "goal,kind\nx y,fraud\nz,\n")
    first, second = read_prompts(path, "goal", set="s", kind="harmful", category="kind", use="test")
    assert (first.id, first.set, first.kind, first.category, first.use) == ("s-1", "s", "harmful", "fraud", "test")
    assert second.category == ""


def test_the_column_is_guessed_only_when_there_is_no_doubt(write):
    assert texts(read_prompts(write("a.csv", "x\nhello\n"))) == ["hello"]
    assert texts(read_prompts(write("b.csv", "id,Goal\n1,hello\n"))) == ["hello"]
    with pytest.raises(BadFile, match="Name one of: 'x', 'y'"):
        read_prompts(write("c.csv", "x,y\n1,2\n"))


BAD = {
    "a column that is not there": ("a.csv", "a,b\n1,2\n", r"no column 'prompt'; its columns: 'a', 'b'"),
    "a column missing from one row": ("a.jsonl", '{"prompt": "x"}\n{"b": "y"}', r"row 2 .*'prompt': missing"),
    "an empty prompt": ("a.csv", 'prompt,n\nx,1\n"",2\n', r"data row 2 \(line 3\), column 'prompt': empty"),
    "a blank prompt": ("a.json", '[{"prompt": " \\t"}]', r"row 1, column 'prompt': empty"),
    "a null prompt": ("a.json", '[{"prompt": null}]', r"row 1, column 'prompt': null"),
    "a number": ("a.json", '[{"prompt": 7}]', r"row 1, column 'prompt': not text but int"),
    "no rows": ("a.csv", "prompt\n", r"no rows"),
    "an empty file": ("a.jsonl", "", r"no rows"),
    "an empty list": ("a.json", "[]", r"no rows"),
    "a NUL byte": ("a.csv", "prompt\nx\0y\n", r"data row 1 \(line 2\), column 'prompt': NUL character at position 1"),
    "an escaped NUL": ("a.json", '[{"prompt": "x\\u0000"}]', r"row 1, column 'prompt': NUL"),
    "a lone surrogate": ("a.jsonl", '{"prompt": "x\\ud800"}', r"column 'prompt': lone surrogate U\+D800 at position 1"),
    "bytes that are not UTF-8": ("a.csv", b"prompt\nx\ncaf\xe9\n", r"data row 2 \(line 3\), column 'prompt': byte 0xe9 is not UTF-8"),  # noqa: E501
    "bytes that are not UTF-8, in the second column": ("a.csv", b"prompt,b\nx,\xffy\n", r"data row 1 .*column 'b': byte 0xff"),  # noqa: E501
    "bytes that are not UTF-8, in JSON lines": ("a.jsonl", b'{"prompt": "x", "b": "\xe9"}\n', r"row 1 \(line 1\), column 'b': byte"),  # noqa: E501
    "bytes that are not UTF-8, in JSON": ("a.json", b'[{"prompt": "x"}, {"prompt": "\xe9"}]', r"row 2, column 'prompt': byte"),  # noqa: E501
    "bytes that are not UTF-8, in the header": ("a.csv", b"prompt,\xe9\nx,y\n", r"line 1: byte 0xe9 is not UTF-8"),
    "UTF-16": ("a.csv", "prompt\nx\n".encode("utf-16"), r"line 1: byte 0xff is not UTF-8"),
    "a row with too many cells": ("a.csv", "prompt\nx\ny,z\n", r"data row 2 \(line 3\): 2 cells, but the header has 1"),
    "a row with too few cells": ("a.csv", "a,prompt\nx\n", r"data row 1 \(line 2\): 1 cells, but the header has 2"),
    "a quote that does not end": ("a.csv", 'prompt\n"x\ny\n', r"data row 1 \(line 2\): unexpected end of data"),
    "a column that stands twice": ("a.csv", "prompt,prompt\nx,y\n", r"line 1, the header: column 'prompt' stands"),
    "a long cell": ("a.csv", f"prompt,n\n{'x' * 100_001},1\n", r"data row 1 .*'prompt': 100,001 char"),
    "a very long cell": ("a.csv", f"prompt\n{'x' * 200_000}\n", r"data row 1 \(line 2\), column 'prompt': 200,000 characters"),  # noqa: E501
    "a long JSON string": ("a.json", json.dumps([{"prompt": "x" * 100_001}]), r"row 1, column 'prompt': 100,001 char"),
    "a line that is not JSON": ("a.jsonl", '{"prompt": "x"}\n{oops\n', r"row 2 \(line 2\): not valid JSON"),
    "a file that is not JSON": ("a.json", "[{]", r"not valid JSON"),
    "JSON that nests too deep": ("a.json", "[" * 200_000, r"not valid JSON"),
    "a JSON object": ("a.json", '{"prompt": "x"}', r"holds an object; a list of objects is needed"),
    "a list of lists": ("a.json", '[["x"]]', r"row 1: a list; an object with a text column is needed"),
    "a file that is not Parquet": ("a.parquet", "hello", r"not a readable Parquet file"),
    "an unknown suffix": ("a.txt", "hello", r"cannot read \.txt; known: \.csv"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_a_malformed_file_is_named_with_its_row_and_column(write, case):
    name, content, message = BAD[case]
    path = write(name, content)
    with pytest.raises(BadFile, match=message) as caught:
        read_prompts(path, "prompt")
    assert str(path) in str(caught.value)


def test_a_missing_file_and_a_folder_are_bad_files(tmp_path):
    with pytest.raises(BadFile, match=r"none\.csv: no such file"):
        read_prompts(tmp_path / "none.csv")
    (tmp_path / "folder.csv").mkdir()
    with pytest.raises(BadFile, match="a folder, not a file"):
        read_prompts(tmp_path / "folder.csv")


def test_a_cell_of_exactly_the_longest_length_is_read(write):
    assert len(read_prompts(write("a.csv", f"prompt\n{'x' * 100_000}\n"))[0].text) == 100_000


def prompts_or_named_error(path):
    """Whether the file gave usable prompts, or an error of demur's own that names it."""
    try:
        prompts = read_prompts(path)
    except DemurError as error:
        return path.name in str(error)
    return bool(prompts) and all(prompt.text.strip() for prompt in prompts)


anything = settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)


@anything
@given(st.sampled_from(["a.csv", "a.json", "a.jsonl", "a.parquet"]), st.binary(max_size=200))
def test_any_bytes_give_prompts_or_a_demur_error(write, name, content):
    assert prompts_or_named_error(write(name, content))


@anything
@given(st.sampled_from(["a.csv", "a.json", "a.jsonl"]), st.text('ab,"\n\r\0\\{}[]:\u2028\ufeff 1', max_size=60))
def test_near_misses_of_each_format_give_prompts_or_a_demur_error(write, name, content):
    assert prompts_or_named_error(write(name, content))


clean = st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\0"), min_size=1).filter(str.strip)


@anything
@given(st.lists(clean, min_size=1, max_size=5))
def test_what_is_written_as_json_or_csv_is_read_back_exactly(write, some):
    import csv
    import io

    lines = "\n".join(json.dumps({"prompt": text}) for text in some)
    assert texts(read_prompts(write("a.jsonl", lines))) == some
    assert texts(read_prompts(write("a.json", json.dumps(some)))) == some
    out = io.StringIO(newline="")
    writer = csv.writer(out, quoting=csv.QUOTE_ALL)
    writer.writerows([["prompt"], *([text] for text in some)])
    assert texts(read_prompts(write("a.csv", out.getvalue()))) == some


@pytest.mark.parametrize(("mark", "named"), [(";", "';'"), ("\t", r"'\\t'")])
def test_another_separator_is_named(tmp_path, mark, named):
    path = tmp_path / "a.csv"
    path.write_text(f"prompt{mark}target\nHow do I bake bread?{mark}Sure, here\n")
    with pytest.raises(BadFile, match=rf"a\.csv, line 1, the header: .* holds {named} and no comma; .* save the file"):
        read_prompts(path)


def test_what_rows_are_for_is_read_from_the_file_when_asked(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("prompt,Use\na,fit\nb,\nc,test\n")
    assert [p.use for p in read_prompts(path, uses=True)] == ["fit", None, "test"]
    assert [p.use for p in read_prompts(path)] == [None, None, None]


def test_a_files_other_columns_are_kept_as_they_are(write):
    path = write("mine.csv", "tone,goal,Level\nformal,hello,3\n,bye,\n")
    first, second = read_prompts(path, "goal")
    assert first.columns == (("tone", "formal"), ("Level", "3"))
    assert second.columns == (("tone", ""), ("Level", ""))
    assert (first.cell("TONE"), second.cell("level"), first.cell("kind"), first.cell("mood")) == (
        "formal", "", "unknown", None,
    )  # fmt: skip
    (row,) = read_prompts(write("a.jsonl", '{"prompt": "x", "n": 1.5, "tags": ["a", {"b": null}], "none": null}\n'))
    assert row.columns == (("n", 1.5), ("tags", '["a", {"b": null}]'), ("none", None))
    assert row.cell("none") == ""


def test_columns_named_id_kind_category_and_topic_are_what_they_say(write):
    head = "ID,goal,kind,Category,topic,use\n"
    first, second = read_prompts(write("a.csv", f"{head}q7,hello,Harmful,fraud,money,fit\nq9,bye,harmless,,,\n"))
    assert [(p.id, p.kind, p.category, p.topic) for p in (first, second)] == [
        ("q7", "harmful", "fraud", "money"),
        ("q9", "plain", "", ""),
    ]
    assert first.columns == (("use", "fit"),) and first.use is None
    assert read_prompts(write("b.csv", f"{head}1,x,harmful,a,b,fit\n"), "goal", uses=True)[0].columns == ()


def test_a_column_kind_of_other_words_stays_a_column(write):
    (row,) = read_prompts(write("a.csv", "goal,kind\nhello,question\n"))
    assert (row.kind, row.columns, row.cell("kind")) == ("unknown", (("kind", "question"),), "question")


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ("a,x\na,y\n", r"data row 2 \(line 3\), column 'id': 'a' stands in data row 1 \(line 2\) too"),
        ("a,x\n ,y\n", r"data row 2 \(line 3\), column 'id': empty"),
    ],
)
def test_an_id_that_is_no_id_is_refused_by_row(write, rows, said):
    with pytest.raises(BadFile, match=said):
        read_prompts(write("a.csv", f"id,goal\n{rows}"))
