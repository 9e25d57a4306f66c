"""What a command says while it works: never silent for long, and one line when it is stopped."""

import io
import os
import signal
import subprocess
import sys
import time
from types import SimpleNamespace

import pytest

from demur.cli import progress as module
from demur.cli.progress import LINE, journaled, progress
from demur.cli.stop import NOTHING_KEPT, Stopped
from demur.runs import Journal


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


def test_a_phase_goes_on_with_its_time_below_what_was_written_meanwhile(monkeypatch):
    stderr = written(monkeypatch)
    clock = iter((0.0, 1.0, 7.0))
    monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: next(clock)))
    with progress() as update:
        update("reading pairs", 0, 12)
        stderr.write(f"{LINE.ended()}warning: it is late\n")
        assert LINE.ended() == ""
        update("reading pairs", 5, 12)
        update("reading pairs", 12, 12)
    assert stderr.getvalue() == ("reading pairs ...\nwarning: it is late\nreading pairs ... 12/12 (7 s)\n")


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


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])
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


def begun(tmp_path, code, wait, *args) -> subprocess.Popen:
    """A process that runs `code`, once it has printed `wait` on stderr."""
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    run = subprocess.Popen([sys.executable, "-c", code, *map(str, args)], text=True, env=env, cwd=tmp_path,
                           stdout=subprocess.PIPE, stderr=subprocess.PIPE)  # fmt: skip
    said = ""
    assert run.stderr is not None
    while wait not in said:
        read = run.stderr.read(1)
        assert read, said
        said += read
    return run


def test_a_run_without_a_journal_yet_keeps_nothing_and_says_so(tmp_path, monkeypatch):
    written(monkeypatch)
    with pytest.raises(Stopped) as stopped, progress(journaled(tmp_path)):
        raise Stopped(130)
    assert stopped.value.kept == NOTHING_KEPT
    (tmp_path / "journal.sqlite").touch()
    with pytest.raises(Stopped) as stopped, progress(journaled(tmp_path)):
        raise Stopped(130)
    assert stopped.value.kept.startswith(f"what is finished is kept in {tmp_path / 'journal.sqlite'};")


STUBBORN = """
import sys, time
import demur.engines.hf as hf
from demur.cli.main import main

class Stubborn:
    def __init__(self, *_):
        try:
            time.sleep(30)
        finally:
            sys.stderr.write("cleaning up")
            sys.stderr.flush()
            time.sleep(30)

hf.HFEngine = Stubborn
sys.exit(main(["generate", "mock", "hi"]))
"""


def test_a_second_signal_ends_the_process_at_once_with_the_line(tmp_path):
    with begun(tmp_path, STUBBORN, "loading mock ...") as run:
        time.sleep(0.3)
        run.send_signal(signal.SIGINT)
        assert run.stderr is not None
        said = ""
        while "cleaning up" not in said:
            said += run.stderr.read(1)
        run.send_signal(signal.SIGINT)
        _, rest = run.communicate(timeout=10)
    assert run.returncode == 130
    assert rest == f"\nstopped: {NOTHING_KEPT}\n"


SWALLOWS = """
import sys, time
import demur.engines.hf as hf
from demur.cli.main import main

def engine(*_):
    try:
        time.sleep(30)
    except BaseException as error:
        raise ImportError("initialization failed") from None

hf.HFEngine = engine
sys.exit(main(["generate", "mock", "hi"]))
"""


def test_a_signal_that_a_library_takes_for_its_own_error_is_still_a_stop(tmp_path):
    with begun(tmp_path, SWALLOWS, "loading mock ...") as run:
        time.sleep(0.3)
        run.send_signal(signal.SIGTERM)
        _, rest = run.communicate(timeout=10)
    assert run.returncode == 143
    assert rest.splitlines()[-1] == f"stopped: {NOTHING_KEPT}" and "initialization" not in rest


IMPORTING = """
import sys, time

class Slow:
    def find_spec(self, name, path=None, target=None):
        if name == "rich":
            sys.stderr.write("importing")
            sys.stderr.flush()
            time.sleep(30)

sys.meta_path.insert(0, Slow())
from demur.__main__ import main
sys.exit(main())
"""


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_a_signal_while_demur_is_imported_is_one_line(tmp_path, number, status):
    with begun(tmp_path, IMPORTING, "importing", "doctor") as run:
        time.sleep(0.2)
        run.send_signal(number)
        _, rest = run.communicate(timeout=10)
    assert run.returncode == status
    assert rest == f"stopped: {NOTHING_KEPT}\n"


NOHUP = """
import signal, sys
signal.signal(signal.SIGHUP, signal.SIG_IGN)
from demur.cli.stop import stoppable
with stoppable():
    signal.raise_signal(signal.SIGHUP)
    print("goes on")
"""


def test_a_hangup_that_is_ignored_stays_ignored():
    done = subprocess.run([sys.executable, "-c", NOHUP], capture_output=True, text=True)
    assert done.stdout == "goes on\n"


WRITING = """
import os, signal, sys
from demur.cli.stop import Stopped, stoppable
from demur.runs import Journal
from tests.runs.conftest import answer

try:
    with stoppable(), Journal(sys.argv[1]) as journal:
        run = journal.start_run({"a": 1})
        signal.setitimer(signal.ITIMER_REAL, float(sys.argv[2]))
        signal.signal(signal.SIGALRM, lambda *_: os.kill(os.getpid(), signal.SIGTERM))
        for start in range(0, 100_000, 8):
            some = [answer(i) for i in range(start, start + 8)]
            journal.add_generations(some)
            journal.link(run, "unsteered", "s", some, start)
            print(start, flush=True)
except Stopped as stop:
    sys.exit(stop.status)
"""


@pytest.mark.parametrize("seconds", [0.02, 0.031, 0.047, 0.083, 0.1, 0.15])
def test_a_signal_while_the_journal_is_written_leaves_it_whole(tmp_path, seconds):
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", WRITING, str(tmp_path / "j"), str(seconds)]
    done = subprocess.run(command, capture_output=True, text=True, env=env)
    assert (done.returncode, done.stderr) == (143, "")
    with Journal(tmp_path / "j") as journal:
        (run,) = journal.runs()
        rows = journal.rows(run.id)
        assert journal.damaged == ()
        assert all(row.generation for row in rows) and len(rows) >= 8 * len(done.stdout.splitlines())
