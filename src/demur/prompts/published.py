"""Published sets by name, read from the folder in DEMUR_DATA or else from the Hugging Face hub.

Nothing published is shipped. `SETS` and `ITEMS` say for each name which file and column it is, what
kind of request it holds, where the hub has it, and its licence. A folder's file wins over the hub's;
rows keep their place in the file as id ("advbench-17" is row 17, from 0), whatever is filtered out.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from demur.errors import BadFile, InputError, MissingExtra, unknown
from demur.prompts.files import find_column
from demur.prompts.items import to_item
from demur.prompts.rows import Row, read_rows, text_cell
from demur.types import Item, Prompt, Use

FOLDER = "DEMUR_DATA"
"""The environment variable that names the folder."""


@dataclass(frozen=True)
class Source:
    """Where one published set is."""

    file: str
    """In the folder."""
    hub: tuple[str, str] | None
    """Repository and file on the hub; None: the folder only."""
    licence: str
    columns: tuple[str, ...] = ()
    """Names that the request's column has in the known releases."""
    kind: Literal["harmful", "borderline", "plain", "unknown"] = "unknown"
    category: tuple[str, ...] = ()
    use: Use | None = None
    keep: tuple[tuple[str, str], ...] = ()
    """(column, value): rows of another value are left out, where the file has that column."""


_JBB = "JailbreakBench/JBB-Behaviors"
_ARDITI = "refusal_direction/splits"
_XSTEST = ("Paul/XSTest", "xstest_prompts.csv")
_ARC = "allenai/ai2_arc"
_CATEGORY = ("category", "SemanticCategory", "type")

SETS: dict[str, Source] = {
    "jailbreakbench": Source(
        "jailbreakbench/harmful-behaviors.csv", (_JBB, "data/harmful-behaviors.csv"), "MIT",
        ("Goal",), "harmful", _CATEGORY,
    ),
    "jailbreakbench-benign": Source(
        "jailbreakbench/benign-behaviors.csv", (_JBB, "data/benign-behaviors.csv"), "MIT",
        ("Goal",), "borderline", _CATEGORY,
    ),
    "advbench": Source(
        "advbench/harmful_behaviors.csv", ("walledai/AdvBench", "data/train-00000-of-00001.parquet"), "MIT",
        ("goal", "prompt"), "harmful",
    ),
    "harmbench": Source(
        "harmbench/harmbench_behaviors_text_val.csv",
        ("walledai/HarmBench", "standard/train-00000-of-00001.parquet"), "MIT",
        ("Behavior", "prompt"), "harmful", _CATEGORY,
        keep=(("FunctionalCategory", "standard"), ("ContextString", "")),
    ),
    "strongreject": Source(
        "strongreject/strongreject_dataset.csv",
        ("walledai/StrongREJECT", "data/train-00000-of-00001.parquet"), "MIT",
        ("forbidden_prompt", "prompt"), "harmful", _CATEGORY,
    ),
    "xstest-safe": Source(
        "xstest/xstest_prompts.csv", _XSTEST, "CC-BY-4.0", ("prompt",), "borderline", _CATEGORY,
        keep=(("label", "safe"),),
    ),
    "xstest-unsafe": Source(
        "xstest/xstest_prompts.csv", _XSTEST, "CC-BY-4.0", ("prompt",), "harmful", _CATEGORY,
        keep=(("label", "unsafe"),),
    ),
    "alpaca": Source(  # evaluation only: the licence forbids commercial use
        f"{_ARDITI}/harmless_val.json", ("tatsu-lab/alpaca", "data/train-00000-of-00001-a09b74b3ef9c3b56.parquet"),
        "CC-BY-NC-4.0", ("instruction",), "plain", use="test", keep=(("input", ""),),
    ),
    "harmful-train": Source(
        f"{_ARDITI}/harmful_train.json", None, "Apache-2.0", ("instruction",), "harmful", use="training"
    ),
    "harmful-val": Source(
        f"{_ARDITI}/harmful_val.json", None, "Apache-2.0", ("instruction",), "harmful", use="validation"
    ),
}  # fmt: skip

ITEMS: dict[str, Source] = {
    "arc-easy": Source("capability/arc_easy.jsonl", (_ARC, "ARC-Easy/test-00000-of-00001.parquet"), "CC-BY-SA-4.0"),
    "arc-challenge": Source(
        "capability/arc_challenge.jsonl", (_ARC, "ARC-Challenge/test-00000-of-00001.parquet"), "CC-BY-SA-4.0"
    ),
    "lambada": Source(
        "capability/lambada_openai.jsonl", ("EleutherAI/lambada_openai", "data/lambada_test_en.jsonl"), "MIT"
    ),
    "piqa": Source("capability/piqa.jsonl", ("baber/piqa", "plain_text/validation-00000-of-00001.parquet"), "AFL-3.0"),
    "copa": Source("capability/copa.jsonl", ("aps/super_glue", "copa/validation-00000-of-00001.parquet"), "BSD-2"),
}


def published(name: str) -> list[Prompt]:
    """The requests of a published set, in the file's order.

    harmbench: the 41 validation rows in the folder that need no context and ask for nothing copyrighted;
    the hub's file holds the 200 standard ones. alpaca on the hub is filtered to rows without an input.

    Raises UnknownName; BadFile for a malformed file; InputError when neither folder nor hub has it.
    """
    if name not in SETS:
        raise unknown("published set", name, SETS)
    source = SETS[name]
    path = fetch(name, source)
    rows = read_rows(path)
    column = _first(path, rows, source.columns)
    category = next((c for c in source.category if c.casefold() in map(str.casefold, rows[0].cells)), None)
    category = find_column(path, rows, category) if category else None
    kept = [
        Prompt(
            id=f"{name}-{row.number - 1}",
            text=text_cell(path, row, column),
            set=name,
            kind=source.kind,
            category=str(row.cells[category] or "") if category else "",
            use=source.use,
        )
        for row in rows
        if all((row.cells.get(key, value) or "") == value for key, value in source.keep)
    ]
    if not kept:
        raise BadFile(f"{path}: no row is left for {name!r} where {dict(source.keep)}")
    return kept


def published_items(name: str) -> list[Item]:
    """The items of a published capability set, in the file's order. Raises as `published` does."""
    if name not in ITEMS:
        raise unknown("published item set", name, ITEMS)
    path = fetch(name, ITEMS[name])
    return [to_item(path, row, name) for row in read_rows(path)]


def fetch(name: str, source: Source) -> Path:
    """The local path of a set's file: in the folder, or downloaded (and cached) from the hub."""
    folder = os.environ.get(FOLDER)
    if folder and (Path(folder) / source.file).exists():
        return Path(folder) / source.file
    looked = f"{Path(folder) / source.file} does not exist" if folder else f"{FOLDER} is not set"
    if source.hub is None:
        raise InputError(f"{name!r} is read from a folder only and {looked}; set {FOLDER} to one with {source.file}")
    repo, file = source.hub
    try:
        from huggingface_hub import hf_hub_download
    except ImportError as e:
        raise MissingExtra(f"{name!r}: {looked}, and the hub needs: pip install huggingface_hub") from e
    try:
        return Path(hf_hub_download(repo_id=repo, filename=file, repo_type="dataset"))
    except Exception as e:  # the hub's own, HTTP's and the disk's errors share no base class
        raise InputError(
            f"{name!r}: {looked}, and {file} of {repo} could not be had from the hub ({type(e).__name__}: "
            f"{str(e).splitlines()[0] if str(e) else 'no message'}); "
            f"set {FOLDER} to a folder with {source.file}, or log in if the set is gated"
        ) from e


def _first(path: Path, rows: list[Row], columns: tuple[str, ...]) -> str:
    there = {name.casefold() for name in rows[0].cells}
    return find_column(path, rows, next((c for c in columns if c.casefold() in there), columns[0]))
