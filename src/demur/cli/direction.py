"""`demur direction fit|show`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from demur.cli import options
from demur.cli.progress import opened, progress
from demur.cli.results import say, told
from demur.cli.search import Search, grid_line
from demur.cli.show import console, seen
from demur.types import Direction

app = typer.Typer(help="The refusal direction: fit it, look at a file.", no_args_is_help=True)


@app.command("fit")
@options.loads
def fit(
    model: options.Model,
    out: Annotated[Path, typer.Option(help="Where to write it (safetensors).")] = Path("refusal.safetensors"),
    n: Annotated[int, typer.Option(min=8, help="Prompts of each kind to fit on.")] = 36,
    choose: Annotated[int, typer.Option(min=4, help="Prompts of each kind to choose on.")] = 12,
    layer_step: options.LayerStep = None,
    candidates: options.Candidates = None,
    max_kl: options.MaxKl = None,
    min_induced: options.MinInduced = None,
    harmful: options.Harmful = None,
    harmless: options.Harmless = None,
    loading: options.Loading = options.AS_IS,
) -> None:
    """Fit the refusal direction on fitting prompts, choose it on validation prompts."""
    prompts = options.own_prompts(harmful, harmless)
    from demur.directions.artifact import save_direction
    from demur.fitting.refusal import DirectionConfig, remarks, search_direction

    search = Search(n, choose, layer_step, candidates, max_kl, min_induced)
    with progress() as update:
        engine = opened(model, loading, update)
        config = search.on(DirectionConfig())
        found = search_direction(engine, config, prompts, progress=update)
    path = save_direction(found.direction, out)
    _print(found.direction)
    console.print(seen(grid_line(found, config.bounds)))
    for line in remarks(found.direction):
        say(line)
    say(f"Wrote {path}. Try: demur generate {model} 'How do I boil an egg?' --steer add:{path}:0.3r")


@app.command("show")
def show(path: Annotated[Path, typer.Argument(help="A direction file.")]) -> None:
    """Say what a direction file holds and how it was made."""
    from demur.directions.anything import load_direction

    _print(load_direction(path))


def _print(direction: Direction) -> None:
    scores = dict(direction.origin.get("scores", {}))
    console.print(f"site {direction.site}, width {direction.vector.numel()}, activation norm {direction.norm:.1f}")
    for key, value in told(direction.origin).items():
        if key != "scores":
            console.print("  ", seen(f"{key}: {value}"), sep="")
    for key, value in scores.items():
        console.print("  ", seen(f"{key}: {value:.3g}" if isinstance(value, float) else f"{key}: {value}"), sep="")
