"""The options that commands share: one name, one meaning, one help."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from demur.cli.choices import Dtype as Dtypes
from demur.cli.choices import attack_names, one_of

if TYPE_CHECKING:
    from demur.prompts.sets import PromptSets

OWN = "Your own prompts"
SIZES = "How much of everything"
SEARCH = "How the direction is searched for"
STEER = (
    "OP:FILE, OP:FILE:NUMBER or OP:FILE:NUMBERr, FILE being a direction or a vector in any format (.safetensors, "
    ".gguf, .svec, .pt) or a feature set (.json), r: in units of the stream's norm. add:FILE:0.3r adds it, ablate:FILE "
    "removes a direction at every layer, scale:FILE:0.5 halves its component; of a feature set, clamp:FILE:0.3r holds "
    "the latents there, suppress:FILE silences them. Or a spec (.json)."
)
"""What --steer takes. No brackets: the help would read them as markup."""

Model = Annotated[str, typer.Argument(help="A name (see `demur models`), a folder or a hub id.")]
Dtype = Annotated[Dtypes, typer.Option(help="What the model computes in.", **one_of(Dtypes, "dtype"))]
NewTokens = Annotated[int, typer.Option("--max-new-tokens", min=1, help="Length of an answer at most.")]
Toward = Annotated[Path | None, typer.Option("--direction", help="The refusal direction's file; fitted when left out.")]
Saes = Annotated[list[str], typer.Option("--sae", help="A folder or bundled name; repeat. Default: the bundled ones.")]
Steer = Annotated[str, typer.Option(help=STEER)]
Attacks = Annotated[str, typer.Option(callback=attack_names, metavar="A,B", help="Attack families, with commas.")]
Verbose = Annotated[bool, typer.Option("--verbose", help="Print the long table of outcomes too.")]

Harmful = Annotated[
    str | None,
    typer.Option(
        metavar="FILE",
        rich_help_panel=OWN,
        help="Harmful prompts, as FILE or FILE:COLUMN (.csv, .json, .jsonl, .parquet); built-in ones when left out.",
    ),
]
Harmless = Annotated[
    str | None,
    typer.Option(metavar="FILE", rich_help_panel=OWN, help="Harmless prompts; built-in ones when left out."),
]
Borderline = Annotated[
    str | None,
    typer.Option(
        metavar="FILE", rich_help_panel=OWN, help="Harmless prompts that sound harmful, to measure over-refusal."
    ),
]

LayerStep = Annotated[
    int | None, typer.Option(min=1, rich_help_panel=SEARCH, help="Only every n-th layer. Default: every layer.")
]
Candidates = Annotated[
    int | None,
    typer.Option(
        min=0,
        rich_help_panel=SEARCH,
        help="How many candidates are ablated, those first that tell harmful from harmless prompts best; 0: all, many "
        "times slower. Default: 16.",
    ),
]
MaxKl = Annotated[
    float | None,
    typer.Option(
        rich_help_panel=SEARCH,
        help="Largest KL on harmless prompts under ablation, nats. Default: 0.1.",
    ),
]
MinInduced = Annotated[
    float | None,
    typer.Option(
        rich_help_panel=SEARCH,
        help="Least refusal score of harmless prompts when it is added. Default: 0.",
    ),
]


def own_prompts(harmful: str | None, harmless: str | None, borderline: str | None = None) -> PromptSets | None:
    """The sets of the user's own files, divided into uses and checked; None where none is given."""
    if harmful is None and harmless is None and borderline is None:
        return None
    from demur.prompts import own_sets

    return own_sets(harmful or "harmful", harmless or "plain", borderline)
