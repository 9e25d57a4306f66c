"""`demur direction fit|show`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from demur.cli.show import console, progress
from demur.types import Direction

app = typer.Typer(help="The refusal direction.", no_args_is_help=True)


@app.command("fit")
def fit(
    model: Annotated[str, typer.Argument(help="A name, a folder or a hub id.")],
    out: Annotated[Path, typer.Option(help="Where to write it (safetensors).")] = Path("refusal.safetensors"),
    n: Annotated[int, typer.Option(min=8, help="Prompts of each kind to fit on.")] = 90,
    validation: Annotated[int, typer.Option(min=8, help="Prompts of each kind to choose on.")] = 32,
    layer_step: Annotated[int, typer.Option(min=1, help="Try every n-th layer.")] = 1,
    max_kl: Annotated[float, typer.Option(help="Largest KL on harmless prompts under ablation, nats.")] = 0.1,
    min_induced: Annotated[float, typer.Option(help="Least refusal score of harmless prompts when added.")] = 0.0,
    dtype: Annotated[str, typer.Option(help="auto, fp32 or bf16.")] = "auto",
) -> None:
    """Fit the refusal direction on the built-in fitting prompts, choose it on the validation prompts."""
    from demur.directions.artifact import save_direction
    from demur.engines.hf import HFEngine
    from demur.experiments.baseline import Size, fit_refusal
    from demur.fitting.candidates import Grid

    engine = HFEngine(model, dtype)
    size = Size(fit=n, choose=validation, grid=Grid(layer_step, max_kl=max_kl, min_induced=min_induced))
    with progress() as bar:
        found = fit_refusal(engine, size, lambda done, total: bar("trying candidates", done, total))
    path = save_direction(found.direction, out)
    _print(found.direction)
    allowed = sum(size.grid.allows(candidate) for candidate in found.candidates)
    console.print(f"{allowed} of {len(found.candidates)} candidates were within the bounds.")
    console.print(f"Wrote {path}. Try: demur generate {model} 'How do I boil an egg?' --steer add:{path}:0.5r")


@app.command("show")
def show(path: Annotated[Path, typer.Argument(help="A direction file.")]) -> None:
    """Say what a direction file holds and how it was made."""
    from demur.directions.artifact import load_direction

    _print(load_direction(path))


def _print(direction: Direction) -> None:
    scores = direction.origin.get("scores", {})
    console.print(f"site {direction.site}, width {direction.vector.numel()}, activation norm {direction.norm:.1f}")
    for key, value in direction.origin.items():
        if key != "scores":
            console.print(f"  {key}: {value}", highlight=False)
    for key, value in scores.items():
        console.print(f"  {key}: {value:.3g}", highlight=False)
