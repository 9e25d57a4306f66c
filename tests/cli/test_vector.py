"""`demur vector`: files in and out, and what it says when it cannot."""

from contextlib import nullcontext
from dataclasses import replace
from typing import Any

import pytest
import torch
from demur.experiments.vector_report import Audited

from demur.directions.artifact import load_direction, save_vector
from demur.directions.exchange import load_vector, read_vector
from demur.directions.vectors import steering_vector
from demur.experiments.vector_audit import Audit
from demur.types import Site


@pytest.fixture
def vector(tmp_path, weights):
    """A vector file of the tiny model."""
    value = torch.randn(32, generator=torch.Generator().manual_seed(3))
    made = steering_vector({Site(2): value}, {"method": "drawn", "weights": weights}, {Site(2): 6.0})
    save_vector(made, path := tmp_path / "warm.safetensors")
    return path


def test_fit_writes_a_vector_and_says_whether_it_clears_its_null(demur, model, weights, tmp_path):
    said = demur("vector", "fit", model, "warmth", "--site", "1.pre", "--shuffles", 2, "--n", 8, "--dtype", "fp32",
                 "--out", path := tmp_path / "v.safetensors")  # fmt: skip
    assert said.status == 0, said
    assert "2 vectors fitted on shuffled labels" in said.out
    made = load_vector(path, weights=weights)
    assert set(made.vectors) == {Site(1)}
    assert len(made.origin["null_effects"]) == 2
    assert ("does not clear its null" in said.out) != made.origin["clears_null"]


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


@pytest.fixture
def audited(monkeypatch):
    """What `audit_vectors` was called with; it finds what `failed` holds."""
    asked: dict[str, Any] = {"failed": ()}

    def audit_vectors(engine, model, subjects, plan, out, toward, named, new_tokens, fail_if, _bar, cleaned, remarks,
                      how, moves, _started):  # fmt: skip
        asked.update(
            subjects=subjects,
            plan=plan,
            named=named,
            fail_if=fail_if,
            new_tokens=new_tokens,
            out=out,
            cleaned=cleaned,
            toward=toward,
            how=how,
            remarks=remarks,
            moves=moves,
        )
        return Audited(Audit({}, (), (), {}, {}), (), ("One vector: safe.",), asked["failed"])

    def with_attacks(plan, _bench, _model, _run):
        return replace(plan, attacks=plan.attacks or ("prefill", "base64"))

    monkeypatch.setattr("demur.experiments.model_audit.audit_vectors", audit_vectors)
    monkeypatch.setattr("demur.experiments.model_audit.with_attacks", with_attacks)
    monkeypatch.setattr("demur.experiments.model_audit.kept_bench", lambda *_: nullcontext((None, "")))
    return asked


def test_audit_takes_vectors_and_any_other_steering(demur, model, vector, direction, audited):
    said = demur("vector", "audit", model, f"warm={vector}", f"ablate:{direction}", "--direction", direction,
                 "--multipliers", "-2,1", "--attacks", "prefill,fiction", "--behaviour", "warm=warmth", "--n", 8,
                 "--dtype", "fp32")  # fmt: skip
    assert said.status == 0, said
    assert [s.name for s in audited["subjects"]] == ["warm", f"ablate:{direction}"]
    assert audited["plan"].multipliers == (-2.0, 1.0)
    assert audited["plan"].attacks == ("prefill", "fiction")
    assert audited["how"]["vectors"] == [f"warm={vector}", f"ablate:{direction}"] and audited["how"]["command"]
    assert audited["named"] == {"warm": "warmth"}
    assert "One vector: safe." in said.out


def test_a_wrong_attack_is_found_before_the_model_is_loaded(demur, vector):
    said = demur("vector", "audit", "no-such-model", vector, "--attacks", "nonsense")
    assert said.status == 2 and "nonsense" in said.err + said.out and "no-such-model" not in said.err + said.out


def test_a_model_that_refuses_too_little_is_audited_and_told_what_is_lacking(demur, model, vector, direction, audited):
    assert demur("vector", "audit", model, vector, "--direction", direction).status == 0
    assert list(audited["moves"]) == []
    assert "What moves refusal at the vectors' sites is not known: 0 of" in " ".join(audited["remarks"])


def test_a_model_without_a_refusal_direction_is_audited_without_cosines_and_not_cleaned(demur, refuses, model, vector,
                                                                                        audited, tmp_path):  # fmt: skip
    asked = ("vector", "audit", model, vector, "--dtype", "fp32", "--out", tmp_path / "runs")
    assert demur(*asked).status == 0
    assert audited["toward"] is None
    assert "This model has no refusal direction: 0 of" in " ".join(audited["remarks"])
    assert "--clean needs a refusal direction" in refuses(*asked, "--clean", "direction")


def test_a_condition_that_holds_is_an_exit_status(demur, model, vector, direction, audited):
    audited["failed"] = ("warm x+1.5: complied_delta.low 0.1 > 0",)
    said = demur("vector", "audit", model, vector, "--direction", direction, "--fail-if", "complied_delta.low > 0")
    assert said.status == 1
    assert audited["fail_if"] == "complied_delta.low > 0"
    assert "failed: warm x+1.5" in said.out


def test_a_vector_is_audited_beside_its_cleaned_self_on_its_own_behaviour(demur, model, weights, direction, audited,
                                                                          tmp_path):  # fmt: skip
    value = torch.randn(32, generator=torch.Generator().manual_seed(6))
    made = steering_vector({Site(2): value}, {"weights": weights, "behaviour": "warmth"}, {Site(2): 6.0})
    save_vector(made, path := tmp_path / "warm.safetensors")
    asked = ("vector", "audit", model, path, "--direction", direction, "--clean", "direction", "--dtype", "fp32",
             "--out", tmp_path / "runs")  # fmt: skip
    said = demur(*asked)
    assert said.status == 0, said
    assert [s.name for s in audited["subjects"]] == ["warm", "warm, direction"]
    assert audited["plan"].attacks == ("prefill", "base64")
    assert audited["cleaned"] == {"warm, direction": "warm"}
    assert audited["named"] == {"warm": "warmth", "warm, direction": "warmth"}
    (first,) = (tmp_path / "runs" / "cache").iterdir()
    assert first.name.startswith("warm-direction-")
    stamp = first.stat().st_mtime_ns
    assert demur(*asked).status == 0
    assert first.stat().st_mtime_ns == stamp


def test_a_behaviour_is_fitted_on_each_model_once(demur, model, audited, tmp_path, monkeypatch):
    from types import SimpleNamespace as Some

    calls = []

    def fit_behaviour(engine, name, sites, progress):
        calls.append(name)
        from demur.fitting.vectors import texts_of
        from demur.prompts.pairs import behaviour

        origin = {"weights": engine.fingerprint.weights, "behaviour": name, "texts": texts_of(behaviour(name, "fit"))}
        return Some(fitted=Some(vector=steering_vector({s: torch.ones(32) for s in sites}, origin, {})))

    monkeypatch.setattr("demur.fitting.vector_sources.fit_behaviour", fit_behaviour)
    monkeypatch.setattr("demur.fitting.vector_sources.fit_refusal", lambda *_: Some(direction=a_direction(_[0])))
    other = tmp_path / "other"
    other.symlink_to(model)
    asked = ("vector", "audit", f"{model},{other}", "fit:warmth", "--site", "1.pre", "--dtype", "fp32",
             "--out", tmp_path / "runs")  # fmt: skip
    for _ in range(2):
        said = demur(*asked)
        assert said.status == 0, said
    assert calls == ["warmth", "warmth"]
    assert audited["subjects"][0].name == "warmth"
    assert audited["named"] == {"warmth": "warmth"}
    assert audited["out"] == tmp_path / "runs" / "other"
    assert {path.name for path in (tmp_path / "runs").iterdir()} == {"other", model.name}


def a_direction(engine):
    from demur.types import Direction

    value = torch.nn.functional.normalize(torch.randn(32, generator=torch.Generator().manual_seed(1)), dim=0)
    return Direction(value, Site(1), 6.0, {"weights": engine.fingerprint.weights})


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
        (["audit", "{model},other", "{vector}", "--direction", "d.safetensors"], "several are audited"),
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
        (["convert", "{vector}", "v.gguf", "--point", "in"], "--point 'in' is none"),
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
