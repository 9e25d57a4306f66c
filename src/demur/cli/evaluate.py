"""`demur evaluate`: any prompts, under attacks, unsteered and steered."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from demur.cli.show import STEER, console, outcome_table, progress
from demur.prompts.builtin import SETS


def evaluate(
    model: Annotated[str, typer.Argument(help="A name, a folder or a hub id.")],
    prompts: Annotated[str, typer.Option(help="A set's name, or FILE[:COLUMN].")],
    out: Annotated[Path, typer.Option(help="Folder for results.json, report.html and the journal.")],
    attacks: Annotated[str, typer.Option(help="Comma-separated; plain is always there.")] = "",
    steer: Annotated[str, typer.Option(help=STEER)] = "",
    use: Annotated[str, typer.Option(help="organism, fit, validation or test; built-in sets: test.")] = "",
    limit: Annotated[int | None, typer.Option(min=1, help="Only the first N prompts.")] = None,
    max_new_tokens: Annotated[int, typer.Option(min=1)] = 48,
    dtype: Annotated[str, typer.Option(help="auto, fp32 or bf16.")] = "auto",
) -> None:
    """Outcome rates of a prompt set, plain and attacked, unsteered and steered. Resumes when run again."""
    spec = {
        "job": "evaluate",
        "model": model,
        "prompts": prompts,
        "attacks": [name.strip() for name in attacks.split(",") if name.strip()],
        "steer": steer,
        "use": use or ("test" if prompts in SETS else ""),
        "limit": limit,
        "max_new_tokens": max_new_tokens,
        "dtype": dtype,
    }
    run_spec(spec, out)


def run_spec(spec: dict[str, Any], out: Path) -> None:
    """Run (or go on with) the evaluation that a spec describes."""
    from demur.attacks import get
    from demur.engines.hf import HFEngine
    from demur.experiments.evaluate import evaluate as run_evaluation
    from demur.interventions import parse_steer
    from demur.prompts.load import load

    wraps = {name: get(name) for name in dict.fromkeys(["plain", *spec["attacks"]])}
    rows = load(spec["prompts"], spec.get("use") or None, spec["limit"])
    engine = HFEngine(spec["model"], spec["dtype"])
    steer = parse_steer(spec["steer"], engine.fingerprint.weights) if spec["steer"] else None
    if steer is not None:
        engine.check(steer)
    with progress() as bar:
        figures, seconds, made = run_evaluation(engine, rows, wraps, steer, spec, out, bar)
    console.print(outcome_table(figures, f"{spec['prompts']}: share of each outcome [95% interval]"))
    console.print(f"{seconds:.0f} s, {made} answers generated. Open {out / 'report.html'}.")
