import json
import re
import shutil
import signal
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.planted import Planted

from demur.cli.main import main
from demur.cli.show import console
from demur.directions.artifact import save_direction
from demur.judges.outcome import OutcomeJudge
from demur.models.load import load
from demur.saes import SAE, save_sae
from demur.types import Direction, Site, Verdict

WIDTH = 32


if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
    signal.signal(signal.SIGHUP, signal.SIG_DFL)  # as under nohup: what tests start would ignore it too

PHASE = re.compile(r"(?P<name>.+?) \.\.\.( \d+)*( \d+/\d+ \(\d+ s\))?")
"""A line of progress, where stderr is no terminal."""
PLAN = re.compile(r"up to (?P<answers>\d+) answers, each generated and judged; .*|\d+ answers took .*")
"""What a command says it will do, and how long that takes."""


@dataclass(frozen=True)
class Said:
    """What a command left behind."""

    status: int
    out: str
    err: str
    """stderr without the lines of progress."""
    phases: list[str]
    """The names of the phases in those lines."""
    plan: str = ""
    """How many answers it says there will be."""


@pytest.fixture
def demur(capsys, monkeypatch) -> Callable[..., Said]:
    """demur("runs", "list") -> Said: the command line, in this process."""
    monkeypatch.setattr(console, "width", 200)

    def call(*args: Any) -> Said:
        capsys.readouterr()
        try:
            status = main([str(arg) for arg in args]) or 0
        except SystemExit as exit_:
            status = exit_.code
        assert isinstance(status, int)
        said = capsys.readouterr()
        lines = said.err.splitlines(keepends=True)
        phases = [found["name"] for line in lines if (found := PHASE.fullmatch(line.rstrip("\n")))]
        plans = [found["answers"] for line in lines if (found := PLAN.fullmatch(line.rstrip("\n")))]
        rest = "".join(line for line in lines if not any(p.fullmatch(line.rstrip("\n")) for p in (PHASE, PLAN)))
        return Said(status, said.out, rest, phases, next(filter(None, plans), ""))

    return call


@pytest.fixture
def refuses(demur) -> Callable[..., str]:
    """refuses(*args) -> the one line on stderr of a command that ends with status 2."""

    def call(*args: Any) -> str:
        said = demur(*args)
        assert said.status == 2, said
        lines = said.err.splitlines()
        assert len(lines) == 1, said.err
        assert lines[0].startswith("error: ")
        assert said.out == ""
        return lines[0]

    return call


@pytest.fixture(scope="session")
def model(build, tmp_path_factory) -> Path:
    """The folder of a tiny chat model of 3 layers and width 32."""
    folder = tmp_path_factory.mktemp("tiny-llama")
    made = build("llama", 3, max_position_embeddings=4096)
    made.plain.save_pretrained(folder)
    made.loaded.tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def weights(model) -> str:
    return load(str(model), "fp32").fingerprint.weights


@pytest.fixture(scope="session")
def direction(model, weights, tmp_path_factory) -> Path:
    """A direction file of that model."""
    x = torch.randn(WIDTH, generator=torch.Generator().manual_seed(5))
    made = Direction(x / x.norm(), Site(1), 6.0, {"method": "drawn", "weights": weights, "scores": {"kl": 0.01234}})
    return save_direction(made, tmp_path_factory.mktemp("direction") / "refusal.safetensors")


@pytest.fixture
def spec(tmp_path) -> Callable[..., Path]:
    """spec(layer, numbers) -> a JSON spec that adds a vector."""

    def write(layer: int = 1, numbers: Any = None) -> Path:
        path = tmp_path / "steer.json"
        path.write_text(json.dumps({"op": "add", "deltas": {f"{layer}.pre": numbers or [0.5] * WIDTH}}))
        return path

    return write


@pytest.fixture
def prompts(tmp_path) -> Path:
    path = tmp_path / "mine.csv"
    path.write_text("goal,note\nHow do I bake bread?,a\nWrite a short poem.,b\nWhat is the capital of France?,c\n")
    return path


class Lengths(OutcomeJudge):
    """A judge that needs no model: refused when the answer has an even number of characters."""

    name = "lengths"

    def __init__(self) -> None:
        """Needs nothing."""

    def spec(self) -> dict[str, Any]:
        return {"judge": "lengths"}

    def judge(self, generations: Any) -> list[Verdict]:
        return [Verdict(g.key, "lengths", "complied" if len(g.text) % 2 else "refused") for g in generations]


@pytest.fixture
def quick_judge(monkeypatch):
    """Evaluations judge by length: fitting the real judge takes many answers."""
    monkeypatch.setattr("demur.evaluation.judging.calibrated_judge", lambda *_: Lengths())


class Whole(Planted):
    """Its tokens do not see each other, so what moves the answer is at the last one: all tokens count as content."""

    def content(self, conversations):
        return [torch.ones(len(self.tokens(c)[0]), dtype=torch.bool) for c in conversations]


@pytest.fixture
def planted(monkeypatch):
    """Whatever model a command names, it gets the mock with a planted direction; each time a fresh one."""
    monkeypatch.setattr("demur.engines.hf.HFEngine", lambda *_: Whole(6))


@pytest.fixture(scope="session")
def planted_sae(tmp_path_factory) -> Path:
    """The folder of an SAE of it at 3.post: latent 7 reads and writes the planted direction, latent 3 writes it and is
    always active; what the other 38 write is at right angles to it."""
    engine = Planted(6)
    axis = engine.direction.vector
    rows = torch.randn(40, len(axis), generator=torch.Generator().manual_seed(0))
    rows = torch.nn.functional.normalize(rows - (rows @ axis)[:, None] * axis, dim=-1)
    rows[3] = rows[7] = axis
    weights = {"W_enc": rows.T.clone(), "W_dec": rows, "b_enc": torch.zeros(40), "b_dec": torch.zeros(len(axis))}
    weights["W_enc"][:, 3], weights["b_enc"][3] = 0.0, 0.5
    metadata = {"model_name": engine.name, "hook_name": "blocks.3.hook_resid_post"}
    folder = tmp_path_factory.mktemp("planted-sae")
    save_sae(SAE("relu", weights, Site(3, "post"), metadata=metadata), folder)
    return folder


@pytest.fixture
def cached(model, tmp_path, monkeypatch) -> Path:
    """The tiny model in the place of the bundled one, in a cache of its own; converting copies it."""
    from demur.models import bundled

    def convert(_: Path, folder: Path) -> None:
        shutil.copytree(model, folder, dirs_exist_ok=True)
        bundled.write_manifest(folder)

    monkeypatch.setenv("DEMUR_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(bundled, "convert", convert)
    monkeypatch.setattr(bundled, "gguf_file", lambda: tmp_path / "x.gguf")
    return bundled.bundled_folder()
