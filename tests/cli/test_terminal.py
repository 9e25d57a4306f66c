"""What reaches the terminal: no control character and no markup of data, and no exception of another library."""

import os
import subprocess
import sys

import pytest

from demur.errors import OutOfRoom
from demur.runs import Journal

HOSTILE = "\x1b[31mred\x07\u202e\u200b\x9b[/x] [bold]b[/bold] \x1b]8;;http://x\x1b\\"
BAD = ("\x1b", "\x07", "\u202e", "\u200b", "\x9b", "\x7f")


def clean(said, *args) -> None:
    for text in (said.out, said.err):
        assert not [mark for mark in BAD if mark in text], (args, text)
    assert "MarkupError" not in said.err and "Traceback" not in said.err, said.err


def hostile(*parts: str) -> str:
    return "".join((HOSTILE.replace("/", "|"), *parts))


@pytest.mark.parametrize(
    "args",
    [
        ["generate", "mock", "hi", "--steer", "{}"],
        ["generate", "mock", "hi", "--steer", "add:{}.gguf:1"],
        ["generate", "mock", "hi", "--attack", "{}"],
        ["evaluate", "mock", "--prompts", "{}", "--out", "x"],
        ["evaluate", "mock", "--prompts", "{}.csv", "--out", "x"],
        ["evaluate", "mock", "--prompts", "mine.csv:{}", "--out", "x"],
        ["evaluate", "mock", "--prompts", "plain", "--limit", "{}", "--out", "x"],
        ["direction", "show", "{}"],
        ["direction", "show", "{}.pt"],
        ["features", "show", "mock", "{}"],
        ["features", "pick", "mock", "{}"],
        ["sae", "convert", "{}", "x"],
        ["sae", "check", "mock", "{}", "--text", "{}"],
        ["vector", "show", "{}.svec"],
        ["vector", "fit", "mock", "{}"],
        ["vector", "audit", "mock", "{}"],
        ["vector", "audit", "{}", "fit:warmth", "--fail-if", "{}"],
        ["runs", "list", "--journal", "{}"],
        ["{}"],
        ["--{}"],
    ],
)
def test_a_hostile_argument_is_shown_by_name(demur, planted, args, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.csv").write_text("a,b\n1,2\n")
    said = demur(*(arg.format(HOSTILE) for arg in args))
    assert said.status == 2, said
    assert len(said.err.splitlines()) == 1
    clean(said, *args)


def test_hostile_prompts_headers_answers_and_paths_go_through_a_whole_run(demur, planted, quick_judge, tmp_path,
                                                                          monkeypatch):  # fmt: skip
    from tests.cli.conftest import Whole

    real = Whole.generate

    def generate(self, requests, decoding, *rest):
        from dataclasses import replace

        return [replace(a, text=f"{HOSTILE} {a.text}") for a in real(self, requests, decoding, *rest)]

    monkeypatch.setattr(Whole, "generate", generate)
    file, out = tmp_path / hostile(".csv"), tmp_path / hostile()
    column = hostile()
    file.write_text(f'"{column}",b\n"{HOSTILE} bread?",1\n"How do I bake a cake?",2\n', encoding="utf-8")
    said = demur("evaluate", "mock", "--prompts", f"{file}:{column}", "--out", out, "--verbose")
    assert said.status == 0, said.err
    clean(said)
    with Journal(out / "journal.sqlite", readonly=True) as journal:
        (run,) = [run.id for run in journal.runs() if run.name == "evaluate"]
    for args in (["list"], ["show", run], ["export", run, tmp_path / hostile(".json")]):
        said = demur("runs", *args, "--journal", out)
        assert said.status == 0, said
        clean(said, *args)
    said = demur("generate", "mock", HOSTILE)
    assert said.status == 0 and "[/x]" in said.out
    clean(said)


def test_an_unexpected_exception_is_one_line_that_names_the_way_to_its_traceback(demur, monkeypatch):
    def broken(*_):
        raise ZeroDivisionError(f"bad\n{HOSTILE}")

    monkeypatch.setattr("demur.engines.hf.HFEngine", broken)
    said = demur("generate", "mock", "hi")
    assert said.status == 1 and len(said.err.splitlines()) == 1
    assert said.err.startswith("error: ZeroDivisionError: bad ") and "This is a fault of demur" in said.err
    assert "DEMUR_TRACEBACK=1" in said.err
    clean(said)
    monkeypatch.setenv("DEMUR_TRACEBACK", "1")
    said = demur("generate", "mock", "hi")
    assert said.status == 1 and "Traceback (most recent call last)" in said.err and "broken" in said.err
    assert not [mark for mark in BAD if mark in said.err]


@pytest.mark.parametrize(
    ("error", "status", "words"),
    [
        (MemoryError(), 1, "memory ran out"),
        (RecursionError("too deep"), 1, "RecursionError: too deep. This is a fault of demur"),
        (OSError(28, "No space left on device"), 1, "no room left to write"),
        (Exception("No space left on device (os error 28)"), 1, "no room left to write"),
        (OutOfRoom("no room."), 1, "no room."),
        (OSError(36, "File name too long", "x" * 300), 2, "File name too long; check the path"),
        (KeyError(), 1, "KeyError: no message."),
    ],
)
def test_every_kind_of_failure_is_one_line(demur, monkeypatch, error, status, words):
    def broken(*_):
        raise error

    monkeypatch.setattr("demur.engines.hf.HFEngine", broken)
    said = demur("generate", "mock", "hi")
    assert (said.status, len(said.err.splitlines())) == (status, 1)
    assert words in said.err


WARNS = f"""
import logging, sys, warnings
import demur.engines.hf as hf
from demur.cli.main import main
from demur.errors import OutOfRoom
from demur.runs import Journal

def warns(*_):
    logging.getLogger("demur.x").warning("log %s", {HOSTILE!r})
    warnings.warn({HOSTILE!r}, RuntimeWarning, stacklevel=1)
    raise OutOfRoom("the end.")

hf.HFEngine = warns
sys.exit(main(["generate", "mock", "hi"]))
"""


def test_warnings_and_the_log_are_lines_without_control_characters():
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-c", WARNS], capture_output=True, text=True, env=env)
    assert not [mark for mark in BAD if mark in done.stderr]
    assert [line.split(":")[0] for line in done.stderr.splitlines()] == [
        "loading mock ...", "warning", "warning", "error"
    ]  # fmt: skip


def test_a_model_that_is_warned_of_says_so_in_a_line_without_the_place_in_the_code(demur, model, tmp_path):
    template = tmp_path / "open.jinja"
    template.write_text("{% for m in messages %}{{ m['role'] }}: {{ m['content'] }}\n{% endfor %}assistant:")
    asked = ("generate", model, "hi", "--chat-template", template, "--max-new-tokens", 1, "--dtype", "fp32")
    with pytest.warns(RuntimeWarning, match="puts no token behind"):
        assert demur(*asked).err == ""  # whoever records warnings gets them
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-m", "demur", *map(str, asked)], capture_output=True, text=True, env=env)
    first, warning, second = done.stderr.splitlines()
    assert first == f"loading {model} ..." and second.startswith(f"loading {model} ... 1/1 (")
    assert warning.startswith(f"warning: the chat template {template}") and ".py" not in warning


@pytest.mark.parametrize("command", [["models"], ["--help"], ["doctor"]])
def test_a_reader_that_has_enough_and_a_full_disk_end_the_output_without_a_traceback(command):
    code = "import sys; from demur.__main__ import main; sys.exit(main())"
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    read, write = os.pipe()
    os.close(read)
    piped = subprocess.run(
        [sys.executable, "-c", code, *command], stdout=write, stderr=subprocess.PIPE, text=True, env=env
    )
    os.close(write)
    assert (piped.returncode, piped.stderr) == (1, "")
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-c", code, *command], stdout=full, stderr=subprocess.PIPE, text=True, env=env
        )
    assert done.returncode == 1
    assert done.stderr == "error: no room left to write; what is whole is kept: free space, run again.\n"


def test_a_terminal_that_is_not_utf_8_gets_escapes():
    code = "import sys; from demur.__main__ import main; sys.exit(main())"
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "PYTHONIOENCODING": "ascii", "LC_ALL": "C"}
    command = [sys.executable, "-c", code, "runs", "list", "--journal", "caf\u00e9\x1b"]
    done = subprocess.run(command, capture_output=True, env=env)
    assert done.returncode == 2 and b"caf\\xe9" in done.stderr and b"\x1b" not in done.stderr
