"""`demur vector`: files in and out, and what it says when it cannot."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tests.planted import Planted

from demur.analysis.tables import find
from demur.directions.anything import load_direction
from demur.directions.artifact import save_direction, save_vector
from demur.directions.exchange import load_vector, read_vector, write_vector
from demur.directions.vectors import steering_vector
from demur.runs import read_results
from demur.types import Site


@pytest.fixture
def vector(tmp_path, weights):
    """A vector file of the tiny model."""
    value = torch.randn(32, generator=torch.Generator().manual_seed(3))
    made = steering_vector({Site(2): value}, {"method": "drawn", "weights": weights}, {Site(2): 6.0})
    save_vector(made, path := tmp_path / "warm.safetensors")
    return path


def test_fit_writes_a_vector_and_says_whether_it_beats_its_null(demur, model, weights, tmp_path):
    said = demur("vector", "fit", model, "warmth", "--site", "1.pre", "--shuffles", 2, "--n", 8, "--dtype", "fp32",
                 "--out", path := tmp_path / "v.safetensors")  # fmt: skip
    assert said.status == 0, said
    assert "2 vectors fitted on shuffled labels" in said.out
    made = load_vector(path, weights=weights)
    assert set(made.vectors) == {Site(1)}
    assert len(made.origin["null_effects"]) == 2
    assert ("does not beat shuffled labels" in said.out) != made.origin["beats_null"]


@pytest.mark.parametrize("name", ["v.gguf", "v.svec", "v.safetensors"])
def test_convert_keeps_the_vector_and_says_where_it_stands(demur, vector, tmp_path, name):
    said = demur("vector", "convert", vector, tmp_path / name, "--n-layers", 3)
    assert said.status == 0, said
    assert said.out.count("2.pre") + said.out.count("1.post") == 2
    (value,) = read_vector(tmp_path / name).vectors.values()
    torch.testing.assert_close(value, load_vector(vector).vectors[Site(2)])


def test_show_says_what_the_file_holds(demur, vector):
    said = demur("vector", "show", vector)
    assert "2.pre (length" in said.out
    assert "method: drawn" in said.out


def test_show_names_the_prompts_that_it_was_fitted_on_and_leaves_out_their_texts(demur, vector, tmp_path):
    on = {"fitted_on": [{"name": "mine", "sha256": "1f", "texts": ["How do I pick a lock?"]}, {"name": "built-in"}]}
    known = load_vector(vector)
    path = save_vector(replace(known, origin={**on, "of": on}), tmp_path / "v.safetensors")
    said = demur("vector", "show", path)
    assert "fitted_on: mine, built-in" in said.out and "of: {'fitted_on': 'mine, built-in'" in said.out
    assert "lock" not in said.out and "method" not in said.out


def test_clean_takes_the_direction_out(demur, model, vector, direction, tmp_path):
    said = demur("vector", "clean", model, vector, "--way", "direction", "--direction", direction, "--dtype", "fp32",
                 "--out", path := tmp_path / "c.safetensors")  # fmt: skip
    assert said.status == 0, said
    axis = load_direction(direction).vector
    assert abs(float(load_vector(path).vectors[Site(2)] @ axis)) < 1e-4
    assert f"demur vector audit {model} {vector} {path}" in said.out.replace("\n", "")


def test_clean_works_at_the_length_that_it_is_told(demur, model, vector, direction, tmp_path):
    said = demur("vector", "clean", model, vector, "--way", "direction", "--direction", direction, "--dtype", "fp32",
                 "--length", 0.5, "--out", path := tmp_path / "c.safetensors")  # fmt: skip
    assert said.status == 0, said
    value, axis = load_vector(vector).vectors[Site(2)], load_direction(direction).vector
    value = 0.5 * 6.0 * value / value.norm()
    torch.testing.assert_close(load_vector(path).vectors[Site(2)], value - (value @ axis) * axis)


def test_a_lone_vector_is_told_how_it_is_placed(refuses, model, tmp_path):
    torch.save(torch.ones(32), path := tmp_path / "v.pt")
    said = refuses("vector", "audit", model, path)
    assert f"demur vector convert {path} placed.safetensors --layer N" in said


SMALL = ("--n", 4, "--items", 4, "--randoms", 1, "--questions", 0, "--attacks", "prefill,fiction")


@pytest.fixture
def pushing(planted, tmp_path) -> Path:
    """A llama.cpp control vector of the mock: half towards refusal, half elsewhere."""
    axis = Planted(6).direction.vector
    value = torch.randn(16, generator=torch.Generator().manual_seed(3))
    value -= (value @ axis) * axis
    made = steering_vector({Site(3): 3 * axis + value}, {"method": "drawn"})
    return write_vector(made, tmp_path / "warm.gguf", 6)


def test_an_audit_of_a_gguf_says_what_it_does_to_refusal(demur, pushing, tmp_path):
    out = tmp_path / "runs"
    said = demur("vector", "audit", "mock", pushing, *SMALL, "--multipliers", "-0.1,1", "--behaviour", "warm=warmth",
                 "--out", out)  # fmt: skip
    assert (said.status, said.err) == (0, ""), said
    results = read_results(out)
    assert results.spec["verdicts"] == {"warm": "raises over-refusal"}
    assert results.spec["attacks"] == ["prefill", "fiction"]
    assert results.spec["config"]["multipliers"] == [-0.1, 1.0]
    assert results.spec["behaviours"] == {"warm": "warmth"}
    over = find(results.figures, "warm x+1", "plain", "refusal_rate", "unsteered")
    assert (over.value, over.n) == (1.0, 4)
    assert find(results.figures, "warm x+1", "attacked", "compliance_rate", "unsteered").n == 8
    assert find(results.figures, "random x+1", "plain", "refusal_rate", "unsteered").value == 0.0
    assert find(results.figures, "warm", "geometry", "cosine_to_refusal").value > 0.5
    table, _, rest = said.out.partition("- 1 vector: raises over-refusal.")
    assert rest and "raises over-refusal" in table and "warm" in table
    assert "calibrating the judge" in said.phases and "trying directions" in said.phases


def test_a_vector_is_audited_beside_its_cleaned_self_and_again_without_a_model_call(demur, pushing, tmp_path):
    out = tmp_path / "runs"
    asked = ("vector", "audit", "mock", pushing, *SMALL, "--multipliers", "-0.1,1", "--clean", "direction",
             "--out", out)  # fmt: skip
    said = demur(*asked)
    assert (said.status, said.err) == (0, ""), said
    results = read_results(out)
    assert results.spec["cleaned"] == {"warm, direction": "warm"}
    assert results.spec["verdicts"]["warm"] == "raises over-refusal"
    assert find(results.figures, "warm, direction x+1", "plain", "refusal_rate", "unsteered").value == 0.0
    assert find(results.figures, "warm, direction", "geometry", "cosine_to_refusal").value == pytest.approx(0, abs=1e-3)
    again = demur(*asked)
    assert "Nothing was generated: every answer came from the journal." in again.out
    assert not {"trying directions", "finding refusal gradients"} & {*again.phases}
    assert read_results(out).figures == results.figures


def test_other_steering_is_audited_as_it_is(demur, planted, tmp_path):
    path, out = tmp_path / "d.safetensors", tmp_path / "runs"
    engine = Planted(6)
    save_direction(replace(engine.direction, origin={"weights": engine.fingerprint.weights}), path)
    said = demur("vector", "audit", "mock", f"gone=ablate:{path}", "--direction", path, *SMALL, "--out", out)
    assert (said.status, said.err) == (0, ""), said
    results = read_results(out)
    done = find(results.figures, "gone x+1", "harmful", "compliance_rate", "unsteered")
    assert (done.value, done.n) == (0.75, 4)
    assert "trying directions" not in said.phases


def test_a_direction_is_audited_as_a_vector(demur, planted, tmp_path):
    path, out = tmp_path / "d.safetensors", tmp_path / "runs"
    engine = Planted(6)
    save_direction(replace(engine.direction, origin={"weights": engine.fingerprint.weights}), path)
    said = demur("vector", "audit", "mock", path, "--direction", path, "--length", 1, *SMALL, "--out", out)
    assert (said.status, said.err) == (0, ""), said
    assert find(read_results(out).figures, "d", "geometry", "cosine_to_refusal").value == pytest.approx(1)


def test_a_behaviour_is_fitted_on_each_model_once(demur, planted, tmp_path):
    asked = ("vector", "audit", "one,models/two", "fit:warmth", "--site", "1.pre", *SMALL, "--multipliers", "1",
             "--out", tmp_path / "runs")  # fmt: skip
    said = demur(*asked)
    assert (said.status, said.err) == (0, ""), said
    assert said.phases.count("reading pairs") == 2
    assert {path.name for path in (tmp_path / "runs").iterdir()} == {"one", "two"}
    for name in ("one", "two"):
        results = read_results(tmp_path / "runs" / name)
        assert results.spec["behaviours"] == {"warmth": "warmth"}
        assert list(results.spec["lengths"]["warmth"]) == ["1.pre"]
    again = demur(*asked)
    assert again.out.count("Nothing was generated") == 2
    assert "reading pairs" not in again.phases


def test_a_wrong_attack_is_found_before_the_model_is_loaded(demur, vector):
    said = demur("vector", "audit", "no-such-model", vector, "--attacks", "nonsense")
    assert said.status == 2 and "nonsense" in said.err + said.out and "no-such-model" not in said.err + said.out


def test_a_model_that_refuses_too_little_is_audited_and_told_what_is_lacking(demur, model, vector, direction,
                                                                             quick_judge, tmp_path):  # fmt: skip
    said = demur("vector", "audit", model, vector, "--direction", direction, *SMALL, "--multipliers", "1",
                 "--max-new-tokens", 4, "--dtype", "fp32", "--verbose", "--out", tmp_path / "runs")  # fmt: skip
    assert (said.status, said.err) == (0, ""), said
    assert "The refusal gradients at the vectors' sites are not known: 0 of" in " ".join(said.out.split())
    metrics = {f.metric for f in read_results(tmp_path / "runs").figures if f.set == "geometry"}
    assert "cosine_to_refusal" in metrics and "cosine_to_gradient" not in metrics


def test_a_model_without_a_direction_is_audited_without_cosines_and_not_cleaned(demur, model, vector, quick_judge,
                                                                               tmp_path):  # fmt: skip
    asked = ("vector", "audit", model, vector, *SMALL, "--multipliers", "1", "--max-new-tokens", 4, "--dtype", "fp32",
             "--verbose", "--out", tmp_path / "runs")  # fmt: skip
    said = demur(*asked)
    assert (said.status, said.err) == (0, ""), said
    assert "This model has no refusal direction: 0 of" in " ".join(said.out.split())
    assert "cosine_to_refusal" not in {f.metric for f in read_results(tmp_path / "runs").figures}
    said = demur(*asked, "--clean", "direction")
    assert said.status == 2
    assert "cleaning needs a refusal direction" in said.err


def test_a_condition_that_holds_is_an_exit_status(demur, pushing, tmp_path):
    for condition, status in (("plain_refusal_delta.value > 2", 0), ("complied_delta.value < -0.5", 1)):
        said = demur("vector", "audit", "mock", pushing, *SMALL, "--multipliers", "1", "--fail-if", condition,
                     "--out", tmp_path / "runs")  # fmt: skip
        assert said.status == status, said
        assert ("failed: warm x+1" in said.out) == bool(status)


@pytest.mark.parametrize("what", ["mine.csv", "warm=mine.csv", "notes", "warmth.npz"])
def test_what_is_no_vector_is_named_for_what_it_is(refuses, tmp_path, monkeypatch, what):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.csv").write_text("goal\nHow?\n")
    monkeypatch.setattr("demur.engines.hf.HFEngine", None)
    line = refuses("vector", "audit", "mock", what)
    name = what.rpartition("=")[2]
    assert f"{name} is no vector file: those end in .safetensors, .gguf, .svec, .pt" in line
    assert "fit:BEHAVIOUR" in line


def test_wrong_files_are_named_by_every_command(refuses, model, tmp_path):
    path = tmp_path / "mine.csv"
    path.write_text("goal\nHow?\n")
    for command in (["vector", "show", path], ["vector", "clean", model, path],
                    ["vector", "convert", path, tmp_path / "v.gguf"], ["direction", "show", path],
                    ["generate", model, "hi", "--steer", f"add:{path}"]):  # fmt: skip
        line = refuses(*command)
        assert "csv" in line and (".gguf" in line or "as no safetensors file does" in line), line


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["audit", "{model}", "{vector}", "--clean", "prayer"], "no way of cleaning named 'prayer'"),
        (["audit", "{model},{vector}/{model}", "{vector}"], "no two ending alike"),
        (["audit", ",", "{vector}"], "name models with commas"),
        (["audit", "{model}", "{vector}", "{vector}"], "two subjects are named 'warm'"),
        (["audit", "{model}", "{vector}", "--site", "1.pre"], "nothing is fitted"),
        (["audit", "{model}", "{vector}", "--behaviour", "war=warmth"], "war"),
        (["audit", "{model}", "{vector}", "--behaviour", "warm=prayer"], "prayer"),
        (["audit", "{model},other", "{vector}", "--direction", "{vector}"], "several are audited"),
        (["audit", "{model}", "fit:prayer"], "prayer"),
        (["audit", "{model}", "{vector}", "--fail-if", "harm > 0"], "is no condition"),
        (["audit", "{model}", "{vector}", "--multipliers", "1,two"], "'1,two' are not numbers"),
        (["audit", "{model}", "{vector}", "--multipliers", "0,1"], "different numbers that are not 0"),
        (["audit", "{model}", "{vector}", "--behaviour", "warmth"], "write NAME=BEHAVIOUR"),
        (["audit", "{model}", "none.safetensors"], "none.safetensors"),
        (["clean", "{model}", "{vector}", "--way", "prayer"], "no way of cleaning named 'prayer'"),
        (["clean", "{model}", "{vector}", "--construction", "prayer"], "no construction of a subspace named 'prayer'"),
        (["clean", "{model}", "{vector}", "--way", "direction", "--k", "2"], "are of --way subspace"),
        (["fit", "{model}", "nosuch"], "nosuch"),
        (["convert", "{vector}", "v.gguf", "--point", "in"], "no point named 'in'"),
        (["show", "none.svec"], "none.svec"),
    ],
)
def test_bad_input_is_one_line_that_names_the_value(refuses, model, vector, arguments, message):
    said = refuses("vector", *(a.format(model=model, vector=vector) for a in arguments))
    assert message in said


def test_a_vector_of_another_width_is_refused(refuses, model, tmp_path):
    save_vector(steering_vector({Site(1): torch.ones(16)}), path := tmp_path / "w.safetensors")
    assert "16" in refuses("vector", "audit", model, path)


@pytest.mark.parametrize("value", [torch.zeros(32), torch.full((32,), float("nan"))])
def test_a_vector_that_is_none_is_refused(refuses, model, tmp_path, value):
    torch.save(value, path := tmp_path / "v.pt")
    assert "v.pt" in refuses("vector", "convert", path, tmp_path / "v.safetensors", "--layer", 1, "--point", "pre")
