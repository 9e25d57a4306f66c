"""`demur generate`: one prompt, unsteered and steered side by side."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.columns import Columns
from rich.panel import Panel
from rich.text import Text

from demur.cli import options
from demur.cli.choices import attack_names
from demur.cli.progress import opened, progress
from demur.cli.show import console, seen
from demur.errors import InputError

SAMPLING = "Sampling"


@options.loads
def generate(
    model: options.Model,
    prompt: Annotated[str, typer.Argument(help="What the user says.")],
    steer: options.Steer = "",
    attack: Annotated[str, typer.Option(callback=attack_names, help="Put the prompt through an attack.")] = "direct",
    new_tokens: options.NewTokens = 96,
    temperature: Annotated[float, typer.Option(min=0.0, rich_help_panel=SAMPLING, help="0 is greedy.")] = 0.0,
    top_p: Annotated[
        float,
        typer.Option(min=0.0, max=1.0, rich_help_panel=SAMPLING, help="Only the likeliest tokens of so much mass."),
    ] = 1.0,
    seed: Annotated[int, typer.Option(rich_help_panel=SAMPLING, help="The same seed gives the same answer.")] = 0,
    loading: options.Loading = options.AS_IS,
) -> None:
    """Answer a prompt, unsteered and steered side by side."""
    if not prompt.strip():
        raise InputError("the prompt is empty; give it a text.")
    from demur.attacks import get
    from demur.engines.base import Request
    from demur.interventions import parse_steer
    from demur.reports.layout import visible
    from demur.types import Decoding, Prompt

    if steer:
        parse_steer(steer)  # what cannot be read is found before a model is loaded
    conversation = get(attack).apply(Prompt("prompt", prompt, "command line"))
    with progress() as update:
        engine = opened(model, loading, update)
        requests = [Request(conversation)]
        if steer:
            requests.append(Request(conversation, parse_steer(steer, engine.fingerprint.weights), "steered"))
        answers = engine.generate(requests, Decoding(new_tokens, temperature, top_p, seed))
    panels = []
    for answer in answers:
        text = visible(answer.text) + (" ..." if answer.finish == "length" else "")
        panels.append(Panel(Text(text), title=seen(answer.arm), width=console.width // len(requests) - 2))
    console.print(Columns(panels, equal=True))
