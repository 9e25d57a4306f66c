"""`demur vector fit|convert|audit|clean|show`."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from demur.cli.show import console, outcome_table, progress
from demur.errors import InputError, unknown
from demur.types import SteeringVector

if TYPE_CHECKING:
    from demur.experiments.vector_report import Audited

app = typer.Typer(help="Steering vectors: fit, audit for safety, clean, convert.", no_args_is_help=True)

Model = Annotated[str, typer.Argument(help="A name, a folder or a hub id.")]
Toward = Annotated[Path | None, typer.Option("--direction", help="The refusal direction's file; fitted when left out.")]
Dtype = Annotated[str, typer.Option(help="auto, fp32 or bf16.")]


@app.command("fit")
def fit(
    model: Model,
    behaviour: Annotated[str, typer.Argument(help="A built-in behaviour, caa:NAME, or a file of pairs.")],
    site: Annotated[list[str], typer.Option(help="LAYER.POINT, as 14.pre; repeat for several.")] = ["14.pre"],  # noqa: B006
    read: Annotated[str, typer.Option(help="text: the full answers. letter: their letters.")] = "text",
    method: Annotated[str, typer.Option(help="mean, pca or logistic.")] = "mean",
    shuffles: Annotated[int, typer.Option(min=1, help="Fits on shuffled labels, the null.")] = 10,
    n: Annotated[int, typer.Option(min=8, help="Fitting pairs at most.")] = 300,
    out: Annotated[Path, typer.Option(help="Where to write it (safetensors).")] = Path("vector.safetensors"),
    dtype: Dtype = "auto",
) -> None:
    """Fit a vector on contrast pairs, and say whether it does more than vectors fitted on shuffled labels."""
    from demur.directions.artifact import save_vector
    from demur.engines.hf import HFEngine
    from demur.fitting.vector_sources import fit_behaviour
    from demur.interventions import parse_site

    engine = HFEngine(model, dtype)
    with progress() as bar:
        done = fit_behaviour(engine, behaviour, [parse_site(s) for s in site], read, method, shuffles, n, bar)
    save_vector(done.fitted.vector, out)
    most = max(abs(value) for value in done.nulls)
    console.print(
        f"{behaviour}: multiplier 1 moves the log-odds of held-out answers by {done.effect:+.3f} nats a token; "
        f"{len(done.nulls)} vectors fitted on shuffled labels by at most {most:.3f}."
    )
    if not done.clears:
        console.print("It does not clear its null: on this model the pairs do not make a vector for this behaviour.")
    console.print(f"Wrote {out}. Audit it: demur vector audit {model} {behaviour.rpartition(':')[2]}={out}")


@app.command("audit")
def audit(
    models: Annotated[str, typer.Argument(metavar="MODEL", help="A name, a folder or a hub id; several with commas.")],
    vectors: Annotated[
        list[str],
        typer.Argument(help="A vector file, fit:BEHAVIOUR (on each model), or what --steer takes; NAME= before."),
    ],
    multipliers: Annotated[
        str, typer.Option(help="Doses, with commas; the extreme ones are tested.")
    ] = "-1.5,-0.75,0.75,1.5",
    length: Annotated[
        float | None, typer.Option(help="Give every vector this length, relative to the activation norm.")
    ] = None,
    site: Annotated[list[str], typer.Option(help="fit: LAYER.POINT; default: the middle block's input.")] = [],  # noqa: B006
    attacks: Annotated[str, typer.Option(help="Families, with commas; default: the three that work best.")] = "",
    behaviour: Annotated[
        list[str], typer.Option(help="NAME=BEHAVIOUR: score it on held-out pairs; a fitted vector is on its own.")
    ] = [],  # noqa: B006
    clean: Annotated[str, typer.Option(help="Audit each vector cleaned this way beside itself.")] = "",
    n: Annotated[int, typer.Option(min=8, help="Held-out requests of each kind.")] = 100,
    benign: Annotated[
        int | None, typer.Option(min=4, help="Borderline and plain requests, each; default: as --n.")
    ] = None,
    randoms: Annotated[int, typer.Option(min=1, help="Random directions at each extreme multiplier.")] = 5,
    items: Annotated[int, typer.Option(min=8, help="Capability items.")] = 200,
    questions: Annotated[int, typer.Option(min=0, help="Open questions for each behaviour; 0: none.")] = 40,
    fail_if: Annotated[str, typer.Option(help='Exit with 1 when this holds, as "complied_delta.low > 0".')] = "",
    direction: Toward = None,
    new_tokens: Annotated[int, typer.Option("--max-new-tokens", min=8)] = 24,
    out: Annotated[Path, typer.Option(help="A folder for journal, results.json and report.html.")] = Path("runs/audit"),
    dtype: Dtype = "auto",
) -> None:
    """Does steering make the model easier or harder to jailbreak? Paired, held out, against random directions."""
    from demur.engines.hf import HFEngine
    from demur.experiments.model_audit import Asked, audit_model
    from demur.experiments.vector_audit import Plan
    from demur.interventions import parse_site

    families = tuple(part.strip() for part in attacks.split(",") if part.strip())
    plan = Plan(_numbers(multipliers), families, n, benign, items, randoms, questions)
    asked = Asked(vectors, plan, length, [parse_site(text) for text in site], dict(_named(text) for text in behaviour),
                  clean, direction, new_tokens, fail_if, shlex.join(["demur", *sys.argv[1:]]))  # fmt: skip
    places = _places(models, out)
    if len(places) > 1 and direction is not None:
        raise InputError("--direction is of one model, and several are audited; leave it out, it is fitted on each.")
    failed = []
    for model, here in places.items():
        engine = HFEngine(model, dtype)
        with progress() as bar:
            done = audit_model(engine, asked, here, bar)
        _print_audit(done, f"{model}, {len(done.audit.verdicts)} vectors, held-out requests", here)
        failed += [f"{model}: {text}" if len(places) > 1 else text for text in done.failed]
    for text in failed:
        console.print(f"failed: {text}", highlight=False, markup=False)
    if failed:
        raise typer.Exit(1)


def _print_audit(done: Audited, title: str, out: Path) -> None:
    for text in done.summary:
        console.print(text, highlight=False)
    console.print(outcome_table([f for f in done.figures if not f.set.startswith("validation")], title))
    console.print(f"Wrote {out / 'results.json'} and {out / 'report.html'}.")


def _numbers(text: str) -> tuple[float, ...]:
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError:
        raise InputError(f"--multipliers {text!r} are not numbers with commas between them.") from None


def _places(models: str, out: Path) -> dict[str, Path]:
    """Each model, and where its audit goes: `out`, or with several models a folder in it by the model's name."""
    names = [part.strip() for part in models.split(",") if part.strip()]
    folders = [Path(name).name for name in names]
    if not names or len(set(folders)) < len(folders):
        raise InputError(f"MODEL {models!r}: name models with commas between them, no two ending alike.")
    return {names[0]: out} if len(names) == 1 else {name: out / folder for name, folder in
                                                    zip(names, folders, strict=True)}  # fmt: skip


@app.command("clean")
def clean(
    model: Model,
    vector: Annotated[Path, typer.Argument(help="A vector file in any known format.")],
    way: Annotated[str, typer.Option(help="direction, subspace or constrained.")] = "subspace",
    dose: Annotated[float, typer.Option(help="The largest multiplier that the cleaned vector will be used at.")] = 1.0,
    length: Annotated[
        float | None, typer.Option(help="Give it this length first, relative to the activation norm, as audits do.")
    ] = None,
    k: Annotated[
        int | None, typer.Option(min=1, help="subspace: directions at most (gradients: beside the refusal direction).")
    ] = None,
    construction: Annotated[
        str | None, typer.Option(help="subspace: gradients (the default), iterative or categories.")
    ] = None,
    direction: Toward = None,
    out: Annotated[Path, typer.Option(help="Where to write the cleaned vector.")] = Path("cleaned.safetensors"),
    dtype: Dtype = "auto",
) -> None:
    """Take out of a vector what it does to refusal. Audit it again afterwards."""
    from demur.directions.exchange import read_vector, write_vector
    from demur.directions.vectors import check_fits
    from demur.engines.hf import HFEngine
    from demur.fitting.cleaning import SUBSPACES, WAYS, Cleaner
    from demur.fitting.vector_sources import with_length

    if way not in WAYS:
        raise unknown("way of cleaning", way, WAYS)
    if way != "subspace" and (k is not None or construction is not None):
        raise InputError(f"--k and --construction are of --way subspace; leave them out with --way {way}.")
    if construction is not None and construction not in SUBSPACES:
        raise unknown("construction of a subspace", construction, SUBSPACES)
    engine = HFEngine(model, dtype)
    given = read_vector(vector, engine.fingerprint.weights)
    check_fits(given, engine.d_model, engine.n_layers, engine.name)
    given = given if length is None else with_length(engine, given, length)
    with progress() as bar:
        made, how = Cleaner(engine, direction, k or 5, construction=construction or "gradients",
                            progress=bar)(given, way, dose)  # fmt: skip
    write_vector(made, out, engine.n_layers)
    for name, value in how.items():
        text = ", ".join(f"{step['change']:.3f}" for step in value) if name == "steps" else value  # pyright: ignore
        said = "change of the refusal score on validation requests, by step" if name == "steps" else name
        console.print(f"  {said}: {text}", highlight=False, markup=False)
    kept = [float((made.vectors[s] @ given.vectors[s]) / given.vectors[s].square().sum()) for s in given.vectors]
    left = 100 * sum(kept) / len(kept)
    console.print(f"Wrote {out}: {left:.0f}% of the vector along itself is left. Audit it again:")
    console.print(f"demur vector audit {model} {vector} {out}")


@app.command("convert")
def convert(
    vector: Annotated[Path, typer.Argument(help=".safetensors, .gguf, .svec or .pt.")],
    out: Annotated[Path, typer.Argument(help="The ending names the format.")],
    layer: Annotated[int | None, typer.Option(help=".pt: the layer of a lone vector, or the one to take.")] = None,
    point: Annotated[str | None, typer.Option(help="Where in its block a vector stands: pre or post.")] = None,
    blocks: Annotated[str, typer.Option(help=".pt: the name of the blocks inside the model (h for gpt2).")] = "layers",
    n_layers: Annotated[int | None, typer.Option(help=".gguf: the model's number of blocks.")] = None,
) -> None:
    """From one format to another; the layer convention is converted too."""
    from demur.directions.exchange import read_vector, write_vector
    from demur.types import POINTS

    if point is not None and point not in POINTS:
        raise InputError(f"--point {point!r} is none; known: {', '.join(POINTS)}.")
    given = read_vector(vector, layer=layer, point=point)  # pyright: ignore[reportArgumentType]
    write_vector(given, out, n_layers, blocks)
    console.print(f"{vector}: {_sites(given)}")
    console.print(f"{out}: {_sites(read_vector(out))}")


@app.command("show")
def show(vector: Annotated[Path, typer.Argument(help="A vector file in any known format.")]) -> None:
    """Say what a vector file holds and how it was made."""
    from demur.directions.exchange import read_vector

    given = read_vector(vector)
    console.print(_sites(given))
    for key, value in given.origin.items():
        console.print(f"  {key}: {value}", highlight=False, markup=False)


def _sites(vector: SteeringVector) -> str:
    return ", ".join(f"{site} (length {float(value.norm()):.4g})" for site, value in sorted(vector.vectors.items()))


def _named(text: str) -> tuple[str, str]:
    name, sign, what = text.partition("=")
    if not sign or not name or not what:
        raise InputError(f"--behaviour {text!r}: write NAME=BEHAVIOUR, as sycophancy=caa:sycophancy.")
    return name, what
