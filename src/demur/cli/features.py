"""`demur features find|pick|verify|show`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from demur.cli import options
from demur.cli.choices import one_of
from demur.cli.progress import journaled, opened, progress
from demur.cli.results import print_result, say
from demur.cli.show import console, seen
from demur.fitting.finders import METHODS

app = typer.Typer(help="SAE latents that cause refusal: find, prove, look at them.", no_args_is_help=True)

OF_METHOD = "What some methods read"
FeatureFile = Annotated[Path, typer.Argument(help="A feature set, from `demur features find` or `pick`.")]
SetOut = Annotated[Path, typer.Option(callback=options.new_file, help="Where to write the feature set (JSON).")]


@app.command("find")
@options.loads
def find(
    model: options.Model,
    method: Annotated[
        str, typer.Option(help="How latents are found.", **one_of(METHODS, "way of finding features"))
    ] = "attribution",
    sae: options.Saes = [],  # noqa: B006
    other_model: options.OtherModel = False,
    k: Annotated[int | None, typer.Option(min=1, help="Latents to keep. Default: 20; one-prompt: 1.")] = None,
    direction: options.Toward = None,
    n: Annotated[
        int | None,
        typer.Option(
            min=4, rich_help_panel=OF_METHOD, help="Harmful fitting prompts. Default: 64 (one-prompt takes the first)."
        ),
    ] = None,
    per_site: Annotated[
        int | None,
        typer.Option(
            min=0,
            rich_help_panel=OF_METHOD,
            help="attribution: candidates of each site by cosine; 0 for all. Default: 10.",
        ),
    ] = None,
    value: Annotated[
        float | None,
        typer.Option(
            rich_help_panel=OF_METHOD,
            help="one-prompt: the clamp tried, in units of the stream's norm. Default: 0.3.",
        ),
    ] = None,
    harmful: options.Harmful = None,
    harmless: options.Harmless = None,
    out: SetOut = Path("features.json"),
    loading: options.Loading = options.AS_IS,
) -> None:
    """Find the latents that cause refusal, on fitting prompts (one-prompt tries its candidates on validation ones)."""
    prompts = options.own_prompts(harmful, harmless)
    from demur.fitting.find_features import FindConfig, find_features, saes_for
    from demur.fitting.finders import finder
    from demur.saes import load_sae, save_features

    config = FindConfig(k, n, per_site, value)
    kept = config.settled(method, direction).k or 0
    given = [load_sae(name) for name in sae]  # what cannot be read is found before a model is loaded
    with progress() as update:
        engine = opened(model, loading, update)
        saes = saes_for(engine, given, other_model)
        found = find_features(engine, saes, method, config, direction, prompts, update)
    save_features(found, out)
    say(f"{finder(method).scores}:")
    for feature in found.features:
        console.print(f"  {feature.site} latent {feature.index}: {feature.score:.4g}", highlight=False)
    if len(found.features) < kept:
        console.print(f"Fewer than {kept}: no other candidate's score is above 0.", highlight=False)
    if left_out := found.origin.get("left_out"):
        console.print(f"{left_out} prompts were left out: ablating the direction does not change their first token.")
    say(f"Wrote {out}: {len(found.features)} latents by {method}, not proved yet. Prove them: "
        f"demur features verify {model} {out}")  # fmt: skip


@app.command("pick")
@options.loads
def pick(
    model: options.Model,
    latents: Annotated[list[str], typer.Argument(help="SITE/INDEX, as 19.post/4068; several may be given.")],
    sae: options.Saes = [],  # noqa: B006
    other_model: options.OtherModel = False,
    out: SetOut = Path("features.json"),
    loading: options.Loading = options.AS_IS,
) -> None:
    """Make a feature set of latents that you name, to steer, show or prove them."""
    from demur.fitting import find_features
    from demur.saes import load_sae, save_features

    for name in latents:
        find_features.latent(name)
    given = [load_sae(name) for name in sae]
    with progress() as update:
        engine = opened(model, loading, update)
        found = find_features.pick(engine, find_features.saes_for(engine, given, other_model), latents)
    save_features(found, out)
    say(f"Wrote {out}: {len(found.features)} latents. Steer: --steer clamp:{out}:0.3r, or suppress:{out}")


@app.command("verify")
@options.loads
def verify(
    model: options.Model,
    features: FeatureFile,
    out: Annotated[
        Path, typer.Option(callback=options.new_folder, help="A folder for journal, results.json and report.html.")
    ] = Path("runs/verify"),
    direction: options.Toward = None,
    n: Annotated[int, typer.Option(min=4, help="Held-out requests of each kind.")] = 60,
    randoms: Annotated[int, typer.Option(min=1, help="Matched random sets; the protocol asks for 20.")] = 20,
    items: Annotated[int | None, typer.Option(min=1, help="Capability items. Default: all.")] = None,
    minimal: Annotated[
        bool, typer.Option("--minimal", help="Find and score the smallest subset that does it.")
    ] = False,
    new_tokens: options.NewTokens = 24,
    harmful: options.Harmful = None,
    harmless: options.Harmless = None,
    borderline: options.Borderline = None,
    judge: options.Choosing = [],  # noqa: B006
    loading: options.Loading = options.AS_IS,
    verbose: options.Verbose = False,
) -> None:
    """Prove it: necessity, sufficiency, dose-response, matched random latents, the direction, and the cost."""
    prompts = options.own_prompts(harmful, harmless, borderline)
    from demur.experiments.features import VerifyConfig, verify_features
    from demur.experiments.proof import ProofConfig
    from demur.saes import load_features

    load_features(features)  # what cannot be read is found before a model is loaded
    config = VerifyConfig(ProofConfig(n, randoms, items), minimal, new_tokens)
    with progress(journaled(out)) as update:
        engine = opened(model, loading, update)
        chosen = load_features(features, engine.fingerprint.weights)
        result = verify_features(engine, chosen, config, out, direction, prompts, None, update, judge or None)
    print_result(result, verbose)


@app.command("show")
@options.loads
def show(
    model: options.Model,
    features: FeatureFile,
    text: Annotated[
        list[Path], typer.Option("--text", help="Plain text files to read besides the built-in prompts.")
    ] = [],  # noqa: B006
    n: Annotated[int, typer.Option(min=4, help="Built-in fitting prompts of each kind to read.")] = 60,
    begin: Annotated[str | None, typer.Option(help="What each window of text begins with, as in `demur sae`.")] = None,
    direction: Annotated[
        Path | None,
        typer.Option(
            callback=options.direction_file, help="A direction's file, to compare the latents' decoder rows with."
        ),
    ] = None,
    most: Annotated[int, typer.Option("--limit", min=1, help="Latents to show.")] = 10,
    out: Annotated[Path | None, typer.Option(callback=options.new_file, help="Where to write a page (HTML).")] = None,
    loading: options.Loading = options.AS_IS,
) -> None:
    """Look at latents: where they are most active, what they write, how often, how near to refusal."""
    from demur.experiments.looks import LookConfig, look_at
    from demur.reports.looks import looks_html
    from demur.runs.writing import write_text
    from demur.saes import load_features

    load_features(features)
    options.check_texts(text)
    config = LookConfig(tuple(text), n, most, begin and begin.replace("\\n", "\n"), direction)
    with progress() as update:
        engine = opened(model, loading, update)
        looks = look_at(engine, load_features(features, engine.fingerprint.weights), config, update)
    for look in looks:
        cosine = "" if look.cosine is None else f", cosine to refusal {look.cosine:+.2f}"
        console.print(f"{look.site} latent {look.index}: active on {look.density:.2%} of {look.tokens} tokens{cosine}",
                      highlight=False)  # fmt: skip
        console.print("  writes ", seen(", ".join(repr(word) for word, _ in look.promoted)), sep="", highlight=False)
        for passage in look.contexts[:3]:
            peak = max(range(len(passage.tokens)), key=lambda i: passage.activations[i])
            words = [f"[{word}]" if i == peak else word for i, word in enumerate(passage.tokens)]
            console.print(f"  {max(passage.activations):.1f}  ", seen(repr("".join(words))), sep="", highlight=False)
    if out is not None:
        write_text(out, looks_html(looks, f"{model}: latents of {features.name}"))
        say(f"Wrote {out}.")
