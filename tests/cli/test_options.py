"""The options of every command that loads a model."""

import inspect
import json

import pytest
from tests.planted import Planted

from demur.cli import baseline, direction, evaluate, features, generate, options, sae, vector
from demur.cli.audit import audit
from demur.cli.choices import Dtype, Thinking
from demur.cli.options import Loading
from demur.runs import Journal

LOADS = [baseline.quickstart, baseline.baseline, evaluate.evaluate, direction.fit, features.find, features.pick,
         features.verify, features.show, sae.train, sae.check, generate.generate, vector.fit, vector.clean,
         audit]  # fmt: skip
NAMES = ["dtype", "device", "device_map", "revision", "chat_template", "thinking"]
SWITCHED = (
    "{% for m in messages %}<|im_start|>{{ m['content'] }}<|im_end|>{% endfor %}{% if enable_thinking %}<|im_start|>"
    "{% endif %}"
)


@pytest.mark.parametrize("command", LOADS, ids=lambda command: f"{command.__module__}.{command.__name__}")
def test_every_command_that_takes_a_model_says_how_it_is_loaded(command):
    names = list(inspect.signature(command).parameters)
    at = names.index("dtype")
    assert names[at : at + 6] == NAMES
    assert "loading" not in names


@pytest.mark.parametrize(
    "words",
    ["quickstart", "baseline", "evaluate", "direction fit", "features find", "features verify", "sae check", "generate",
     "vector fit", "vector audit"],
)  # fmt: skip
def test_the_help_shows_the_options_in_a_panel_of_their_own(demur, words):
    said = demur(*words.split(), "--help")
    assert options.LOADING in said.out
    for name in NAMES:
        assert f"--{name.replace('_', '-')}" in said.out


@pytest.fixture
def asked(monkeypatch):
    """What was asked of the engine's maker, a call each."""
    calls = []

    def make(model, dtype, **more):
        calls.append((model, dtype, more))
        return Planted(6)

    monkeypatch.setattr("demur.engines.hf.HFEngine", make)
    return calls


def test_what_is_asked_for_arrives_where_the_model_is_loaded(demur, asked, tmp_path):
    path = tmp_path / "mine.jinja"
    given = ["--dtype", "bf16", "--device", "cpu", "--device-map", "auto", "--revision", "v1", "--chat-template", path,
             "--thinking", "off"]  # fmt: skip
    assert demur("generate", "some/model", "hi", *given).status == 0
    assert demur("generate", "some/model", "hi", "--thinking", "on").status == 0
    assert demur("generate", "some/model", "hi").status == 0
    keywords = {"device": "cpu", "device_map": "auto", "revision": "v1", "chat_template": path, "thinking": False}
    assert asked == [("some/model", "bf16", keywords), ("some/model", "auto", {"thinking": True}),
                     ("some/model", "auto", {})]  # fmt: skip


def test_a_resumed_evaluation_loads_the_model_as_it_was(demur, model, prompts, tmp_path, quick_judge):
    path, out = tmp_path / "mine.jinja", tmp_path / "run"
    path.write_text(SWITCHED)
    given = ["--chat-template", path, "--thinking", "off", "--dtype", "fp32", "--max-new-tokens", "3"]
    assert demur("evaluate", model, "--prompts", prompts, "--out", out, *given).status == 0
    with Journal(out / "journal.sqlite", readonly=True) as journal:
        (run,) = journal.runs()
    assert run.spec["asked"]["thinking"] == "off"
    assert demur("runs", "resume", run.id[:12], "--journal", out).status == 0
    path.write_text(SWITCHED + " ")
    said = demur("runs", "resume", run.id[:12], "--journal", out)
    assert said.status == 2 and "the model changed since this run began" in said.err


def test_what_was_asked_for_is_written_down_and_read_again(tmp_path):
    whole = Loading(Dtype.FP32, "cpu", "auto", "v1", tmp_path / "x.jinja", Thinking.OFF)
    for one in (whole, Loading(), Loading(thinking=Thinking.ON)):
        assert Loading.of(json.loads(json.dumps(one.record()))) == one
    assert Loading().record() == {"dtype": "auto"}


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["--thinking", "maybe"], "no way of thinking named 'maybe'; known: off, on."),
        (["--thinking", "on"], "has no switch for thinking"),
        (["--chat-template", "none.jinja"], "cannot read the chat template none.jinja: No such file"),
        (["--device", "gpu7"], "device 'gpu7' cannot be used"),
        (["--revision", "v1"], "is on this machine and has no revision 'v1'"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(demur, model, given, said):
    found = demur("generate", model, "hi", "--dtype", "fp32", *given)
    assert found.status == 2
    assert said in found.err and len(found.err.strip().splitlines()) == 1


def test_a_template_that_fails_is_one_line(demur, model, tmp_path):
    path = tmp_path / "mine.jinja"
    path.write_text("{% for m in messages %}{{ m['content'] }}")
    said = demur("generate", model, "hi", "--chat-template", path)
    assert said.status == 2
    assert said.err.count("\n") == 1 and "fails: line 1: Unexpected end of template" in said.err


def test_several_models_are_not_audited_with_one_template(demur, tmp_path, model):
    said = demur("vector", "audit", f"{model},smollm2", "fit:sycophancy", "--chat-template", tmp_path / "x.jinja")
    assert said.status == 2 and "--chat-template and --revision are of one model" in said.err
