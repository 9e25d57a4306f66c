"""`demur generate`: one prompt, unsteered and steered side by side."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.columns import Columns
from rich.panel import Panel
from rich.text import Text

from demur.cli.show import STEER, console


def generate(
    model: Annotated[str, typer.Argument(help="A name (see `demur models`), a folder or a hub id.")],
    prompt: Annotated[str, typer.Argument(help="What the user says.")],
    steer: Annotated[str, typer.Option(help=STEER)] = "",
    attack: Annotated[str, typer.Option(help="Put the prompt through an attack first.")] = "plain",
    max_new_tokens: Annotated[int, typer.Option(min=1)] = 96,
    temperature: Annotated[float, typer.Option(min=0.0, help="0 is greedy.")] = 0.0,
    top_p: Annotated[float, typer.Option(min=0.0, max=1.0)] = 1.0,
    seed: int = 0,
    dtype: Annotated[str, typer.Option(help="auto, fp32 or bf16.")] = "auto",
) -> None:
    """Answer a prompt, unsteered and steered side by side."""
    from demur.attacks import get
    from demur.engines.base import Request
    from demur.engines.hf import HFEngine
    from demur.errors import InputError
    from demur.interventions import parse_steer
    from demur.types import Decoding, Prompt

    if not prompt.strip():
        raise InputError("the prompt is empty; give it a text.")
    wrap = get(attack).apply
    engine = HFEngine(model, dtype)
    conversation = wrap(Prompt("prompt", prompt, "command line"))
    requests = [Request(conversation)]
    if steer:
        intervention = parse_steer(steer, engine.fingerprint.weights)
        requests.append(Request(conversation, intervention, "steered"))
    decoding = Decoding(max_new_tokens, temperature, top_p, seed)
    panels = []
    for answer in engine.generate(requests, decoding):
        more = " ..." if answer.finish == "length" else ""
        panels.append(Panel(Text(answer.text + more), title=answer.arm, width=console.width // len(requests) - 2))
    console.print(Columns(panels, equal=True))
