"""The options that commands share: one name, one meaning, one help."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_type_hints

import typer

from demur.cli.choices import Dtype, Thinking, attack_names, one_of
from demur.errors import BadFile

if TYPE_CHECKING:
    from demur.prompts.sets import PromptSets

OWN = "Your own prompts"
SIZES = "How much of everything"
SEARCH = "How the direction is searched for"
LOADING = "How the model is loaded"
MODEL = "A name, a folder, a .gguf file, an adapter's folder or a hub id."
"""What a model is given as."""
STEER = (
    "OP:FILE, OP:FILE:NUMBER or OP:FILE:NUMBERr, FILE being a direction or a vector in any format (.safetensors, "
    ".gguf, .svec, .pt) or a feature set (.json), r: in units of the stream's norm. add:FILE:0.3r adds it, ablate:FILE "
    "removes a direction at every layer, scale:FILE:0.5 halves its component; of a feature set, clamp:FILE:0.3r holds "
    "the latents there, suppress:FILE silences them. Or a spec (.json)."
)
"""What --steer takes. No brackets: the help would read them as markup."""


def new_file(path: Path | None) -> Path | None:
    """A callback of options that name a file to write: BadFile at once where none could be written."""
    return _place(path, folder=False)


def new_folder(path: Path | None) -> Path | None:
    """A callback of options that name a folder to write in."""
    return _place(path, folder=True)


def _place(path: Path | None, folder: bool) -> Path | None:
    from demur.runs.writing import check_place

    if path is not None:
        check_place(path, folder)
    return path


def direction_file(path: Path | None) -> Path | None:
    """A callback of options that name a direction's file: it is read before any model is loaded."""
    from demur.directions.anything import load_direction

    if path is not None:
        load_direction(path)
    return path


def judge_names(names: list[str]) -> list[str]:
    """A callback of --judge: what is no judge is found before anything is loaded."""
    from demur.judges.named import judges_of

    if names:
        judges_of(names)
    return names


def choosing_names(names: list[str]) -> list[str]:
    """The same where something is chosen by outcomes: the first must know refusal."""
    from demur.judges.named import check_chooses, judges_of

    if names:
        check_chooses(judges_of(names)[0])
    return names


Model = Annotated[str, typer.Argument(help=f"{MODEL} Names: `demur models`.")]
NewTokens = Annotated[int, typer.Option("--max-new-tokens", min=1, help="Length of an answer at most.")]
Toward = Annotated[
    Path | None,
    typer.Option("--direction", callback=direction_file, help="The refusal direction's file; fitted when left out."),
]
Saes = Annotated[
    list[str],
    typer.Option(
        "--sae",
        help="A folder, a bundled name, a hub id, SAELens' RELEASE/ID or Neuronpedia's MODEL/SOURCE; repeat. Default: "
        "the bundled ones.",
    ),
]
OtherModel = Annotated[
    bool, typer.Option("--other-model", help="The SAE was trained on a model that this one is a copy of or made from.")
]
Steer = Annotated[str, typer.Option(help=STEER)]
Attacks = Annotated[str, typer.Option(callback=attack_names, metavar="A,B", help="Attack families, with commas.")]
By = Annotated[
    str,
    typer.Option(
        metavar="COLUMN", help="Give the rates by a column of your prompt file too (or kind, category, topic)."
    ),
]
_WHO = (
    "Who judges: rules, hf:MODEL (a harm classifier, or a model asked with the rubric) or openai:URL#MODEL; "
    "repeat, the first decides and the others are compared with it. Default: rules."
)
Judges = Annotated[list[str], typer.Option("--judge", callback=judge_names, metavar="JUDGE", help=_WHO)]
Choosing = Annotated[list[str], typer.Option("--judge", callback=choosing_names, metavar="JUDGE", help=_WHO)]
"""Judges where attacks and doses are chosen by outcomes."""
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


def _loading(text: str, **more: Any) -> Any:
    return typer.Option(rich_help_panel=LOADING, help=text, **more)


@dataclass(frozen=True)
class Loading:
    """How a model is loaded: a field an option, of every command that `loads`."""

    dtype: Annotated[Dtype, _loading("What it computes in.", **one_of(Dtype, "dtype"))] = Dtype.AUTO
    device: Annotated[str | None, _loading("Where, as cpu, cuda or cuda:1. Default: a GPU where there is one.")] = None
    device_map: Annotated[
        str | None, _loading("Spread it over devices, as auto or balanced (needs accelerate).", metavar="MAP")
    ] = None
    revision: Annotated[str | None, _loading("Of a hub id: a branch, tag or commit.")] = None
    chat_template: Annotated[
        Path | None, _loading("A file (Jinja) to take in the place of the tokenizer's own.", metavar="FILE")
    ] = None
    thinking: Annotated[
        Thinking | None,
        _loading("Where the chat template has a switch for it.", **one_of(Thinking, "way of thinking")),
    ] = None

    def keywords(self) -> dict[str, Any]:
        """What was asked for beside the dtype, as `load` takes it."""
        given = {name: value for name, value in asdict(self).items() if name != "dtype" and value is not None}
        return given | ({"thinking": self.thinking == Thinking.ON} if self.thinking is not None else {})

    def record(self) -> dict[str, Any]:
        """JSON-ready, in the order of the options; without what was not asked for, but the dtype."""
        return {name: str(value) for name, value in asdict(self).items() if value is not None}

    @classmethod
    def of(cls, record: Mapping[str, Any]) -> Loading:
        """What `record` wrote down."""
        asked = {one.name: record[one.name] for one in fields(cls) if record.get(one.name) is not None}
        if "chat_template" in asked:
            asked["chat_template"] = Path(asked["chat_template"])
        return cls(**asked)


AS_IS = Loading()
"""Nothing asked for."""


def loads(command: Callable[..., None]) -> Callable[..., None]:
    """A command whose parameter `loading` is made of an option for each field of `Loading`, in its place."""
    hints = get_type_hints(command, include_extras=True)
    options = get_type_hints(Loading, include_extras=True)
    given = [
        inspect.Parameter(one.name, inspect.Parameter.KEYWORD_ONLY, default=one.default, annotation=options[one.name])
        for one in fields(Loading)
    ]
    own = inspect.signature(command).parameters
    # typer passes all by name.
    kept = [one.replace(kind=inspect.Parameter.KEYWORD_ONLY, annotation=hints[name]) for name, one in own.items()]
    at = list(own).index("loading")

    @wraps(command)
    def run(**values: Any) -> None:
        loading = Loading(**{one.name: values.pop(one.name) for one in given})
        command(**values, loading=loading)

    run.__dict__["__signature__"] = inspect.Signature([*kept[:at], *given, *kept[at + 1 :]])
    run.__annotations__ = {**hints, **options}
    del run.__annotations__["loading"]
    return run


def check_texts(paths: list[Path]) -> None:
    """BadFile for a text file that is not there."""
    for path in paths:
        if not os.path.isfile(path):  # False for a name that no file can have
            raise BadFile(f"no text file at {path}; give a UTF-8 file.")


def own_prompts(harmful: str | None, harmless: str | None, borderline: str | None = None) -> PromptSets | None:
    """The sets of the user's own files, divided into uses and checked; None where none is given."""
    if harmful is None and harmless is None and borderline is None:
        return None
    from demur.prompts import own_sets

    return own_sets(harmful or "harmful", harmless or "plain", borderline)


def check_by(by: str, prompts: PromptSets | None) -> None:
    """UnknownName for a column that no prompt has; None stands for the built-in ones."""
    if by:
        from demur.analysis.groups import check_groups
        from demur.prompts.sets import builtin_sets

        check_groups((prompts or builtin_sets()).tested, by)
