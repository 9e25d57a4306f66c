"""What the results recipes share: running parts into folders, and tests as a figure."""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from pathlib import Path

import torch

import demur
from demur.errors import InputError
from demur.runs import write_results
from demur.types import Figure
from recipes.targets import Target, verdict_lines

KEPT = Path(__file__).parent.parent / "results"
Part = tuple[list[Figure], list[Target]]
"""What a part measured, and what it is held against."""


def say(phase: str, done: int, total: int) -> None:
    """Progress on stderr."""
    print(f"\r{phase} {done}/{total}   ", end="", file=sys.stderr, flush=True)


def run_parts(
    doc: str | None,
    name: str,
    model: str,
    parts: Mapping[str, Callable[[Path, bool], Part]],
    missing: Callable[[str], str] = lambda _part: "",
    default: str = "",
    kept: Mapping[str, str] | None = None,
) -> None:
    """The command line of a results recipe: each part's results.json under --out, a line for every target.

    missing: what a part needs that is not there, or ""; such a part is left out, and said. default: the parts that run
    where none are named, all when left out. kept: part -> the name under which --keep copies its results.json to
    results/, where the tables in docs/ come from.
    """
    parser = argparse.ArgumentParser(description=doc)
    parser.add_argument("--out", type=Path, default=Path("runs") / name)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--keep", action="store_true", help="copy each part's results.json to results/")
    parser.add_argument("--only", default=default or ",".join(parts))
    options = parser.parse_args()
    if options.keep and options.quick:
        parser.error("what --quick measures is too little to be kept in results/; leave one out.")
    out = options.out.with_name(options.out.name + ("-quick" if options.quick else ""))
    for part in options.only.split(","):
        if lacks := missing(part):
            print(f"# part {part} {lacks}", flush=True)
            continue
        started, folder = time.monotonic(), out / f"part-{part}"
        folder.mkdir(parents=True, exist_ok=True)
        figures, targets = parts[part](folder, options.quick)
        spec = {"part": part, "quick": options.quick, "model": model, "version": demur.__version__,
                "torch": torch.__version__, "command": f"make {name}, part {part}", "commit": commit()}  # fmt: skip
        written = write_results(folder, spec, figures, time.monotonic() - started)
        if options.keep and kept and part in kept:
            shutil.copyfile(written, KEPT / f"{kept[part]}.json")
        print("\r", end="", file=sys.stderr)
        for line in verdict_lines(figures, targets):
            print(line, flush=True)
        print(f"# part {part}: {time.monotonic() - started:.0f} s", flush=True)


def commit() -> str:
    """The commit that is measured, short; with a + where files were changed since."""
    done = subprocess.run(["git", "describe", "--always", "--dirty=+"], capture_output=True, text=True)
    return done.stdout.strip()


def tests_run(arm: str, name: str, paths: Sequence[str]) -> list[Figure]:
    """How many of the tests at `paths` passed, failed and were left out."""
    done = subprocess.run([sys.executable, "-m", "pytest", *paths, "-p", "no:cacheprovider"],
                          capture_output=True, text=True)  # fmt: skip
    words = done.stdout.replace(",", " ").split()
    count = {word: next((int(a) for a, b in pairwise(words) if b == word), 0)
             for word in ("passed", "failed", "skipped")}  # fmt: skip
    total = sum(count.values())
    if not total:
        raise InputError(f"pytest ran no test of {', '.join(paths)}: {done.stderr[-300:] or done.stdout[-300:]}")
    return [Figure(arm, "", name, word, value, total, "tests", value, value) for word, value in count.items()]
