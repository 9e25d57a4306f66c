"""`demur vector fit|clean|convert|show`, and `audit`, which has a file of its own."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from demur.cli import options
from demur.cli.audit import audit
from demur.cli.choices import Construction, Point, Read, VectorMethod, Way, one_of
from demur.cli.progress import opened, progress
from demur.cli.results import say, told
from demur.cli.show import console, seen
from demur.errors import InputError
from demur.types import SteeringVector

app = typer.Typer(help="Steering vectors: fit, audit for safety, clean, convert.", no_args_is_help=True)

Vector = Annotated[Path, typer.Argument(help="A vector file in any known format.")]
Sites = Annotated[
    list[str], typer.Option(metavar="LAYER.POINT", help="As 14.pre; repeat. Default: the middle block's input.")
]


@app.command("fit")
@options.loads
def fit(
    model: options.Model,
    behaviour: Annotated[str, typer.Argument(help="A built-in behaviour, caa:NAME, or a file of pairs.")],
    site: Sites = [],  # noqa: B006
    read: Annotated[
        Read, typer.Option(help="The full answers, or their letters.", **one_of(Read, "way of reading pairs"))
    ] = Read.TEXT,
    method: Annotated[
        VectorMethod, typer.Option(help="How it is fitted.", **one_of(VectorMethod, "way of fitting a vector"))
    ] = VectorMethod.MEAN,
    shuffles: Annotated[int, typer.Option(min=1, help="Fits on shuffled labels, the null.")] = 10,
    n: Annotated[int, typer.Option(min=8, help="Fitting pairs at most.")] = 300,
    out: Annotated[Path, typer.Option(help="Where to write it (safetensors).")] = Path("vector.safetensors"),
    loading: options.Loading = options.AS_IS,
) -> None:
    """Fit a vector on contrast pairs, and say whether it does more than vectors fitted on shuffled labels."""
    from demur.directions.artifact import save_vector
    from demur.fitting.behaviours import VectorConfig, fit_behaviour
    from demur.interventions import parse_site
    from demur.prompts.pairs import behaviour as pairs_of

    pairs_of(behaviour, "fit")  # what cannot be read is found before a model is loaded
    config = VectorConfig(tuple(map(parse_site, site)), read.value, method.value, shuffles, n)
    with progress() as update:
        engine = opened(model, loading, update)
        done = fit_behaviour(engine, behaviour, config, update)
    save_vector(done.vector, out)
    most = max(abs(value) for value in done.nulls)
    say(
        f"{behaviour} at {_sites(done.vector)}: multiplier 1 moves the log-odds of held-out answers by "
        f"{done.effect:+.3f} nats a token; {len(done.nulls)} vectors fitted on shuffled labels by at most {most:.3f}."
    )
    if not done.beats_null:
        say("It does not beat shuffled labels: on this model the pairs do not make a vector for this behaviour.")
    say(f"Wrote {out}. Audit it: demur vector audit {model} {behaviour.rpartition(':')[2]}={out}")


app.command("audit")(audit)


@app.command("clean")
@options.loads
def clean(
    model: options.Model,
    vector: Vector,
    way: Annotated[Way, typer.Option(help="How it is cleaned.", **one_of(Way, "way of cleaning"))] = Way.SUBSPACE,
    dose: Annotated[float, typer.Option(help="The largest multiplier that the cleaned vector will be used at.")] = 1.0,
    length: Annotated[
        float | None, typer.Option(help="Give it this length first, relative to the activation norm, as audits do.")
    ] = None,
    k: Annotated[
        int | None, typer.Option(min=1, help="subspace: directions at most (gradients: beside the refusal direction).")
    ] = None,
    construction: Annotated[
        Construction | None,
        typer.Option(
            help="subspace: how it is made. Default: gradients.",
            **one_of(Construction, "construction of a subspace"),
        ),
    ] = None,
    direction: options.Toward = None,
    harmful: options.Harmful = None,
    harmless: options.Harmless = None,
    out: Annotated[Path, typer.Option(help="Where to write the cleaned vector.")] = Path("cleaned.safetensors"),
    loading: options.Loading = options.AS_IS,
) -> None:
    """Take out of a vector what it does to refusal. Audit it again afterwards."""
    if way != Way.SUBSPACE and (k is not None or construction is not None):
        raise InputError(f"--k and --construction are of --way subspace; leave them out with --way {way}.")
    prompts = options.own_prompts(harmful, harmless)
    from demur.directions.exchange import read_vector, write_vector
    from demur.directions.vectors import check_fits
    from demur.fitting.behaviours import with_length
    from demur.fitting.cleaning import Cleaner

    read_vector(vector)  # what cannot be read is found before a model is loaded
    with progress() as update:
        engine = opened(model, loading, update)
        given = read_vector(vector, engine.fingerprint.weights)
        check_fits(given, engine.d_model, engine.n_layers, engine.name)
        given = given if length is None else with_length(engine, given, length)
        cleaner = Cleaner(engine, direction, prompts, k=k or 5, construction=construction or "gradients",
                          progress=update)  # fmt: skip
        made, how = cleaner(given, way.value, dose)
    write_vector(made, out, engine.n_layers)
    for name, value in how.items():
        text = ", ".join(f"{step['change']:.3f}" for step in value) if name == "steps" else value  # pyright: ignore
        said = "change of the refusal score on validation requests, by step" if name == "steps" else name
        console.print("  ", seen(f"{said}: {text}"), sep="")
    kept = [float((made.vectors[s] @ given.vectors[s]) / given.vectors[s].square().sum()) for s in given.vectors]
    say(f"Wrote {out}: {100 * sum(kept) / len(kept):.0f}% of the vector along itself is left. Audit it again:")
    say(f"demur vector audit {model} {vector} {out}")


@app.command("convert")
def convert(
    vector: Vector,
    out: Annotated[Path, typer.Argument(help="The ending names the format.")],
    layer: Annotated[int | None, typer.Option(help=".pt: the layer of a lone vector, or the one to take.")] = None,
    point: Annotated[
        Point | None, typer.Option(help="Where in its block a vector stands.", **one_of(Point, "point"))
    ] = None,
    blocks: Annotated[str, typer.Option(help=".pt: the name of the blocks inside the model (h for gpt2).")] = "layers",
    n_layers: Annotated[int | None, typer.Option(help=".gguf: the model's number of blocks.")] = None,
) -> None:
    """From one format to another; the layer convention is converted too."""
    from demur.directions.exchange import read_vector, write_vector

    given = read_vector(vector, layer=layer, point=point.value if point else None)
    write_vector(given, out, n_layers, blocks)
    say(f"{vector}: {_sites(given)}")
    say(f"{out}: {_sites(read_vector(out))}")


@app.command("show")
def show(vector: Vector) -> None:
    """Say what a vector file holds and how it was made."""
    from demur.directions.exchange import read_vector

    given = read_vector(vector)
    say(_sites(given))
    for key, value in told(given.origin).items():
        console.print("  ", seen(f"{key}: {value}"), sep="")


def _sites(vector: SteeringVector) -> str:
    return ", ".join(f"{site} (length {float(value.norm()):.4g})" for site, value in sorted(vector.vectors.items()))
