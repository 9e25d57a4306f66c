"""Input that once ended in the traceback of another library: one line with the file and the place, status 2."""

import json
import random

import pytest
import torch

import demur as api
from demur.directions.exchange import read_vector, write_vector
from demur.errors import BadFile, DemurError
from demur.prompts.load import load
from demur.runs import read_results
from demur.types import Decoding, Site, SteeringVector

LONG = "n" * 300


@pytest.mark.parametrize(
    "args",
    [
        ["generate", LONG, "hi"],
        ["generate", "{model}", "hi", "--steer", LONG + ".json"],
        ["generate", "{model}", "hi", "--steer", f"add:{LONG}.gguf"],
        ["evaluate", "{model}", "--prompts", LONG + ".csv", "--out", "x"],
        ["evaluate", "{model}", "--prompts", LONG + ".jsonl:column", "--out", "x"],
        ["evaluate", "{model}", "--prompts", "plain", "--limit", "2", "--out", LONG, "--dtype", "fp32"],
        ["direction", "show", LONG],
        ["direction", "show", LONG + ".pt"],
        ["features", "show", "{model}", LONG],
        ["features", "pick", "{model}", "1.post/3", "--sae", LONG, "--dtype", "fp32"],
        ["sae", "convert", LONG, "x"],
        ["sae", "check", "{model}", "x", "--text", LONG],
        ["vector", "show", LONG + ".svec"],
        ["vector", "fit", "{model}", LONG + ".csv"],
        ["runs", "list", "--journal", LONG],
        ["runs", "export", "x", LONG + ".json", "--journal", LONG],
    ],
)
def test_a_name_that_no_file_can_have(refuses, demur, model, args, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    said = demur(*(arg.format(model=model) for arg in args))
    assert said.status == 2 and len(said.err.splitlines()) == 1
    assert LONG in said.err and "fault of demur" not in said.err


def test_a_name_that_no_file_can_have_is_an_error_of_demurs_in_python_too(tmp_path):
    for read in (api.load, load, api.load_vector, api.load_direction, read_results, api.load_sae, api.parse_steer):
        for name in (LONG, f"{LONG}.csv", f"{LONG}.gguf", f"{tmp_path}/{LONG}.json", "a\0b.pt"):
            with pytest.raises(DemurError):
                read(name)


@pytest.mark.parametrize(
    "sampling",
    [("1", 2**62), ("1", 2**70), ("1", -(2**70)), ("1e-40", 0), ("1e-320", 1), ("1e300", 2)],
)
def test_any_seed_and_any_temperature_give_an_answer(demur, model, sampling):
    args = ["generate", model, "hi", "--dtype", "fp32", "--max-new-tokens", 3]
    temperature, seed = sampling
    said = demur(*args, "--temperature", temperature, "--seed", seed)
    assert said.status == 0, said.err
    if float(temperature) < 1e-9:
        assert said.out == demur(*args).out


@pytest.mark.parametrize("wrong", [{"temperature": float("nan")}, {"temperature": -1.0}, {"top_p": 1.5}])
def test_decoding_that_means_nothing_is_refused(wrong):
    with pytest.raises(DemurError, match=next(iter(wrong))):
        Decoding(**wrong)


@pytest.mark.parametrize("unit", ["s", "ms", "date32"])
def test_a_date_that_python_does_not_have_names_row_and_column(tmp_path, unit):
    pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    kind = pa.date32() if unit == "date32" else pa.timestamp(unit)
    dates = pa.array([0, 0, 10**8 if unit == "date32" else 10**15], kind)
    pq.write_table(pa.table({"prompt": ["a", "b", "c"], "asked": dates}), tmp_path / "mine.parquet")
    with pytest.raises(BadFile, match=r"mine\.parquet, row 3, column 'asked': cannot be read"):
        load(tmp_path / "mine.parquet")


@pytest.mark.parametrize("layer", ["-1", "-2", "99999999999"])
def test_a_layer_that_no_model_has_is_named_before_another_format_is_written(refuses, tmp_path, layer):
    (tmp_path / "a.svec").write_text(json.dumps({"directions": {layer: [1.0, 2.0]}}))
    assert f"stands at layer {layer}" in refuses("vector", "convert", tmp_path / "a.svec", tmp_path / "b.gguf")


@pytest.mark.parametrize("ending", ["pt", "gguf", "svec"])
def test_damage_to_the_files_of_others_is_an_error_of_demurs_or_a_vector(tmp_path, ending):
    """No hash can be had of them: what is left to find are ranges, and the CRC of a .pt."""
    vector = SteeringVector({Site(3, "post"): torch.randn(64, generator=torch.Generator().manual_seed(0))})
    clean, dice = write_vector(vector, tmp_path / f"a.{ending}").read_bytes(), random.Random(0)
    truth = read_vector(tmp_path / f"a.{ending}")
    for trial in range(300):
        data, path = bytearray(clean), tmp_path / f"b.{ending}"
        if trial % 5 == 0:
            del data[dice.randrange(len(data)) :]
        else:
            data[dice.randrange(len(data))] ^= 1 << dice.randrange(8)
        path.write_bytes(data)
        try:
            found = read_vector(path)
        except DemurError:
            continue
        assert all(float(v.abs().max()) < 1e7 and s.layer >= 0 for s, v in found.vectors.items())
        if ending == "pt":
            assert list(found.vectors) == list(truth.vectors)
            assert all(found.vectors[site].equal(truth.vectors[site]) for site in truth.vectors)


def test_one_prompt_that_is_too_long_is_left_out_and_counted(demur, model, quick_judge, tmp_path):
    path = tmp_path / "mine.csv"
    path.write_text("prompt\nHow do I bake bread?\n" + "word " * 6000 + "\nWrite a poem.\n")
    said = demur("evaluate", model, "--prompts", path, "--out", tmp_path / "out", "--dtype", "fp32",
                 "--max-new-tokens", 4)  # fmt: skip
    assert said.status == 0, said.err
    assert "direct: 1 too long for" in said.out.replace("\n", " ") and "mine-2" in said.out
    results = read_results(tmp_path / "out")
    assert results.spec["too_long"] == {"direct": ["mine-2"]}
    assert {figure.n for figure in results.figures} == {2}
    path.write_text("prompt\n" + "word " * 6000 + "\n")
    said = demur("evaluate", model, "--prompts", path, "--out", tmp_path / "other", "--dtype", "fp32")
    assert said.status == 2 and "every prompt is too long for" in said.err and "passes this model's 4096" in said.err
