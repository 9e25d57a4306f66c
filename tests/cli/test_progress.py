"""What a command says while it works: never silent for long, and one line when it is stopped."""

import io
import os
import signal
import subprocess
import sys
import time

import pytest

from demur.cli import progress as module
from demur.cli.progress import Stopped, progress


def written(monkeypatch) -> io.StringIO:
    """What goes to stderr from here on; pytest puts its own in place between fixtures and test."""
    monkeypatch.setattr(sys, "stderr", to := io.StringIO())
    return to


def test_a_phase_is_named_when_it_begins_and_counted_when_it_ends(monkeypatch):
    stderr = written(monkeypatch)
    with progress() as update:
        update("reading pairs", 0, 12)
        assert stderr.getvalue() == "reading pairs ..."
        update("reading pairs", 5, 12)
        update("reading pairs", 12, 12)
        assert stderr.getvalue() == "reading pairs ... 12/12 (0 s)\n"
        update("judging", 3, 3)
        update("generating", 1, 3)
        update("judging", 1, 3)
    assert stderr.getvalue().splitlines()[1:] == ["judging ... 3/3 (0 s)", "generating ...", "judging ..."]


def test_a_long_phase_says_now_and_then_how_far_it_is(monkeypatch):
    stderr = written(monkeypatch)
    monkeypatch.setattr(module, "BEAT", 0.0)
    with progress() as update:
        for done in range(4):
            update("generating", done, 3)
            time.sleep(0.001)
    assert stderr.getvalue() == "generating ... 1 2 3/3 (0 s)\n"


def test_an_error_stands_on_a_line_of_its_own(monkeypatch):
    stderr = written(monkeypatch)
    with pytest.raises(ValueError), progress() as update:
        update("generating", 1, 3)
        raise ValueError
    assert stderr.getvalue() == "generating ...\n"


def test_a_terminal_gets_bars_and_no_markup_of_a_name(monkeypatch):
    stderr = written(monkeypatch)
    monkeypatch.setattr(stderr, "isatty", lambda: True, raising=False)
    monkeypatch.setenv("TERM", "xterm")
    with progress() as update:
        update("loading [bold]x[/bold]", 1, 2)
    assert "loading [bold]x[/bold]" in stderr.getvalue()
    assert "1/2" in stderr.getvalue()


def test_what_is_kept_is_said_by_the_command_that_was_stopped(monkeypatch):
    written(monkeypatch)
    with pytest.raises(Stopped) as stopped, progress("the journal is kept."):
        raise Stopped(130)
    assert (stopped.value.status, stopped.value.kept) == (130, "the journal is kept.")


SLOW = """
import sys, time
from tests.planted import Planted
import demur.engines.hf as hf
from demur.cli.main import main

class Slow(Planted):
    def generate(self, requests, decoding):
        found = super().generate(requests, decoding)
        time.sleep(2)
        return found

hf.HFEngine = lambda *_: Slow(6)
sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_stopped_run_says_in_one_line_what_is_kept_and_goes_on_when_run_again(tmp_path, number, status, demur,
                                                                                 planted):  # fmt: skip
    out = tmp_path / "out"
    asked = ["evaluate", "mock", "--prompts", "plain", "--limit", "8", "--out", str(out)]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen([sys.executable, "-c", SLOW, *asked], text=True, env=env, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE) as run:  # fmt: skip
        assert run.stderr is not None
        began = ""
        while "calibrating the judge ..." not in began:
            read = run.stderr.read(1)
            assert read, began
            began += read
        time.sleep(1)
        run.send_signal(number)
        out_text, rest = run.communicate(timeout=60)
    assert run.returncode == status
    assert out_text == ""
    assert rest.splitlines()[-1] == (
        f"stopped: what is finished is kept in {out / 'journal.sqlite'}; run the same command again and it goes on."
    )
    assert "Traceback" not in rest
    said = demur(*asked)
    assert said.status == 0
    assert "calibrating the judge" in said.phases
