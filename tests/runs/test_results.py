import json
import random
from contextlib import suppress
from dataclasses import replace

import pytest

from demur.errors import BadFile, BadSpec, OutOfRoom
from demur.runs import writing
from demur.runs.results import COLUMNS, Results, read_results, write_results
from demur.types import Figure

RATE = Figure("unsteered", "", "test", "complied", 0.25, 150, "requests", 0.2, 0.31, "rules")


def test_results_come_back_as_they_were(tmp_path):
    path = write_results(tmp_path / "out", {"model": "m", "dose": 1}, [RATE], 12.5)
    assert path == tmp_path / "out" / "results.json"
    assert read_results(path) == read_results(tmp_path / "out") == Results({"model": "m", "dose": 1}, (RATE,), 12.5)


def test_the_columns_are_the_protocols():
    assert " ".join(COLUMNS) == "arm versus set metric value n denominator low high judge"


@pytest.mark.parametrize(
    "wrong, said",
    [
        ({"value": float("nan")}, "column value"),
        ({"high": float("inf")}, "column high"),
        ({"n": 1.5}, "column n"),
        ({"n": -1}, "column n"),
        ({"arm": None}, "column arm"),
        ({"low": 0.5}, "above high"),
        ({"value": True}, "column value"),
    ],
)
def test_a_figure_that_is_none_is_refused_by_name(tmp_path, wrong, said):
    with pytest.raises(BadSpec, match=said):
        write_results(tmp_path, {}, [RATE, replace(RATE, metric="refused", **wrong)], 1.0)
    assert list(tmp_path.iterdir()) == []


def test_the_same_measurement_twice_is_refused(tmp_path):
    with pytest.raises(BadSpec, match="figures 0 and 1"):
        write_results(tmp_path, {}, [RATE, replace(RATE, value=0.3)], 1.0)


@pytest.mark.parametrize(
    "text, said",
    [
        ("", "not JSON"),
        ("[]", "exactly spec"),
        ('{"spec": {}, "figures": []}', "exactly spec"),
        ('{"spec": {}, "figures": [], "seconds": NaN}', "NaN is no JSON number"),
        ('{"spec": {}, "figures": [], "seconds": "1"}', "seconds"),
        ('{"spec": [], "figures": [], "seconds": 1}', "spec must be an object"),
        ('{"spec": {}, "figures": [{"arm": "a"}], "seconds": 1}', "figure 0 must have exactly the columns"),
        ('{"spec": {}, "figures": [3], "seconds": 1}', "figure 0"),
    ],
)
def test_a_malformed_file_is_refused_by_name(tmp_path, text, said):
    (tmp_path / "results.json").write_text(text)
    with pytest.raises(BadFile, match=said):
        read_results(tmp_path)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(BadFile, match=r"cannot read .*absent.json"):
        read_results(tmp_path / "absent.json")


def test_a_failed_write_leaves_the_old_file_and_no_other(tmp_path, monkeypatch):
    write_results(tmp_path, {"old": 1}, [], 1.0)

    def full(path):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(writing, "_flush", full)
    with pytest.raises(OutOfRoom, match="what was there is intact"):
        write_results(tmp_path, {"new": 1}, [], 1.0)
    assert [file.name for file in tmp_path.iterdir()] == ["results.json"]
    assert json.loads((tmp_path / "results.json").read_text())["spec"] == {"old": 1}


def test_a_folder_that_cannot_be_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(BadFile, match="choose a folder"):
        write_results(tmp_path / "file", {}, [], 1.0)


def test_results_are_a_table_too(tmp_path):
    write_results(tmp_path, {}, [RATE, replace(RATE, arm="b", value=0.3)], 1.0)
    frame = read_results(tmp_path).to_pandas()
    assert frame["arm"].tolist()[1] == "b" and frame["value"].tolist() == [0.25, 0.3]


def test_in_a_notebook_they_are_one_line(tmp_path):
    write_results(tmp_path, {"experiment": "baseline", "model": "mock", "long": "x" * 999}, [RATE], 2.5)
    said = repr(read_results(tmp_path))
    assert "baseline of mock" in said and "1 figures" in said and len(said) < 120


def test_a_figure_that_was_changed_by_hand_is_found(tmp_path):
    path = write_results(tmp_path, {"model": "m"}, [RATE], 12.5)
    text = path.read_text()
    for old, new in (('"value": 0.25', '"value": 0.26'), ('"model": "m"', '"model": "n"'), ("12.5", "12.6")):
        assert old in text
        path.write_text(text.replace(old, new))
        with pytest.raises(BadFile, match="does not match its sha256"):
            read_results(path)


def test_flipped_bits_of_a_results_file_are_found_or_change_nothing(tmp_path):
    path, dice = write_results(tmp_path, {"model": "m"}, [RATE, replace(RATE, arm="b")], 12.5), random.Random(0)
    clean, truth = path.read_bytes(), read_results(path)
    for _ in range(300):
        data = bytearray(clean)
        data[dice.randrange(len(data))] ^= 1 << dice.randrange(8)
        path.write_bytes(data)
        with suppress(BadFile):
            assert read_results(path) == truth


def test_a_results_file_without_a_seal_is_read(tmp_path):
    path = write_results(tmp_path, {"model": "m"}, [RATE], 12.5)
    page = json.loads(path.read_text())
    del page["sha256"]
    path.write_text(json.dumps(page))
    assert read_results(path).figures == (RATE,)
