"""`demur sae train|check|convert`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from demur.cli.show import console, progress

app = typer.Typer(help="Sparse autoencoders: train, check, convert.", no_args_is_help=True)

Texts = Annotated[list[Path], typer.Option("--text", help="A plain text file to read; may be repeated.")]
Chats = Annotated[str, typer.Option(help="Prompt sets whose chats (the model's own answers) are read too, as a,b.")]
Begin = Annotated[
    str | None,
    typer.Option(help="What each window of text begins with, to hold massive activations there."),
]
Dtype = Annotated[str, typer.Option(help="auto, fp32 or bf16.")]


@app.command("train")
def train(
    model: Annotated[str, typer.Argument(help="A name, a folder or a hub id.")],
    site: Annotated[list[str], typer.Option(help="LAYER.POINT, as 19.post; may be repeated.")],
    out: Annotated[Path, typer.Option(help="A folder; each SAE gets a folder of its site's name in it.")],
    text: Texts = [],  # noqa: B006
    chats: Chats = "",
    d_sae: Annotated[int, typer.Option(min=1, help="Number of latents.")] = 4608,
    k: Annotated[int, typer.Option(min=1, help="Active latents a token.")] = 62,
    kind: Annotated[str, typer.Option(help="jumprelu, topk or batchtopk.")] = "jumprelu",
    tokens: Annotated[int, typer.Option(min=1, help="Tokens to train on; short text is read again.")] = 3_000_000,
    batch: Annotated[int, typer.Option(min=1, help="Tokens a step.")] = 512,
    lr: Annotated[float, typer.Option(min=0, help="Highest learning rate.")] = 1.2e-3,
    begin: Begin = None,
    seed: Annotated[int, typer.Option(help="Of the weights and the order of the tokens.")] = 0,
    dtype: Dtype = "auto",
) -> None:
    """Collect a model's activations on text and chats, and train an SAE at each site. Broken off, it goes on."""
    import random

    from demur.engines.hf import HFEngine
    from demur.interventions import parse_site
    from demur.sae_training.data import collect, passages
    from demur.sae_training.train import Training, train_sae

    sites = [parse_site(name) for name in site]
    training = Training(kind=kind, d_sae=d_sae, k=k, tokens=tokens, batch=batch, lr=lr, seed=seed)
    engine = HFEngine(model, dtype)
    with progress() as bar:
        rows = [
            row
            for part in passages(engine, text, _names(chats), "fit", bar, begin=_unescaped(begin)).values()
            for row in part
        ]
        random.Random(0).shuffle(rows)
        stored = collect(engine, rows, sites, out / "activations", tokens, bar)
        for place in sites:
            sae = train_sae(stored, place, training, out / str(place), model,
                            lambda done, total, place=place: bar(f"training {place}", done, total))  # fmt: skip
            console.print(f"Wrote {out / str(place)}: {sae.kind}, {sae.d_sae} latents, sha256 {sae.sha256[:12]}.")
    console.print(f"Check it on text it never saw: demur sae check {model} {out / str(sites[0])} --text FILE")


@app.command("check")
def check(
    model: Annotated[str, typer.Argument(help="A name, a folder or a hub id.")],
    sae: Annotated[list[str], typer.Argument(help="Folders, hub ids, or names of bundled SAEs.")],
    text: Texts = [],  # noqa: B006
    chats: Chats = "plain,harmful",
    scored: Annotated[int, typer.Option(min=100, help="Tokens of each set whose cross-entropy is taken.")] = 20_000,
    begin: Begin = None,
    out: Annotated[Path | None, typer.Option(help="A folder for results.json.")] = None,
    other_model: Annotated[bool, typer.Option("--other-model", help="The SAE was trained on another model.")] = False,
    dtype: Dtype = "auto",
) -> None:
    """The quality card: L0, variance explained, cross-entropy recovered, dead latents, on held-out text and chats."""
    import time

    from rich.table import Table

    from demur.engines.hf import HFEngine
    from demur.runs import write_results
    from demur.sae_training.data import passages
    from demur.sae_training.quality import quality
    from demur.saes import load_sae

    started = time.monotonic()
    saes = [load_sae(name) for name in sae]
    engine = HFEngine(model, dtype)
    with progress() as bar:
        sets = passages(engine, text, _names(chats), "test", bar, begin=_unescaped(begin))
        cards = quality(engine, saes, sets, scored=scored, progress=bar, other_model=other_model)
    table = Table()
    for name in ("SAE", "set", "tokens", "L0", "variance explained", "CE recovered", "CE clean", "spliced", "mean"):
        table.add_column(name, justify="left" if name in ("SAE", "set") else "right")
    for card in cards:
        for f in card.sets:
            table.add_row(card.sae, f.set, str(f.tokens), f"{f.l0:.1f}", f"{f.explained:.3f}", f"{f.recovered:.3f}",
                          f"{f.clean:.3f}", f"{f.spliced:.3f}", f"{f.ablated:.3f}")  # fmt: skip
    console.print(table)
    for card in cards:
        share = f"dead {card.dead:.1%}" if card.dead is not None else (
            f"silent {card.silent:.1%} (too few tokens to call them dead; read 200,000)")  # fmt: skip
        console.print(f"{card.sae}: {share} of {len(card.density)} latents over {card.tokens} tokens; outlier "
                      f"dimensions left out of the variance: {list(card.outliers) or 'none'}")  # fmt: skip
    if out is not None:
        spec = {"model": model, "saes": {str(s.site): s.sha256 for s in saes}, "text": [str(p) for p in text],
                "chats": chats, "begin": begin, "scored": scored}  # fmt: skip
        write_results(out, spec, [f for card in cards for f in card.figures()], time.monotonic() - started)
        console.print(f"Wrote {out / 'results.json'}.")


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
    console.print(f"Wrote {out}: {found.kind}, {found.d_sae} latents at {found.site}, sha256 {found.sha256[:12]}.")


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


def _unescaped(text: str | None) -> str | None:
    """A newline can be written as backslash and n."""
    return None if text is None else text.replace("\\n", "\n")
