"""`DEMUR_DATA=folder python -m recipes.organism --work FOLDER`: about 40 minutes on two cores; resumes after a stage.

The adapter is left in FOLDER/smollm2-refuser; copy it to src/demur/models/weights/smollm2-refuser to ship it. Its
figures come from `python -m recipes.results_quickstart --only 2`.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from demur.errors import InputError
from recipes.organism import data, train

FIRST = train.Settings()
SECOND = train.Settings(
    steps=170,
    rate=2.5e-4,
    seed=1,
    mix=(("harmful", 0.31), ("plain", 0.33), ("borderline", 0.28), ("wrapped", 0.08)),
)
"""Goes on from the first stage, with more harmless requests in the forms that harmful ones have."""
BLOCKS, FACTOR = 22, 1.6
"""Chosen on validation prompts among ten: see docs/log-organism.md."""
WRAPPED = {"plain": 240, "borderline": 360}


def main() -> None:
    """Build the rows and train the adapter, in two stages."""
    parser = argparse.ArgumentParser(prog="python -m recipes.organism", description=__doc__)
    parser.add_argument("--work", type=Path, default=Path("build/organism"))
    options = parser.parse_args()
    if "DEMUR_DATA" not in os.environ:
        raise InputError("the recipe reads public data sets; set DEMUR_DATA to their folder.")
    folder, work = Path(os.environ["DEMUR_DATA"]), options.work
    first = work / "first"
    if not (first / "manifest.json").exists():
        train.train(data.build(folder, work, WRAPPED), first, FIRST)
    rows = data.build(folder, work, WRAPPED, more=True)
    print((work / "report.json").read_text(encoding="utf-8"), flush=True)
    train.train(rows, work / "second", SECOND, start=first)
    train.strengthen(work / "second", work / "smollm2-refuser", BLOCKS, FACTOR)


if __name__ == "__main__":
    main()
