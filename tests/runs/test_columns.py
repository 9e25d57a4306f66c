"""Columns beside those of somebody's table."""

import csv
import datetime
import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from demur.runs.columns import with_columns

NEW = {"outcome": ["refused", "complied"], "harmful": [False, None]}


def test_a_csv_keeps_its_cells_and_their_order(tmp_path):
    rows = [{"a": 'x, "y"', "b": "1.0"}, {"a": "line\nbreak", "b": ""}]
    with_columns(tmp_path / "in.csv", rows, NEW, tmp_path / "out.csv")
    with (tmp_path / "out.csv").open(newline="") as file:
        assert list(csv.DictReader(file)) == [
            {**rows[0], "outcome": "refused", "harmful": "False"},
            {**rows[1], "outcome": "complied", "harmful": ""},
        ]


@pytest.mark.parametrize("ending", ["json", "jsonl"])
def test_json_keeps_what_only_some_rows_have(tmp_path, ending):
    rows = [{"a": [1, {"b": None}]}, {"c": 0.1, "d": 10**30}]
    out = tmp_path / f"out.{ending}"
    with_columns(tmp_path / f"in.{ending}", rows, NEW, out)
    text = out.read_text()
    found = json.loads(text) if ending == "json" else [json.loads(line) for line in text.splitlines()]
    assert found == [
        {**rows[0], "outcome": "refused", "harmful": False},
        {**rows[1], "outcome": "complied", "harmful": None},
    ]


def test_parquet_keeps_its_types(tmp_path):
    table = pa.table(
        {"day": [datetime.date(2026, 1, 1)] * 2, "parts": [[1, 2], None], "n": pa.array([1, 2], pa.int8())}
    )
    pq.write_table(table, tmp_path / "in.parquet")
    rows = table.to_pylist()
    with_columns(tmp_path / "in.parquet", rows, NEW, tmp_path / "out.parquet")
    found = pq.read_table(tmp_path / "out.parquet")
    assert found.select(["day", "parts", "n"]).equals(table)
    assert found["outcome"].to_pylist() == NEW["outcome"] and found["harmful"].to_pylist() == NEW["harmful"]


def test_a_column_that_is_there_already_is_kept_and_ours_gets_another_name(tmp_path):
    rows = [{"outcome": "mine", "judged_outcome": "too"}, {"outcome": "mine"}]
    called = with_columns(tmp_path / "in.jsonl", rows, NEW, tmp_path / "out.jsonl")
    assert called == {"outcome": "judged_judged_outcome", "harmful": "harmful"}
    first = json.loads((tmp_path / "out.jsonl").read_text().splitlines()[0])
    assert (first["outcome"], first["judged_outcome"], first["judged_judged_outcome"]) == ("mine", "too", "refused")
