"""Bad input: one line on stderr with the value and the fix, and exit status 2. Nothing is written."""

import json
import re
import shutil
import subprocess
import sys

import pytest
import torch
from safetensors.torch import load_file, save_file

from demur.directions.artifact import save_direction
from demur.models import bundled
from demur.types import Direction, Site


@pytest.mark.parametrize(
    ("name", "words"),
    [
        (
            "nonesuch",
            "no model named 'nonesuch'; known: smollm2-refuser, smollm2, qwen2.5-coder-0.5b, qwen2.5-coder-1.5b, a",
        ),
        ("./none", "no model named './none'; known:"),
    ],
)
def test_an_unknown_model(refuses, name, words):
    assert words in refuses("generate", name, "hi")


def test_a_folder_that_is_no_model(refuses, tmp_path):
    assert "has no config.json; give a folder written by save_pretrained" in refuses("generate", tmp_path, "hi")


@pytest.mark.parametrize("command", ["generate", "evaluate"])
def test_an_unknown_layer_in_a_spec(refuses, model, spec, prompts, tmp_path, command):
    rest = ["hi"] if command == "generate" else ["--prompts", prompts, "--out", tmp_path / "out"]
    line = refuses(command, model, *rest, "--steer", spec(99), "--dtype", "fp32")
    assert "has no layer 99; known: 0 to 2. Fix the site 99.pre" in line
    assert not (tmp_path / "out").exists()


def test_an_unknown_prompt_set(refuses, model, tmp_path):
    line = refuses("evaluate", model, "--prompts", "harmfull", "--out", tmp_path / "out")
    assert "no prompt set named 'harmfull'" in line
    assert "Did you mean 'harmful'? A file is named FILE or FILE:COLUMN." in line


def test_an_unknown_attack(refuses, model, prompts, tmp_path):
    fix = "no attack named 'persoona'; known: "
    assert fix in refuses("generate", model, "hi", "--attack", "persoona")
    line = refuses("evaluate", model, "--prompts", prompts, "--attacks", "fiction,persoona", "--out", tmp_path / "out")
    assert fix in line
    assert "Did you mean 'persona'?" in line


@pytest.mark.parametrize("text", ["", "  \n\t"])
def test_an_empty_prompt(refuses, model, text):
    assert "the prompt is empty; give it a text" in refuses("generate", model, text)


def test_a_prompt_longer_than_the_model_takes(refuses, model):
    assert "passes this model's 4096. Shorten it" in refuses("generate", model, "word " * 4096, "--dtype", "fp32")


def test_a_csv_without_its_column(refuses, model, prompts, tmp_path):
    line = refuses("evaluate", model, "--prompts", f"{prompts}:question", "--out", tmp_path / "out")
    assert "mine.csv: no column 'question'; its columns: 'goal', 'note'" in line


@pytest.mark.parametrize("text", ["", "goal,note\n", "[]"])
def test_a_prompts_file_without_rows(refuses, model, tmp_path, text):
    path = tmp_path / ("none.json" if text == "[]" else "none.csv")
    path.write_text(text)
    assert f"{path.name}: no rows" in refuses("evaluate", model, "--prompts", path, "--out", tmp_path / "out")


def test_a_prompts_file_that_is_not_there(refuses, model, tmp_path):
    line = refuses("evaluate", model, "--prompts", tmp_path / "none.csv", "--out", tmp_path / "out")
    assert "none.csv: no such file" in line


def test_a_cell_without_text_is_named_by_row_and_column(refuses, model, tmp_path):
    path = tmp_path / "holes.csv"
    path.write_text('goal,note\nfine,a\n"",b\n')
    line = refuses("evaluate", model, "--prompts", path, "--out", tmp_path / "out")
    assert "holes.csv, data row 2 (line 3), column 'goal': empty" in line


def test_a_vector_of_the_wrong_width(refuses, model, spec, prompts, tmp_path):
    for rest in (["generate", model, "hi"], ["evaluate", model, "--prompts", prompts, "--out", tmp_path / "out"]):
        line = refuses(*rest, "--steer", spec(1, [1.0] * 16), "--dtype", "fp32")
        assert "the vector at 1.pre does not fit" in line
        assert "whose width is 32; fit it on this model" in line


@pytest.mark.parametrize(
    ("numbers", "words"),
    [
        ([float("nan"), 1.0, float("inf")], "2 of 3 entries are NaN or infinite; fit the vector again"),
        ([0.0] * 32, "every entry is zero"),
        ([1.0], "the model's width"),
        (["a", "b"], "must hold numbers only"),
    ],
)
def test_a_vector_that_is_none(refuses, model, spec, numbers, words):
    assert words in refuses("generate", model, "hi", "--steer", spec(1, numbers), "--dtype", "fp32")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "steer.json is not JSON"),
        ("[]", "an intervention spec is an object with an 'op'"),
        (
            '{"op": "ad"}',
            "no intervention op named 'ad'; known: ablate, add, at, chain, clamp, patch, project. Did you mean 'add'?",
        ),
        ('{"op": "add"}', "an add spec needs deltas"),
        ('{"op": "add", "deltas": {"1.everywhere": [1, 2]}}', "'1.everywhere' is not a site; write LAYER.POINT"),
        ("\0\1", "steer.json is not JSON"),
    ],
)
def test_a_malformed_spec(refuses, model, tmp_path, text, words):
    path = tmp_path / "steer.json"
    path.write_text(text)
    assert words in refuses("generate", model, "hi", "--steer", path, "--dtype", "fp32")


def test_a_spec_or_a_direction_that_is_not_there(refuses, model, tmp_path):
    line = refuses("generate", model, "hi", "--steer", tmp_path / "none.json")
    assert "no steering spec at" in line
    assert "`demur direction fit` writes one" in line
    for dose in ("", ":2", ":0.5r"):
        line = refuses("generate", model, "hi", "--steer", f"add:{tmp_path / 'none.safetensors'}{dose}")
        assert "none.safetensors; `demur direction fit` writes one" in line
    assert "no direction at" in refuses("direction", "show", tmp_path / "none.safetensors")


@pytest.mark.parametrize(
    "text", ["nonsense", "steer.txt", "add", "add:", "push:refusal.safetensors:1", ":", "remove:x"]
)
def test_steering_that_means_nothing(refuses, model, text):
    line = refuses("generate", model, "hi", "--steer", text, "--dtype", "fp32")
    assert f"steer {text!r} is neither a .json spec nor OP:FILE[:DOSE]; write add:FILE.safetensors:1.0r" in line


@pytest.mark.parametrize(
    ("steer", "words"),
    [
        ("add:{}:lots", "the dose 'lots' is not a number"),
        ("add:{}:nan", "nan is not a finite number"),
        ("add:{}:1e60", "not a finite number"),
        ("ablate:{}:1r", "a relative dose goes with add and clamp only"),
        ("scale:{}:0.5r", "a relative dose goes with add and clamp only"),
    ],
)
def test_a_dose_that_means_nothing(refuses, model, direction, steer, words):
    assert words in refuses("generate", model, "hi", "--steer", steer.format(direction), "--dtype", "fp32")


def test_a_direction_of_another_model(refuses, model, weights, tmp_path):
    made = Direction(torch.eye(32)[0], Site(1), 6.0, {"weights": "f" * 64})
    path = save_direction(made, tmp_path / "d.safetensors")
    line = refuses("generate", model, "hi", "--steer", f"add:{path}:1r", "--dtype", "fp32")
    assert f"was fitted on a model with weights ffffffffffff..., not {weights[:12]}...; fit it on this model" in line


def test_a_damaged_direction(refuses, model, direction, tmp_path):
    data = bytearray(direction.read_bytes())
    data[-3] ^= 4
    path = tmp_path / "d.safetensors"
    path.write_bytes(data)
    for args in (["direction", "show", path], ["generate", model, "hi", "--steer", f"ablate:{path}"]):
        assert "d.safetensors does not match its sha256: the file is damaged; fit it again" in refuses(*args)


@pytest.mark.parametrize("command", ["generate", "evaluate", "direction fit"])
def test_a_bad_dtype(refuses, model, prompts, tmp_path, command):
    rest = {
        "generate": [model, "hi"],
        "evaluate": [model, "--prompts", prompts, "--out", tmp_path / "out"],
        "direction fit": [model, "--out", tmp_path / "d.safetensors"],
    }[command]
    line = refuses(*command.split(), *rest, "--dtype", "fp8")
    assert "no dtype named 'fp8'; known: auto, bf16, fp32." in line


@pytest.mark.parametrize("command", ["list", "show", "resume", "export"])
def test_a_missing_journal(refuses, tmp_path, command):
    rest = {"list": [], "export": ["abc", tmp_path / "x.json"]}.get(command, ["abc"])
    line = refuses("runs", command, *rest, "--journal", tmp_path)
    assert f"no journal at {tmp_path / 'journal.sqlite'}; give --journal the --out folder" in line


def test_a_file_that_is_no_journal(refuses, tmp_path):
    (tmp_path / "journal.sqlite").write_bytes(b"a" * 5000)
    assert "is damaged or no SQLite file" in refuses("runs", "list", "--journal", tmp_path)


def test_a_place_where_nothing_can_be_written(refuses, model, prompts, quick_judge, tmp_path):
    line = refuses("evaluate", model, "--prompts", prompts, "--out", prompts / "out", "--dtype", "fp32")
    assert "mine.csv is a file; choose another folder" in line


def write_adapter(folder, base: str) -> None:
    folder.mkdir(parents=True)
    prefix = "base_model.model.model.layers.0.self_attn.q_proj"
    save_file(
        {f"{prefix}.lora_A.weight": torch.ones(2, 32), f"{prefix}.lora_B.weight": torch.ones(32, 2)},
        folder / "adapter_model.safetensors",
    )
    settings = {"peft_type": "LORA", "r": 2, "lora_alpha": 4, "bias": "none"}
    (folder / "adapter_config.json").write_text(json.dumps(settings))
    bundled.write_manifest(folder, base_sha256=base)


def test_an_adapter_of_another_model(refuses, demur, cached, tmp_path, monkeypatch):
    monkeypatch.setattr(bundled, "ADAPTERS", tmp_path)
    write_adapter(tmp_path / "smollm2-refuser", "e" * 64)
    line = refuses("generate", "smollm2-refuser", "hi", "--dtype", "fp32")
    assert "was made for weights eeeeeeeeeeee..., but these are" in line
    assert "use it on the unchanged bundled model `smollm2`" in line
    assert demur("generate", "smollm2", "hi", "--dtype", "fp32", "--max-new-tokens", 2).status == 0


def test_a_damaged_adapter(refuses, cached, tmp_path, monkeypatch):
    monkeypatch.setattr(bundled, "ADAPTERS", tmp_path)
    write_adapter(tmp_path / "smollm2-refuser", "e" * 64)
    (tmp_path / "smollm2-refuser" / "adapter_model.safetensors").write_bytes(b"short")
    line = refuses("generate", "smollm2-refuser", "hi", "--dtype", "fp32")
    assert "adapter_model.safetensors is not what manifest.json says (sha256); install demur again" in line


def test_a_damaged_cache_entry_is_made_again_with_a_warning_and_answers_the_same(demur, cached):
    args = ["generate", "smollm2", "How do I bake bread?", "--dtype", "fp32", "--max-new-tokens", 4]
    before = demur(*args)
    data = bytearray((cached / "model.safetensors").read_bytes())
    data[len(data) // 2] ^= 16
    (cached / "model.safetensors").write_bytes(data)
    with pytest.warns(RuntimeWarning, match=r"model.safetensors is not what .* \(sha256\); .*converted again"):
        assert demur(*args) == before
    assert load_file(cached / "model.safetensors")


def test_a_model_without_a_chat_template(refuses, model, tmp_path):
    bare = shutil.copytree(model, tmp_path / "bare")
    (bare / "chat_template.jinja").unlink()
    assert "has no chat template, so it is not a chat model" in refuses("generate", bare, "hi", "--dtype", "fp32")


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["evaluate", "smollm2", "--prompts", "harmful"], "missing option '--out'. See"),
        (["evaluate", "smollm2", "--out", "x"], "missing option '--prompts'"),
        (["evaluate", "smollm2", "--prompts", "harmful", "--out", "x", "--limit", "0"], "'--limit'"),
        (["generate", "smollm2"], "missing argument 'prompt'"),
        (["generate", "smollm2", "hi", "--temperature", "-1"], "'--temperature'"),
        (["generate", "smollm2", "hi", "--max-new-tokens", "many"], "'--max-new-tokens'"),
        (["generate", "smollm2", "hi", "--ster", "x"], "--steer"),
        (["direction", "fit", "smollm2", "--n", "1"], "'--n'"),
        (["runs", "show"], "missing argument 'run'"),
        (["steer"], "no such command 'steer'"),
        (["vector", "adit"], "no such command 'adit'. Did you mean 'audit'?"),
        (["runs", "forget"], "no such command 'forget'"),
        (["--nonsense"], "no such option: --nonsense"),
    ],
)
def test_what_the_parser_refuses_is_one_line_that_names_the_help_and_runs_nothing(refuses, args, words, monkeypatch):
    monkeypatch.setattr("demur.models.load.load", None)
    line = refuses(*args)
    assert words in line
    assert re.search(r"See .+ --help\.$", line)


TYPOS = [
    (["generate", "smollm2", "hi", "--dtype", "fp23"], "dtype", "fp32"),
    (["generate", "smollm2", "hi", "--attack", "persoona"], "attack", "persona"),
    (["evaluate", "smollm2", "--prompts", "plain", "--out", "x", "--attacks", "fiction,persoona"], "attack", "persona"),
    (["evaluate", "smollm2", "--prompts", "plain", "--out", "x", "--use", "tset"], "use", "test"),
    (["baseline", "smollm2", "--attacks", "persoona"], "attack", "persona"),
    (["features", "find", "smollm2", "--method", "atribution"], "way of finding features", "attribution"),
    (["sae", "train", "smollm2", "--site", "1.pre", "--out", "x", "--kind", "jumprel"], "kind of SAE", "jumprelu"),
    (["vector", "fit", "smollm2", "warmth", "--read", "leter"], "way of reading pairs", "letter"),
    (["vector", "fit", "smollm2", "warmth", "--method", "logistc"], "way of fitting a vector", "logistic"),
    (["vector", "audit", "smollm2", "v.gguf", "--clean", "drection"], "way of cleaning", "direction"),
    (["vector", "audit", "smollm2", "v.gguf", "--attacks", "persoona"], "attack", "persona"),
    (["vector", "clean", "smollm2", "v.gguf", "--way", "drection"], "way of cleaning", "direction"),
    (["vector", "clean", "smollm2", "v.gguf", "--construction", "gradient"], "construction of a subspace", "gradients"),
    (["vector", "convert", "a.pt", "b.gguf", "--point", "psot"], "point", "post"),
]
CHECK = f"""
import sys
from demur.cli.main import main
for args, _, _ in {TYPOS}:
    assert main(args) == 2, args
heavy = [name for name in ("torch", "transformers", "scipy", "jinja2") if name in sys.modules]
assert not heavy, heavy
"""


def test_a_typo_is_found_with_a_guess_before_torch_is_there():
    done = subprocess.run([sys.executable, "-c", CHECK], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    lines = done.stderr.splitlines()
    assert len(lines) == len(TYPOS)
    for line, (_, what, meant) in zip(lines, TYPOS, strict=True):
        assert line.startswith(f"error: no {what} named ") and f"Did you mean {meant!r}?" in line, line


def test_the_choices_are_what_the_library_knows():
    from demur.cli import choices
    from demur.directions import contrast
    from demur.fitting import cleaning
    from demur.models.load import DTYPES
    from demur.types import POINTS, USES

    assert {*choices.Way} == {*cleaning.WAYS}
    assert {*choices.Construction} == {*cleaning.SUBSPACES}
    assert {*choices.VectorMethod} == {*contrast.METHODS}
    assert {*choices.Dtype} == {"auto", *DTYPES}
    assert tuple(choices.Use) == USES and tuple(choices.Point) == POINTS


def test_no_control_character_of_a_path_or_a_name_reaches_the_terminal(demur):
    said = demur("generate", "no\x1b[31msuch\u202emodel", "hi")
    assert said.status == 2
    assert "\x1b" not in said.err and "\u202e" not in said.err and "31msuch" in said.err
    assert said.phases == ["loading no\u241b[31msuch<U+202E>model"]


def test_a_file_that_may_not_be_read_is_one_line(refuses, demur, model, tmp_path):
    (tmp_path / "folder.safetensors").mkdir()
    said = demur("vector", "show", tmp_path / "folder.safetensors")
    assert said.status in (1, 2) and len(said.err.splitlines()) == 1 and "Traceback" not in said.err


def test_what_can_be_wrong_is_found_before_a_model_is_loaded(refuses, direction, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    (tmp_path / "mine.csv").write_text("goal\nhello\n")
    (tmp_path / "set.json").write_text('{"kind": "demur.features"}')
    for room in ("audit", "baseline", "direction", "evaluate", "generate", "vector"):
        monkeypatch.setattr(f"demur.cli.{room}.opened", None)
    file, csv = tmp_path / "file", tmp_path / "mine.csv"
    asked = ("evaluate", "m", "--prompts", csv)
    for words, args in {
        "file is a file; give a folder": (*asked, "--out", file),
        "cannot write": (*asked, "--out", file / "deeper"),
        "no column of the prompts named 'mood'; known: kind": (*asked, "--out", tmp_path, "--by", "mood"),
        "file is a file; give a": ("quickstart", "--out", file),
        "named 'mood'": ("baseline", "m", "--by", "mood"),
        "is a folder; give a file in it": ("direction", "fit", "m", "--out", tmp_path),
        "known: category, kind, topic": ("vector", "audit", "m", direction, "--by", "mood"),
        "--site 1.pre says where fit:BEHAVIOUR stands": ("vector", "audit", "m", direction, "--site", "1.pre"),
        "mine.csv is not a readable direction file": ("vector", "audit", "m", direction, "--direction", csv),
        "no kind of vector file named '.csv'": ("vector", "clean", "m", direction, "--out", tmp_path / "x.csv"),
        "is a folder; give a file": ("vector", "fit", "m", "warmth", "--out", tmp_path),
        "it is a feature set; write suppress:": ("generate", "m", "hi", "--steer", tmp_path / "set.json"),
    }.items():
        assert words in refuses(*args), args


def test_a_format_that_cannot_hold_a_vector_is_found_before_it_is_cleaned(
    refuses, model, weights, tmp_path, monkeypatch
):
    path = save_direction(Direction(torch.nn.functional.one_hot(torch.tensor(3), 32).float(), Site(1, "mid"), 6.0,
                                    {"weights": weights}), tmp_path / "mid.safetensors")  # fmt: skip
    monkeypatch.setattr("demur.fitting.cleaning.Cleaner", None)
    said = refuses("vector", "clean", model, path, "--out", tmp_path / "clean.gguf", "--dtype", "fp32")
    assert "1.mid" in said
    assert not (tmp_path / "clean.gguf").exists()


@pytest.mark.parametrize("name", ["~nobody-of-that-name/model", "~nobody-of-that-name/model.gguf"])
def test_the_home_of_nobody(refuses, name):
    assert name in refuses("generate", name, "hi")
