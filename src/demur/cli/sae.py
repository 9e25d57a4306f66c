"""`demur sae train|check|convert`."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from demur.cli import options
from demur.cli.choices import SaeKind, one_of, parts
from demur.cli.progress import opened, progress
from demur.cli.results import say
from demur.cli.show import console, seen
from demur.errors import BadFile, MissingExtra

app = typer.Typer(help="Sparse autoencoders: train, check, convert.", no_args_is_help=True)

READ = "What is read"
TRAINING = "How it is trained"
Texts = Annotated[
    list[Path], typer.Option("--text", rich_help_panel=READ, help="A plain text file to read (.gz too); repeat.")
]
Chats = Annotated[
    str,
    typer.Option(
        metavar="A,B",
        rich_help_panel=READ,
        help="Prompt sets whose chats (the model's own answers) are read too, with commas.",
    ),
]
Begin = Annotated[
    str | None,
    typer.Option(rich_help_panel=READ, help="What each window of text begins with, to hold massive activations there."),
]


@app.command("train")
@options.loads
def train(
    model: options.Model,
    site: Annotated[list[str], typer.Option(metavar="LAYER.POINT", help="Where, as 19.post; repeat for several.")],
    out: Annotated[Path, typer.Option(help="A folder; each SAE gets a folder of its site's name in it.")],
    text: Texts = [],  # noqa: B006
    chats: Chats = "",
    begin: Begin = None,
    d_sae: Annotated[int, typer.Option(min=1, rich_help_panel=TRAINING, help="Number of latents.")] = 4608,
    k: Annotated[int, typer.Option(min=1, rich_help_panel=TRAINING, help="Active latents a token.")] = 62,
    kind: Annotated[
        SaeKind, typer.Option(rich_help_panel=TRAINING, help="Kind of SAE.", **one_of(SaeKind, "kind of SAE"))
    ] = SaeKind.JUMPRELU,
    tokens: Annotated[
        int, typer.Option(min=1, rich_help_panel=TRAINING, help="Tokens to train on; short text is read again.")
    ] = 3_000_000,
    batch: Annotated[int, typer.Option(min=1, rich_help_panel=TRAINING, help="Tokens a step.")] = 512,
    lr: Annotated[float, typer.Option(min=0, rich_help_panel=TRAINING, help="Highest learning rate.")] = 1.2e-3,
    seed: Annotated[
        int, typer.Option(rich_help_panel=TRAINING, help="Of the weights and the order of the tokens.")
    ] = 0,
    loading: options.Loading = options.AS_IS,
) -> None:
    """Collect a model's activations on text and chats, and train an SAE at each site. Broken off, it goes on."""
    if find_spec("sae_lens") is None:
        raise MissingExtra("training an SAE needs sae-lens; install it with: pip install 'demur[train]'.")
    _check_readable(text, chats)
    import random

    from demur.interventions import parse_site
    from demur.sae_training.data import collect, passages
    from demur.sae_training.train import Training, expected_seconds, train_sae

    sites = list(dict.fromkeys(map(parse_site, site)))
    training = Training(kind=kind.value, d_sae=d_sae, k=k, tokens=tokens, batch=batch, lr=lr, seed=seed)
    kept = f"activations and checkpoints are kept in {out}; run the same command again and it goes on."
    with progress() as update:
        engine = opened(model, loading, update)
        engine.check_sites(sites)
    minutes = len(sites) * expected_seconds(engine.d_model, training) / 60
    say(f"Training on {tokens:,} tokens will take about {max(1, round(minutes))} min here, after they are read.")
    with progress(kept) as update:
        read = passages(engine, text, parts(chats), "fit", update, begin=_unescaped(begin))
        rows = [row for part in read.values() for row in part]
        random.Random(0).shuffle(rows)
        stored = collect(engine, rows, sites, out / "activations", tokens, update)
        made = [train_sae(stored, place, training, out / str(place), model,
                          lambda done, total, place=place: update(f"training {place}", done, total))
                for place in sites]  # fmt: skip
    for place, sae in zip(sites, made, strict=True):
        say(f"Wrote {out / str(place)}: {sae.kind}, {sae.d_sae} latents, sha256 {sae.sha256[:12]}.")
    say(f"Check it on text it never saw: demur sae check {model} {out / str(sites[0])} --text FILE")


@app.command("check")
@options.loads
def check(
    model: options.Model,
    sae: Annotated[list[str], typer.Argument(help="Folders, hub ids, or names of bundled SAEs.")],
    text: Texts = [],  # noqa: B006
    chats: Chats = "plain,harmful",
    begin: Begin = None,
    scored: Annotated[int, typer.Option(min=100, help="Tokens of each set whose cross-entropy is taken.")] = 20_000,
    out: Annotated[Path | None, typer.Option(help="A folder for results.json.")] = None,
    other_model: Annotated[bool, typer.Option("--other-model", help="The SAE was trained on another model.")] = False,
    loading: options.Loading = options.AS_IS,
) -> None:
    """The quality card: L0, variance explained, cross-entropy recovered, dead latents, on held-out text and chats."""
    _check_readable(text, chats)
    import time

    from demur.runs import write_results
    from demur.sae_training.data import passages
    from demur.sae_training.quality import quality
    from demur.saes import load_sae

    started = time.monotonic()
    saes = [load_sae(name) for name in sae]
    with progress() as update:
        engine = opened(model, loading, update)
        sets = passages(engine, text, parts(chats), "test", update, begin=_unescaped(begin))
        cards = quality(engine, saes, sets, scored=scored, progress=update, other_model=other_model)
    table = Table()
    for name in ("SAE", "set", "tokens", "L0", "variance explained", "CE recovered", "CE clean", "spliced", "mean"):
        table.add_column(name, justify="left" if name in ("SAE", "set") else "right")
    for card in cards:
        for f in card.sets:
            table.add_row(seen(card.sae), f.set, str(f.tokens), f"{f.l0:.1f}", f"{f.explained:.3f}",
                          f"{f.recovered:.3f}", f"{f.clean:.3f}", f"{f.spliced:.3f}", f"{f.ablated:.3f}")  # fmt: skip
    console.print(table)
    for card in cards:
        share = f"dead {card.dead:.1%}" if card.dead is not None else (
            f"silent {card.silent:.1%} (too few tokens to call them dead; read 200,000)")  # fmt: skip
        say(f"{card.sae}: {share} of {len(card.density)} latents over {card.tokens} tokens; outlier dimensions left "
            f"out of the variance: {list(card.outliers) or 'none'}")  # fmt: skip
    if out is not None:
        spec = {"model": model, "saes": {str(s.site): s.sha256 for s in saes}, "text": [str(p) for p in text],
                "chats": chats, "begin": begin, "scored": scored}  # fmt: skip
        write_results(out, spec, [f for card in cards for f in card.figures()], time.monotonic() - started)
        say(f"Wrote {out / 'results.json'}.")


@app.command("convert")
def convert(
    sae: Annotated[str, typer.Argument(help="A folder or hub id in any known format.")],
    out: Annotated[Path, typer.Argument(help="A folder to write.")],
    subfolder: Annotated[str, typer.Option(help="The SAE's folder in the repository.")] = "",
    bf16: Annotated[bool, typer.Option("--bf16", help="Store in half the space.")] = False,
) -> None:
    """Read an SAE and write it in SAELens' layout."""
    import torch

    from demur.saes import load_sae, save_sae

    found = load_sae(sae, subfolder)
    save_sae(found.to(dtype=torch.bfloat16) if bf16 else found, out)
    say(f"Wrote {out}: {found.kind}, {found.d_sae} latents at {found.site}, sha256 {found.sha256[:12]}.")


def _check_readable(texts: list[Path], chats: str) -> None:
    """BadFile or UnknownName for texts and prompt sets that are not there, before any work."""
    from demur.prompts.load import load

    for path in texts:
        if not path.is_file():
            raise BadFile(f"no text file at {path}; give a UTF-8 file.")
    for name in parts(chats):
        load(name)


def _unescaped(text: str | None) -> str | None:
    """A newline can be written as backslash and n."""
    return None if text is None else text.replace("\\n", "\n")
