"""`make results-reliability`: what holds when things go wrong, and how often: kills, a full disk, damage, cross-talk.

    python -m recipes.reliability --out runs/reliability [--quick] [--only kills,full,damage,keys,data]

Writes results.json under --out. What another process is needed for runs this module again (`--child`). All of it
runs on the mock: what is tried is what is kept and served, not what a model says.
"""

from __future__ import annotations

import argparse
import logging
import os
import random
import resource
import shutil
import subprocess
import sys
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from demur.engines.base import Request
from demur.engines.mock import MockEngine
from demur.errors import BadFile, DemurError, OutOfRoom
from demur.evaluation import evaluator, verdicts
from demur.experiments.evaluate import EvaluateConfig, evaluate
from demur.interventions import add, read_spec, write_spec
from demur.prompts.builtin import builtin
from demur.runs import Journal, read_results, write_results
from demur.types import (
    Conversation,
    Decoding,
    Direction,
    EngineFingerprint,
    Feature,
    FeatureSet,
    Figure,
    Generation,
    Message,
    Prompt,
    Site,
    SteeringVector,
    Verdict,
)
from demur.version import VERSION
from recipes.targets import Target, verdict_lines

KILLS = 20
TRIALS = 200
"""Damaged copies of each kind of artifact: four flips of a bit to one cut."""
ROOM = 1 << 20
"""Bytes of the disk that is full."""
Part = tuple[list[Figure], list[Target]]


def count(arm: str, name: str, metric: str, value: float, n: int, what: str) -> Figure:
    """A figure that was counted: no interval."""
    return Figure(arm, "", name, metric, float(value), n, what, float(value), float(value))


class Lengths:
    """A judge that needs no model: refused when the answer has an even number of characters."""

    name = "lengths"

    def spec(self) -> dict[str, Any]:
        return {"judge": "lengths"}

    def judge(self, generations: Sequence[Generation]) -> list[Verdict]:
        return [Verdict(g.key, "lengths", "complied" if len(g.text) % 2 else "refused") for g in generations]


# Kills


class Slow(MockEngine):
    """Takes its time, so that a kill finds it at work."""

    def generate(self, requests: Any, decoding: Any) -> list[Generation]:
        time.sleep(0.05)
        return super().generate(requests, decoding)


def study(engine: MockEngine, out: Path) -> int:
    """An evaluation in small batches; the answers it made."""
    evaluator.BATCH = verdicts.JUDGED = 6
    config = EvaluateConfig(("persona", "fiction"), new_tokens=24)
    steer = add(MockEngine(6).direction, 1.5, True)
    return evaluate(engine, builtin("harmful", "test")[:40], steer, config, out, judge=Lengths()).generated


def begun(out: Path) -> tuple[int, int]:
    """A process that runs the study, and the pipe on which it tells which answers were acknowledged."""
    read, write = os.pipe()
    process = os.fork()
    if process:
        os.close(write)
        return process, read
    stored = Journal.add_generations

    def told(self: Journal, generations: Any) -> int:
        some = list(generations)
        new = stored(self, some)
        os.write(write, "".join(f"{answer.key}\n" for answer in some).encode())
        return new

    Journal.add_generations = told  # pyright: ignore[reportAttributeAccessIssue]
    try:
        study(Slow(6), out)
    finally:
        os._exit(0)


def kills(out: Path, quick: bool) -> Part:
    """kill -9 at random moments of one run, which goes on each time; then it is compared with one left alone."""
    whole, broken, dice = out / "whole", out / "broken", random.Random(0)
    study(MockEngine(6), whole)
    acknowledged: Counter[str] = Counter()
    killed = 0
    while killed < (5 if quick else KILLS) and not (broken / "results.json").exists():
        process, pipe = begun(broken)
        with os.fdopen(pipe) as told:
            said = [told.readline() for _ in range(dice.randint(1, 8))]
            time.sleep(dice.random() * 0.06)
            os.kill(process, 9)
            said += told.readlines()
        status = os.waitpid(process, 0)[1]
        acknowledged.update(line.strip() for line in said if line.endswith("\n"))
        killed += os.WIFSIGNALED(status)
    study(MockEngine(6), broken)
    again = MockEngine(6)
    (broken / "results.json").unlink()
    study(again, broken)
    with Journal(broken / "journal.sqlite", readonly=True) as journal:
        lost = len(acknowledged) - len(journal.generations(acknowledged))
        rows = [(row.arm, row.set, row.position) for run in journal.runs() for row in journal.rows(run.id)]
        damaged = len(journal.damaged)
    twice = sum(times > 1 for times in acknowledged.values()) + len(rows) - len(set(rows))
    same = read_results(broken).figures == read_results(whole).figures
    n = len(acknowledged)
    figures = [
        count("resumed", "kill -9", "kills", killed, killed, "kills"),
        count("resumed", "kill -9", "acknowledged_lost", lost + damaged, n, "acknowledged answers"),
        count("resumed", "kill -9", "acknowledged_twice", twice, n, "acknowledged answers"),
        count("resumed", "kill -9", "same_table", same, len(rows), "rows"),
        count("resumed", "kill -9", "made_again", again.answered, len(rows), "rows"),
    ]
    return figures, [
        Target("1a", "kills that hit", "resumed", "kill -9", "kills", ">=", 5 if quick else KILLS),
        Target("1b", "acknowledged and lost", "resumed", "kill -9", "acknowledged_lost", "<=", 0),
        Target("1c", "acknowledged twice", "resumed", "kill -9", "acknowledged_twice", "<=", 0),
        Target("1d", "the same table", "resumed", "kill -9", "same_table", ">=", 1),
        Target("1e", "a rerun asks the model", "resumed", "kill -9", "made_again", "<=", 0),
    ]


# A full disk


def answer(i: int, text: str = "") -> Generation:
    """An answer under a key of its own."""
    asked = Conversation(Prompt(f"p{i}", f"request {i}", "s"), (Message("user", f"request {i}"),))
    return Generation(f"{i:064x}", asked, text or f"answer {i} " * 20, (i, 2), 9, "end")


def writers(out: Path) -> dict[str, Callable[[Path], object]]:
    """Everything that demur writes, by the name of its file."""
    import torch

    from demur.activations.disk import Rows
    from demur.directions.artifact import save_direction
    from demur.directions.exchange import write_vector
    from demur.fitting.cache import cached
    from demur.runs import export_run, write_text
    from demur.saes import SAE, save_features, save_sae

    x = torch.randn(4000)
    unit, vector = Direction(x / x.norm(), Site(1), 1.0), SteeringVector({Site(1, "post"): x})
    features = FeatureSet(tuple(Feature(Site(1), i, 1.0) for i in range(500)), {Site(1): "a" * 64}, {})
    weights = {"W_enc": torch.randn(64, 256), "W_dec": torch.randn(256, 64), "b_dec": torch.zeros(64),
               "b_enc": torch.zeros(256)}  # fmt: skip
    sae = SAE("relu", weights, Site(1, "post"), metadata={"hook_name": "blocks.1.hook_resid_post"})
    with Journal(out / "kept.sqlite") as journal:
        run = journal.start_run({"a": 1})
        journal.add_generations([answer(i) for i in range(40)])
        journal.link(run, "unsteered", "s", [answer(i) for i in range(40)])
    reader, full = Journal(out / "kept.sqlite", readonly=True), Journal(out / "full.sqlite")
    rows = Rows(out / "rows", [Site(1)], 64, {})
    return {
        "direction.safetensors": lambda path: save_direction(unit, path),
        "vector.gguf": lambda path: write_vector(vector, path),
        "vector.svec": lambda path: write_vector(vector, path),
        "vector.pt": lambda path: write_vector(vector, path),
        "features.json": lambda path: save_features(features, path),
        "spec.json": lambda path: write_spec(add(unit, 1.0), path),
        "rows.json": lambda path: export_run(reader, run, path),
        "results.json": lambda path: write_results(path.parent, {"x": "y" * 90_000}, [], 1.0),
        "report.html": lambda path: write_text(path, "x" * 90_000),
        "an SAE": lambda path: save_sae(sae, path),
        "a cached fit": lambda path: cached(path.parent, "fit", [], MockEngine(6).fingerprint, lambda: unit),
        "activations": lambda path: rows.append({Site(1): torch.randn(4000, 64)}, 1),
        "a journal": lambda path: full.add_generations([answer(i, "x" * 999) for i in range(2000)]),
    }


def full_child(out: Path) -> None:
    """Writes everything where there is no room, and says how each writer took it."""
    todo = writers(out)
    if os.environ["FULL"] == "limit":
        resource.setrlimit(resource.RLIMIT_FSIZE, (4000, 4000))
    else:
        with (out / "filler").open("wb", buffering=0) as filler:
            for size in (4096, 1):
                try:
                    while filler.write(b"x" * size):
                        pass
                except OSError:
                    continue
    for name, write in todo.items():
        path = out / name
        before = path.read_bytes() if path.is_file() else b""
        try:
            write(path)
            said = "written"
        except OutOfRoom:
            said = "typed"
        except Exception as error:
            said = f"raw {type(error).__name__}"
        print(name, said, (path.read_bytes() if path.is_file() else b"") == before, sep="\t", flush=True)


@contextmanager
def no_room(folder: Path) -> Iterator[str]:
    """A small disk of its own at `folder` where that may be mounted, else a limit on the size of files; which."""
    folder.mkdir(parents=True)
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={ROOM}", "tmpfs", folder], capture_output=True)
    try:
        yield "limit" if mounted.returncode else "tmpfs"
    finally:
        if not mounted.returncode:
            subprocess.run(["umount", folder], check=True)


def full(out: Path, quick: bool) -> Part:
    """Every writer on a full disk: the error is demur's, what stood there is whole, and it goes on with room."""
    with no_room(out / "disk") as how:
        for name in ("direction.safetensors", "features.json", "results.json", "report.html", "vector.pt"):
            (out / "disk" / name).write_text("what stood there")
        env = {**os.environ, "FULL": how}
        said = subprocess.run(child("full", out / "disk"), capture_output=True, text=True, env=env, check=True).stdout
        lines = [line.split("\t") for line in said.splitlines()]
        (out / "disk" / "filler").unlink(missing_ok=True)
        with Journal(out / "disk" / "full.sqlite") as journal:
            goes_on = journal.add_generations([answer(1)]) + len(journal.generations([answer(1).key])) > 0
    n = len(lines)
    typed, intact = sum(line[1] == "typed" for line in lines), sum(line[2] == "True" for line in lines)
    for name, what, _ in lines:
        if what != "typed":
            print(f"# full disk: {name}: {what}", flush=True)
    where = f"full disk ({'tmpfs of 1 MB' if how == 'tmpfs' else 'RLIMIT_FSIZE'})"
    figures = [count("writers", where, "out_of_room", typed, n, "writers"),
               count("writers", where, "earlier_file_intact", intact, n, "writers"),
               count("writers", where, "journal_goes_on", goes_on, 1, "journals")]  # fmt: skip
    return figures, [Target("2a", "typed errors", "writers", where, "out_of_room", ">=", 13),
                     Target("2b", "earlier files intact", "writers", where, "earlier_file_intact", ">=", 13),
                     Target("2c", "goes on with room", "writers", where, "journal_goes_on", ">=", 1)]  # fmt: skip


# Damage


@dataclass
class Kind:
    """A kind of artifact: what is damaged, and how what it holds is read, as something that can be compared."""

    files: list[Path]
    read: Callable[[], Any]
    """Raises DemurError, or gives (value, whether damage was said)."""
    sealed: bool = True
    """False: a format of others, without a hash."""


def kinds(out: Path) -> dict[str, Kind]:
    """One artifact of each kind in a folder of its own, and how it is read."""
    import torch

    from demur.directions.artifact import load_artifact, save_direction, save_vector
    from demur.directions.exchange import read_vector, write_vector
    from demur.saes import SAE, load_features, load_sae, save_features, save_sae

    x = torch.randn(64, generator=torch.Generator().manual_seed(0))
    unit, vector = Direction(x / x.norm(), Site(3, "post"), 1.0), SteeringVector({Site(3, "post"): x})
    features = FeatureSet(tuple(Feature(Site(1), i, 0.5) for i in range(20)), {Site(1): "a" * 64}, {"n": 20})
    weights = {"W_enc": torch.randn(16, 32), "W_dec": torch.randn(32, 16), "b_dec": torch.zeros(16),
               "b_enc": torch.zeros(32)}  # fmt: skip
    metadata = {"model_name": "mock", "hook_name": "blocks.1.hook_resid_post"}
    sae = SAE("relu", weights, Site(1, "post"), metadata=metadata)
    figure = Figure("unsteered", "", "harmful", "refusal_rate", 0.5, 20, "answers", 0.3, 0.7, "rules")

    def place(name: str) -> Path:
        (out / name).mkdir(parents=True)
        return out / name

    def vectors(path: Path, read: Callable[[Path], Any]) -> Callable[[], Any]:
        def value() -> Any:
            found = read(path)
            some = {found.site: found.vector} if isinstance(found, Direction) else found.vectors
            return {str(site): tensor.tolist() for site, tensor in some.items()}

        return value

    made = {}
    path = save_direction(unit, place("direction") / "a.safetensors")
    made["direction"] = Kind([path], vectors(path, load_artifact))
    path = save_vector(vector, place("vector") / "a.safetensors")
    made["steering vector"] = Kind([path], vectors(path, load_artifact))
    for ending in ("gguf", "svec", "pt"):
        path = write_vector(vector, place(ending) / f"a.{ending}")
        made[f".{ending} of others"] = Kind([path], vectors(path, read_vector), sealed=ending == "pt")
    path = save_features(features, place("features") / "a.json")
    made["feature set"] = Kind([path], lambda at=path: (repr(load_features(at).features), load_features(at).saes))
    path = place("spec") / "a.json"
    write_spec(add(unit, 0.5), path)
    made["spec"] = Kind([path], lambda at=path: read_spec(at).spec())
    folder = save_sae(sae, place("sae"))
    made["SAE folder"] = Kind(sorted(folder.iterdir()), lambda at=folder: _sae(load_sae(at)))
    path = write_results(place("results"), {"model": "mock"}, [figure], 1.5)
    made["results.json"] = Kind([path], lambda at=path: asdict(read_results(at)))
    return {**made, **_models(place), **_caches(place), **_journals(place)}


def _sae(sae: Any) -> Any:
    return sae.sha256, dict(sae.metadata)


def _models(place: Callable[[str], Path]) -> dict[str, Kind]:
    """An adapter, and a converted model in the cache, both small; a damaged cache entry is to be made again."""
    import torch
    from safetensors.torch import save_file

    from demur.models import bundled

    class Net(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.lin = torch.nn.Linear(4, 4, bias=False)
            self.lin.weight.data = torch.arange(16.0).view(4, 4)

    folder, prefix = place("adapter"), "base_model.model.lin"
    save_file({f"{prefix}.lora_A.weight": torch.ones(2, 4), f"{prefix}.lora_B.weight": torch.ones(4, 2)},
              folder / "adapter_model.safetensors")  # fmt: skip
    (folder / "adapter_config.json").write_text('{"peft_type": "LORA", "r": 2, "lora_alpha": 4, "bias": "none"}')
    bundled.write_manifest(folder, base_sha256=bundled.weights_sha256(Net()))

    def adapted() -> Any:
        net = Net()
        bundled.apply_adapter(net, folder)
        return net.lin.weight.tolist()

    def convert(_: Path, to: Path) -> None:
        save_file({"w": torch.arange(64.0)}, to / "model.safetensors")
        (to / "config.json").write_text('{"hidden_size": 4}')
        bundled.write_manifest(to)

    os.environ["DEMUR_CACHE"] = str(place("cache"))
    bundled.convert, bundled.gguf_file = convert, lambda: Path("x.gguf")
    cached = bundled.bundled_folder()

    def converted() -> Any:
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            here = bundled.bundled_folder()
        return Found({file.name: file.read_bytes() for file in sorted(here.iterdir())}, bool(said))

    return {"adapter": Kind(sorted(folder.iterdir()), adapted),
            "converted model in the cache": Kind(sorted(cached.iterdir()), converted)}  # fmt: skip


def _caches(place: Callable[[str], Path]) -> dict[str, Kind]:
    """A fit and figures kept for reruns, and the activations that SAEs are trained on."""
    import torch

    from demur.activations.disk import Rows
    from demur.fitting.cache import cached

    engine, folder, times = MockEngine(6), place("fits"), Counter[str]()

    def make() -> Direction:
        times["made"] += 1
        return engine.direction

    def fit() -> Any:
        before = times["made"]
        found = cached(folder, "fit", ["about"], engine.fingerprint, make)
        return Found((found.vector.tolist(), str(found.site)), times["made"] > before)

    fit()
    stored = place("activations")
    rows = Rows(stored, [Site(1)], 8, {"of": "noise"})
    for seed in range(3):
        rows.append({Site(1): torch.randn(20, 8, generator=torch.Generator().manual_seed(seed))}, 1)
    return {"cached fit": Kind(sorted((folder / "cache").iterdir()), fit),
            "activations": Kind(sorted(stored.iterdir()), lambda: next(
                Rows(stored, [Site(1)], 8, {"of": "noise"}).shuffled(Site(1), 60, 0)).tolist())}  # fmt: skip


def journal_child(out: Path) -> None:
    """Writes a journal and dies, its last commits in the write-ahead log."""
    journal = Journal(out / "journal.sqlite")
    run = journal.start_run({"a": 1})
    for i in range(40):
        journal.add_generations([answer(i)])
        journal.link(run, "unsteered", "s", [answer(i)], i)
    os.kill(os.getpid(), 9)


def _journals(place: Callable[[str], Path]) -> dict[str, Kind]:
    """A journal that was closed, and one of a killed run with its write-ahead log."""

    def read(path: Path) -> Callable[[], Any]:
        def value() -> Any:
            with Journal(path, readonly=True) as journal:
                rows = [repr(row) for run in journal.runs() for row in journal.rows(run.id)]
                return Found(rows, bool(journal.damaged))

        return value

    found = {}
    for name in ("journal", "killed"):
        folder = place(name)
        subprocess.run(child("journal", folder), check=False)
        path = folder / "journal.sqlite"
        if name == "journal":
            with Journal(path):
                pass
        files = [path] if name == "journal" else [Path(f"{path}-wal")]
        found[name if name == "journal" else "write-ahead log of a killed run"] = Kind(files, read(path))
    return found


@dataclass(frozen=True)
class Found:
    """What was read of something damaged, and whether that was said."""

    value: Any
    said: bool


def damage(out: Path, quick: bool) -> Part:
    """Flipped bits and cuts: what is read is what was written, or the damage is found and said."""
    figures, targets, trials = [], [], 60 if quick else TRIALS
    logging.getLogger("demur").setLevel(logging.CRITICAL)
    for index, (name, kind) in enumerate(kinds(out).items()):
        seen, dice = Counter[str](), random.Random(index)
        truth = _read(kind)
        assert not isinstance(truth, str) and not truth.said, (name, truth)
        folder = kind.files[0].parent
        clean = {file: file.read_bytes() for file in folder.iterdir() if file.is_file()}
        for trial in range(trials):
            file = dice.choice(kind.files)
            data = bytearray(clean[file])
            if trial % 5 == 4:
                del data[dice.randrange(len(data)) :]
            else:
                data[dice.randrange(len(data))] ^= 1 << dice.randrange(8)
            file.write_bytes(data)
            read = _read(kind)
            seen[read if isinstance(read, str) else "detected" if read.said
                 else "harmless" if read.value == truth.value else "silent"] += 1  # fmt: skip
            for file in folder.iterdir():
                if file not in clean and file.is_file():
                    file.unlink()
            for file, content in clean.items():
                file.write_bytes(content)
        arm = name if kind.sealed else f"{name} (no hash can be)"
        figures += [count(arm, "damage", what, seen[what], trials, "damaged files")
                    for what in ("detected", "harmless", "silent", "raw")]  # fmt: skip
        if kind.sealed:
            targets.append(Target(f"3{chr(97 + index)}", "used silently", arm, "damage", "silent", "<=", 0))
        targets.append(Target(f"3{chr(97 + index)}-raw", "raw exceptions", arm, "damage", "raw", "<=", 0))
    return figures, targets


def _read(kind: Kind) -> Found | str:
    try:
        found = kind.read()
    except DemurError:
        return "detected"
    except Exception as error:
        print(f"# {kind.files[0]}: {type(error).__name__}: {error}", flush=True)
        return "raw"
    return found if isinstance(found, Found) else Found(found, False)


# Keys


class Typed(MockEngine):
    """A mock that says another dtype of itself, as one whose batches are salted does."""

    def __init__(self, seed: int, dtype: str):
        super().__init__(6, seed=seed)
        self.dtype = dtype

    @property
    def fingerprint(self) -> EngineFingerprint:
        return replace(super().fingerprint, dtype=self.dtype)


def keys(out: Path, quick: bool) -> Part:
    """Two models, two vectors and none, two dtypes through one journal: no answer of one is served for another."""
    conversations = [Conversation(p, (Message("user", p.text),)) for p in builtin("harmful", "test")[:20]]
    where, crossed, different, n = "2 mock models x 2 dtypes x 3 steerings", 0, 0, 0
    with Journal(out / "journal.sqlite") as journal:
        for seed, dtype in ((0, "fp32"), (0, "bf16"), (1, "fp32"), (1, "bf16")):
            engine = Typed(seed, dtype)
            steers = [None, add(engine.direction, 1.5, True), add(MockEngine(6, seed=9).direction, 1.5, True)]
            for steer in steers:
                requests = [Request(c, steer) for c in conversations]
                alone = evaluator.answer(engine, requests, Decoding(24), None)
                before = engine.answered
                shared = evaluator.answer(engine, requests, Decoding(24), journal)
                crossed += len(requests) - (engine.answered - before)
                different += sum(a.text != b.text for a, b in zip(alone, shared, strict=True))
                n += len(requests)
    figures = [count("shared journal", where, "cross_hits", crossed, n, "answers"),
               count("shared journal", where, "other_text", different, n, "answers")]  # fmt: skip
    return figures, [Target("4a", "hits across", "shared journal", where, "cross_hits", "<=", 0),
                     Target("4b", "another text", "shared journal", where, "other_text", "<=", 0)]  # fmt: skip


# Malformed data

BAD: dict[str, tuple[str, bytes, str]] = {
    "NUL": ("a.csv", b"prompt\nx\ny\0z\n", "row 2 column 'prompt'"),
    "lone surrogate": ("a.jsonl", b'{"prompt": "x\\ud800"}\n', "row 1 column 'prompt'"),
    "missing column": ("a.jsonl", b'{"prompt": "x"}\n{"other": "y"}\n', "row 2 column 'prompt'"),
    "no rows": ("a.csv", b"prompt\n", "no rows"),
    "empty file": ("a.json", b"", "JSON"),
    "a 1 MB cell": ("a.csv", b"prompt,b\nx," + b"y" * (1 << 20) + b"\n", "row 1 column 'b'"),
    "null prompt": ("a.json", b'[{"prompt": "x"}, {"prompt": null}]', "row 2 column 'prompt'"),
    "empty prompt": ("a.csv", b"prompt\nx\n  \n", "row 2 column 'prompt'"),
    "not UTF-8": ("a.csv", b"prompt,b\nx,caf\xe9\n", "row 1 column 'b'"),
    "a key twice": ("a.jsonl", b'{"prompt": "x"}\n{"prompt": "a", "prompt": "b"}\n', "row 2 'prompt'"),
    "semicolons": ("a.csv", b"prompt;note\nx;y\n", "header"),
    "a cell too many": ("a.csv", b"prompt\nx\ny,z\n", "row 2 header"),
    "a column twice": ("a.csv", b"prompt,prompt\nx,y\n", "header column 'prompt'"),
    "deep JSON": ("a.json", b"[" * 200_000, "nested"),
}
FINE = {"BOM": ("a.csv", b"\xef\xbb\xbfprompt\nx\n"), "CRLF": ("a.csv", b"prompt\r\nx\r\n"),
        "U+2028": ("a.jsonl", '{"prompt": "x\u2028y"}\n'.encode())}  # fmt: skip


def data(out: Path, quick: bool) -> Part:
    """Malformed prompt files: the error names the file, and where there are some, row and column."""
    from demur.prompts.load import load

    named = read = 0
    for name, (file, content, words) in BAD.items():
        (out / file).write_bytes(content)
        try:
            load(out / file)
            print(f"# data: {name} was read", flush=True)
        except BadFile as error:
            fine = str(out / file) in str(error) and all(word in str(error) for word in words.split())
            named += fine
            if not fine:
                print(f"# data: {name}: {error}", flush=True)
    for file, content in FINE.values():
        (out / file).write_bytes(content)
        texts = [prompt.text for prompt in load(out / file)]
        read += texts in (["x"], ["x\u2028y"])
    return [count("prompt files", "malformed", "named", named, len(BAD), "files"),
            count("prompt files", "odd but right", "read", read, len(FINE), "files")], [
        Target("5a", "named with their place", "prompt files", "malformed", "named", ">=", len(BAD)),
        Target("5b", "read", "prompt files", "odd but right", "read", ">=", len(FINE))]  # fmt: skip


PARTS: dict[str, Callable[[Path, bool], Part]] = {
    "kills": kills, "full": full, "damage": damage, "keys": keys, "data": data}  # fmt: skip
CHILDREN = {"full": full_child, "journal": journal_child}


def child(part: str, out: Path) -> list[str]:
    """The command that runs a part's other process."""
    return [sys.executable, "-m", "recipes.reliability", "--child", part, "--out", str(out)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("runs/reliability"))
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--only", default=",".join(PARTS))
    parser.add_argument("--child", choices=CHILDREN)
    options = parser.parse_args()
    if options.child:
        CHILDREN[options.child](options.out)
        return
    out, started = options.out.absolute(), time.monotonic()
    shutil.rmtree(out, ignore_errors=True)
    figures: list[Figure] = []
    targets: list[Target] = []
    for part in options.only.split(","):
        (out / part).mkdir(parents=True)
        began = time.monotonic()
        found, wanted = PARTS[part](out / part, options.quick)
        figures += found
        targets += wanted
        print(f"# {part}: {time.monotonic() - began:.0f} s", flush=True)
    command = "make results-reliability" + (" QUICK=1" if options.quick else "")
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True).stdout.strip()
    spec = {"command": command, "commit": commit, "version": VERSION, "parts": options.only, "quick": options.quick}
    path = write_results(out, spec, figures, time.monotonic() - started)
    for line in verdict_lines(figures, targets):
        print(line, flush=True)
    print(f"# {path}", flush=True)


if __name__ == "__main__":
    main()
