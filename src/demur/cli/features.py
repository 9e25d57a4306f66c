"""`demur features find|verify|show`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from demur.cli.show import console, outcome_table, progress

app = typer.Typer(help="SAE latents that cause refusal: find, prove, look at them.", no_args_is_help=True)

Model = Annotated[str, typer.Argument(help="A name, a folder or a hub id.")]
Saes = Annotated[list[str], typer.Option("--sae", help="A folder or bundled name; repeat. Default: the bundled ones.")]
Toward = Annotated[Path | None, typer.Option("--direction", help="The refusal direction's file; fitted when left out.")]
Dtype = Annotated[str, typer.Option(help="auto, fp32 or bf16.")]
SCORES = {
    "attribution": "Latents, with what each is estimated to give the refusal's first token over the answer's "
    "(logits, mean over tokens and prompts)",
    "contrast": "Latents, with their mean on harmful less that on harmless prompts, in their own units",
    "cosine": "Latents, with the cosine of their decoder rows with the direction",
    "one-prompt": "Latents, with the rise of refusals under attack when clamped, less that of broken answers "
    "(validation prompts)",
}


@app.command("find")
def find(
    model: Model,
    method: Annotated[str, typer.Option(help="attribution, contrast, cosine or one-prompt.")] = "attribution",
    sae: Saes = [],  # noqa: B006
    direction: Toward = None,
    k: Annotated[int | None, typer.Option(min=1, help="Latents to keep: 20; one-prompt: 1.")] = None,
    n: Annotated[
        int | None, typer.Option(min=4, help="Harmful fitting prompts: 64 (one-prompt takes the first).")
    ] = None,
    per_site: Annotated[
        int | None, typer.Option(min=0, help="attribution: candidates of each site by cosine, 10; 0 for all.")
    ] = None,
    value: Annotated[
        float | None, typer.Option(help="one-prompt: the clamp tried, relative to the activation norm, 0.3.")
    ] = None,
    out: Annotated[Path, typer.Option(help="Where to write the feature set (JSON).")] = Path("features.json"),
    dtype: Dtype = "auto",
) -> None:
    """Find the latents that cause refusal, on fitting prompts (one-prompt tries its candidates on validation ones)."""
    from demur.engines.hf import HFEngine
    from demur.experiments.features import find_features, finding, saes_for
    from demur.saes import save_features

    how = finding(method, k=k, n=n, per_site=per_site, value=value, direction=direction)
    engine = HFEngine(model, dtype)
    with progress() as bar:
        found = find_features(engine, saes_for(engine, sae), how, direction, bar)
    save_features(found, out)
    console.print(f"{SCORES[method]}:", highlight=False)
    for feature in found.features:
        console.print(f"  {feature.site} latent {feature.index}: {feature.score:.4g}", highlight=False)
    if len(found.features) < how.k:
        console.print(f"Fewer than {how.k}: no other candidate's score is above 0.", highlight=False)
    if left_out := found.origin.get("left_out"):
        console.print(f"{left_out} prompts were left out: ablating the direction does not change their first token.")
    console.print(f"Wrote {out}: {len(found.features)} latents by {method}, not proved yet. Prove them: "
                  f"demur features verify {model} {out}")  # fmt: skip


@app.command("pick")
def pick(
    model: Model,
    latents: Annotated[list[str], typer.Argument(help="SITE/INDEX, as 19.post/4068; several may be given.")],
    sae: Saes = [],  # noqa: B006
    out: Annotated[Path, typer.Option(help="Where to write the feature set (JSON).")] = Path("features.json"),
    dtype: Dtype = "auto",
) -> None:
    """Make a feature set of latents that you name, to steer, show or prove them."""
    from demur.engines.hf import HFEngine
    from demur.experiments.features import pick as picked
    from demur.experiments.features import saes_for
    from demur.saes import save_features

    engine = HFEngine(model, dtype)
    found = picked(engine, saes_for(engine, sae), latents)
    save_features(found, out)
    console.print(f"Wrote {out}: {len(found.features)} latents. Steer: --steer clamp:{out}:0.3r, or suppress:{out}",
                  highlight=False, markup=False)  # fmt: skip


@app.command("verify")
def verify(
    model: Model,
    features: Annotated[Path, typer.Argument(help="A feature set, from `demur features find`.")],
    out: Annotated[Path, typer.Option(help="A folder for journal, results.json and report.html.")] = Path(
        "runs/verify"
    ),
    direction: Toward = None,
    n: Annotated[int, typer.Option(min=8, help="Held-out harmful requests.")] = 60,
    randoms: Annotated[int, typer.Option(min=1, help="Matched random sets; the protocol asks for 20.")] = 20,
    minimal: Annotated[
        bool, typer.Option("--minimal", help="Find and score the smallest subset that does it.")
    ] = False,
    new_tokens: Annotated[int, typer.Option("--max-new-tokens", min=8)] = 24,
    dtype: Dtype = "auto",
) -> None:
    """Prove it: necessity, sufficiency, dose-response, matched random latents, the direction, and the price."""
    from demur.engines.hf import HFEngine
    from demur.experiments.features import verify_features
    from demur.saes import load_features

    engine = HFEngine(model, dtype)
    chosen = load_features(features, engine.fingerprint.weights)
    with progress() as bar:
        done = verify_features(engine, chosen, out, direction, n, randoms, minimal, new_tokens, bar)
    for line in done.summary:
        console.print(line)
    shown = [f for f in done.figures if not f.set.startswith("validation")]
    console.print(outcome_table(shown, f"{model}, {len(chosen.features)} latents, held-out requests"))
    console.print(f"Wrote {out / 'results.json'} and {out / 'report.html'}.")


@app.command("show")
def show(
    model: Model,
    features: Annotated[Path, typer.Argument(help="A feature set.")],
    text: Annotated[
        list[Path], typer.Option("--text", help="Plain text files to read besides the built-in prompts.")
    ] = [],  # noqa: B006
    n: Annotated[int, typer.Option(min=4, help="Built-in fitting prompts of each kind to read.")] = 60,
    begin: Annotated[str | None, typer.Option(help="What each window of text begins with, as in `demur sae`.")] = None,
    direction: Toward = None,
    most: Annotated[int, typer.Option("--limit", min=1, help="Latents to show.")] = 10,
    out: Annotated[Path | None, typer.Option(help="Where to write a page (HTML).")] = None,
    dtype: Dtype = "auto",
) -> None:
    """Look at latents: where they are most active, what they write, how often, how near to refusal."""
    from demur.engines.hf import HFEngine
    from demur.experiments.features import look_at
    from demur.reports.looks import looks_html
    from demur.runs.writing import write_text
    from demur.saes import load_features

    engine = HFEngine(model, dtype)
    chosen = load_features(features, engine.fingerprint.weights)
    with progress() as bar:
        looks = look_at(
            engine,
            chosen,
            text,
            direction,
            most,
            bar,
            begin and begin.replace("\\n", "\n"),
            n,
        )
    for seen in looks:
        cosine = "" if seen.cosine is None else f", cosine to refusal {seen.cosine:+.2f}"
        console.print(f"{seen.site} latent {seen.index}: active on {seen.density:.2%} of {seen.tokens} tokens{cosine}",
                      highlight=False)  # fmt: skip
        console.print(f"  writes {', '.join(repr(word) for word, _ in seen.promoted)}", highlight=False, markup=False)
        for passage in seen.contexts[:3]:
            peak = max(range(len(passage.tokens)), key=lambda i: passage.activations[i])
            words = [f"[{word}]" if i == peak else word for i, word in enumerate(passage.tokens)]
            console.print(f"  {max(passage.activations):.1f}  {''.join(words)!r}", highlight=False, markup=False)
    if out is not None:
        write_text(out, looks_html(looks, f"{model}: latents of {features.name}"))
        console.print(f"Wrote {out}.")
