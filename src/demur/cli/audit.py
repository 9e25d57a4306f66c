"""`demur vector audit`."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer

from demur.cli import options
from demur.cli.choices import Way, numbers, one_of, parts
from demur.cli.progress import journaled, opened, progress
from demur.cli.results import print_result, say
from demur.errors import InputError

VECTORS = "The vectors"


@options.loads
def audit(
    models: Annotated[str, typer.Argument(metavar="MODEL", help=f"{options.MODEL} Several with commas.")],
    vectors: Annotated[
        list[str],
        typer.Argument(
            help="A vector file (.safetensors, .gguf, .svec, .pt), fit:BEHAVIOUR (fitted on each model), or what "
            "--steer takes; NAME= before."
        ),
    ],
    multipliers: Annotated[
        str, typer.Option(metavar="X,Y", help="Doses, with commas; the extreme ones are tested.")
    ] = "-1.5,-0.75,0.75,1.5",
    attacks: Annotated[
        str,
        typer.Option(
            callback=options.attack_names,
            metavar="A,B",
            help="Attack families, with commas. Default: the three that work best.",
        ),
    ] = "",
    clean: Annotated[
        Way | None,
        typer.Option(help="Audit each vector cleaned this way beside itself.", **one_of(Way, "way of cleaning")),
    ] = None,
    direction: options.Toward = None,
    fail_if: Annotated[str, typer.Option(help='Exit with 1 when this holds, as "complied_delta.low > 0".')] = "",
    length: Annotated[
        float | None,
        typer.Option(rich_help_panel=VECTORS, help="Give every vector this length, relative to the activation norm."),
    ] = None,
    site: Annotated[
        list[str],
        typer.Option(
            metavar="LAYER.POINT",
            rich_help_panel=VECTORS,
            help="Where fit:BEHAVIOUR stands; repeat. Default: the middle block's input.",
        ),
    ] = [],  # noqa: B006
    behaviour: Annotated[
        list[str],
        typer.Option(
            metavar="NAME=BEHAVIOUR",
            rich_help_panel=VECTORS,
            help="Score a vector on held-out pairs; a fitted vector is scored on its own.",
        ),
    ] = [],  # noqa: B006
    n: Annotated[int, typer.Option(min=4, rich_help_panel=options.SIZES, help="Held-out requests of each kind.")] = 100,
    benign: Annotated[
        int | None,
        typer.Option(
            min=4, rich_help_panel=options.SIZES, help="Of these, borderline and plain ones, each. Default: as --n."
        ),
    ] = None,
    randoms: Annotated[
        int, typer.Option(min=1, rich_help_panel=options.SIZES, help="Random directions at each extreme multiplier.")
    ] = 5,
    items: Annotated[int, typer.Option(min=1, rich_help_panel=options.SIZES, help="Capability items.")] = 200,
    questions: Annotated[
        int, typer.Option(min=0, rich_help_panel=options.SIZES, help="Open questions for each behaviour; 0: none.")
    ] = 40,
    new_tokens: options.NewTokens = 24,
    harmful: options.Harmful = None,
    harmless: options.Harmless = None,
    borderline: options.Borderline = None,
    judge: options.Choosing = [],  # noqa: B006
    by: options.By = "",
    out: Annotated[
        Path, typer.Option(callback=options.new_folder, help="A folder for journal, results.json and report.html.")
    ] = Path("runs/audit"),
    loading: options.Loading = options.AS_IS,
    verbose: options.Verbose = False,
) -> None:
    """Does steering make the model easier or harder to jailbreak? Paired, held out, against random directions."""
    doses = numbers(multipliers, "--multipliers")
    places = _places(models, out)
    if len(places) > 1 and direction is not None:
        raise InputError("--direction is of one model, and several are audited; leave it out, it is fitted on each.")
    if len(places) > 1 and (loading.chat_template or loading.revision):
        raise InputError("--chat-template and --revision are of one model, and several are audited; audit it alone.")
    scored = dict(map(_named, behaviour))
    prompts = options.own_prompts(harmful, harmless, borderline)
    options.check_by(by, prompts)
    from demur.experiments import vector_audit as job
    from demur.experiments.audit_config import AuditConfig
    from demur.fitting.subjects import check_readable
    from demur.interventions import parse_site

    config = AuditConfig(
        multipliers=doses,
        attacks=tuple(parts(attacks)),
        n=n,
        benign=benign,
        items=items,
        randoms=randoms,
        questions=questions,
        length=length,
        sites=tuple(map(parse_site, site)),
        behaviours=scored,
        clean=clean.value if clean else "",
        fail_if=fail_if,
        new_tokens=new_tokens,
        by=by,
        command=shlex.join(["demur", *sys.argv[1:]]),
    )
    check_readable(vectors, config.sites)
    failed = []
    for model, here in places.items():
        with progress(journaled(here)) as update:
            engine = opened(model, loading, update)
            result = job.audit(engine, vectors, config, here, direction, prompts, update, judge or None)
        print_result(result, verbose)
        failed += [f"{model}: {text}" if len(places) > 1 else text for text in result.failed]
    for text in failed:
        say(f"failed: {text}")
    if failed:
        raise typer.Exit(1)


def _places(models: str, out: Path) -> dict[str, Path]:
    """Each model, and where its audit goes: `out`, or with several models a folder in it by the model's name."""
    names = parts(models)
    folders = [Path(name).name for name in names]
    if not names or len(set(folders)) < len(folders):
        raise InputError(f"MODEL {models!r}: name models with commas between them, no two ending alike.")
    return {names[0]: out} if len(names) == 1 else {name: out / folder for name, folder in
                                                    zip(names, folders, strict=True)}  # fmt: skip


def _named(text: str) -> tuple[str, str]:
    name, sign, what = text.partition("=")
    if not sign or not name or not what:
        raise InputError(f"--behaviour {text!r}: write NAME=BEHAVIOUR, as sycophancy=caa:sycophancy.")
    return name, what
