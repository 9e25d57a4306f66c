"""`demur quickstart`: the main job on the bundled model."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from demur.cli.show import console, outcome_table, progress


def quickstart(
    out: Annotated[Path, typer.Option(help="Where results.json, report.html and the journal go.")] = Path(
        "runs/quickstart"
    ),
    model: Annotated[str, typer.Option(help="A name, a folder or a hub id.")] = "smollm2-refuser",
    dtype: Annotated[str, typer.Option(help="auto, fp32 or bf16.")] = "auto",
    full: Annotated[bool, typer.Option(help="All prompts and candidates instead of the coarse grid.")] = False,
) -> None:
    """Measure a chat model's refusal, find its direction, steer it, and show what that does."""
    from demur.engines.hf import HFEngine
    from demur.experiments.baseline import size_for
    from demur.experiments.quickstart import run_study

    console.print(f"Loading {model} ...")
    engine = HFEngine(model, dtype)
    with progress() as bar:
        done = run_study(engine, out, model, size_for(model, full), progress=bar)
    for line in done.summary:
        console.print(f"- {line}", highlight=False)
    console.print(outcome_table(done.figures, "Held-out test prompts: share of each outcome [95% interval]"))
    grid = "every candidate" if full else "a coarse grid: every 3rd layer, the last position"
    console.print(f"{done.seconds:.0f} s ({done.generated} answers generated; direction chosen among {grid}).")
    console.print(f"Open {out / 'report.html'}; figures in {out / 'results.json'}.")
