"""A full disk is said in demur's words, whichever library met it, and what stood there is whole."""

import os
import subprocess
import sys

import pytest

from demur.errors import BadFile, OutOfRoom
from demur.runs.writing import atomic, is_full, room, write_text

WRITERS = """
import resource, sys, warnings
from pathlib import Path
import torch
from demur.directions.artifact import save_direction
from demur.directions.exchange import write_vector
from demur.errors import OutOfRoom
from demur.fitting.cache import cached
from demur.interventions import add, write_spec
from demur.runs import Journal, export_run, write_results, write_text
from demur.saes import save_features
from demur.types import Direction, Feature, FeatureSet, Site, SteeringVector
from tests.planted import Planted
from tests.runs.conftest import answer

out = Path(sys.argv[1])
x = torch.randn(2000)
unit, vector = Direction(x / x.norm(), Site(1), 1.0), SteeringVector({Site(1, "post"): x})
features = FeatureSet(tuple(Feature(Site(1), i, 1.0) for i in range(500)), {Site(1): "a" * 64}, {})
answers = [answer(i) for i in range(40)]
with Journal(out / "kept.sqlite") as journal:
    run = journal.start_run({"a": 1})
    journal.add_generations(answers)
    journal.link(run, "unsteered", "s", answers)
reader = Journal(out / "kept.sqlite", readonly=True)
full = Journal(out / "full.sqlite")
writers = {
    "direction.safetensors": lambda path: save_direction(unit, path),
    "vector.safetensors": lambda path: write_vector(vector, path),
    "vector.gguf": lambda path: write_vector(vector, path),
    "vector.svec": lambda path: write_vector(vector, path),
    "vector.pt": lambda path: write_vector(vector, path),
    "features.json": lambda path: save_features(features, path),
    "spec.json": lambda path: write_spec(add(unit, 1.0), path),
    "rows.json": lambda path: export_run(reader, run, path),
    "rows.parquet": lambda path: export_run(reader, run, path),
    "results.json": lambda path: write_results(path.parent, {"x": "y" * 9000}, [], 1.0),
    "report.html": lambda path: write_text(path, "x" * 9000),
    "cached fit": lambda path: cached(path.parent, "fit", [], Planted().fingerprint, lambda: unit),
    "journal": lambda path: full.add_generations([answer(i, "x" * 999) for i in range(200)]),
}
resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))
for name, write in writers.items():
    path = out / name
    if path.suffix:
        path.write_text("what stood there")
    try:
        write(path)
        print(name, "was written")
    except OutOfRoom as error:
        whole = not path.suffix or path.read_text() == "what stood there"
        print(name, "whole" if whole and "no room" in str(error) else f"not whole {error}")
left = [file.name for file in out.rglob("*.tmp")]
print("left", left)
"""


def test_every_writer_runs_out_of_room_in_demurs_words_and_leaves_what_stood_there(tmp_path):
    pytest.importorskip("pyarrow")
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-c", WRITERS, str(tmp_path)], capture_output=True, text=True, env=env)
    assert done.stderr == ""
    lines = done.stdout.splitlines()
    assert len(lines) == 14 and lines.pop() == "left []"
    assert [line for line in lines if not line.endswith(" whole")] == []


@pytest.mark.parametrize(
    "error",
    [
        OSError(28, "No space left on device"),
        OSError(27, "File too large"),
        Exception("No space left on device (os error 28)"),
        RuntimeError("[enforce fail at inline_container.cc:672] . unexpected pos 576 vs 534"),
    ],
)
def test_the_words_of_other_libraries_for_a_full_disk_are_known(error, tmp_path):
    assert is_full(error)
    with pytest.raises(OutOfRoom, match="no room to write"), room(tmp_path):
        raise error
    with pytest.raises(OutOfRoom, match="no room to write"), atomic(tmp_path / "a") as temporary:
        temporary.write_bytes(b"x")
        raise error
    assert list(tmp_path.iterdir()) == []


def test_other_errors_stay_what_they_are(tmp_path):
    for error in (RuntimeError("28"), KeyError("os error")):
        with pytest.raises(type(error)), room(tmp_path):
            raise error
    with pytest.raises(BadFile, match="choose a folder you may write"):
        write_text(tmp_path / "a" / "b" / ("c" * 300), "x")
