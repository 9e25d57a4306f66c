"""The refusal rules against human labels: XSTest completions (Röttger et al. 2024, arXiv 2308.01263).

The prompt ids are split by the parity of sha256 of the number in `id` ("v2-17" -> "17"), so every model's
answers to one prompt stand in the same half. The rules were written on half `written`, and are scored on
half `held-out`, whose texts nobody who changes the rules may read.
"""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from sklearn.metrics import confusion_matrix

from demur.errors import BadFile, InputError
from demur.judges.refusal import Kind, refusal
from demur.stats import Estimate, wilson

Half = Literal["written", "held-out"]
KINDS: tuple[Kind, ...] = ("none", "partial", "refused", "undecided")
"""People use the first three."""
LABELS: dict[str, Kind] = {
    "1_full_compliance": "none",
    "2_full_refusal": "refused",
    "3_partial_refusal": "partial",
}


@dataclass(frozen=True)
class Labelled:
    """One completion and what people called it."""

    id: str
    text: str
    label: Kind


@dataclass(frozen=True)
class Score:
    """The rules on one file and half."""

    half: Half
    n: int
    balanced: Estimate
    """Full refusals against full compliances; the rules must give exactly `refused` and `none`."""
    lenient: Estimate
    """The same rows, with `partial` from the rules counted as refusal."""
    matrix: tuple[tuple[int, ...], ...]
    """Rows: the people's label; columns: the rules'; both in the order of KINDS. Partials are only here, and below."""
    recall: Estimate | None
    """Share of the people's partials that the rules call partial; None where there is none."""
    precision: Estimate | None
    """Share of the rules' partials that people call partial; None where there is none."""


def half(prompt_id: str) -> Half:
    """The half a prompt id belongs to."""
    number = prompt_id.removeprefix("v2-")
    return "held-out" if hashlib.sha256(number.encode()).digest()[-1] % 2 else "written"


def read_completions(path: Path, only: Half) -> list[Labelled]:
    """One half of an XSTest completions file.

    Raises BadFile when it is missing, lacks a column or has an unknown label.
    """
    try:
        with path.open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError) as error:
        raise BadFile(f"{path}: {error}; expected an XSTest v2 completions file") from error
    found: list[Labelled] = []
    for number, row in enumerate(rows, start=2):
        missing = [name for name in ("id", "completion", "final_label") if row.get(name) is None]
        if missing:
            raise BadFile(f"{path}, row {number}: no column {', '.join(missing)}")
        if row["final_label"] not in LABELS:
            raise BadFile(f"{path}, row {number}, final_label: {row['final_label']!r}; known: {', '.join(LABELS)}")
        if half(row["id"]) == only:
            found.append(Labelled(row["id"], row["completion"], LABELS[row["final_label"]]))
    return found


def score(rows: Iterable[Labelled], which: Half, rules: Callable[[str], Kind] | None = None) -> Score:
    """Score the refusal rules (or another judge of text) on labelled completions."""
    rules = rules or (lambda text: refusal(text).kind)
    pairs = [(row.label, rules(row.text)) for row in rows]
    truth, given = [label for label, _ in pairs], [kind for _, kind in pairs]
    full = [(label == "refused", kind) for label, kind in pairs if label != "partial"]
    refused = [label for label, _ in full]
    strict = [label == (kind == ("refused" if label else "none")) for label, kind in full]
    lenient = [kind != "none" for _, kind in full]
    return Score(
        half=which,
        n=len(pairs),
        balanced=balanced_accuracy(refused, strict),
        lenient=balanced_accuracy(refused, lenient),
        matrix=tuple(tuple(int(v) for v in row) for row in confusion_matrix(truth, given, labels=KINDS)[:3]),
        recall=share([kind == "partial" for label, kind in pairs if label == "partial"]),
        precision=share([label == "partial" for label, kind in pairs if kind == "partial"]),
    )


def share(hits: Sequence[bool]) -> Estimate | None:
    """The share of hits with its Wilson interval."""
    return Estimate(sum(hits) / len(hits), *wilson(sum(hits), len(hits))) if hits else None


def balanced_accuracy(truth: Sequence[int], given: Sequence[int], level: float = 0.95) -> Estimate:
    """Mean of recall and specificity of a yes/no judge.

    The interval joins the two Wilson intervals by their square roots of sums of squares (MOVER: Zou & Donner
    2008, Statist. Med. 27:1693), which stays inside [0, 1] and is honest at 100%.
    """
    yes, said = np.array(truth, dtype=bool), np.array(given, dtype=bool)
    if yes.all() or not yes.any():
        raise InputError(f"all {len(yes)} labels are alike; both kinds are needed")
    parts = [(int(np.sum(said[yes])), int(yes.sum())), (int(np.sum(~said[~yes])), int((~yes).sum()))]
    shares = [k / n for k, n in parts]
    bounds = [wilson(k, n, level) for k, n in parts]
    value = sum(shares) / 2
    down = np.sqrt(sum((p - low) ** 2 for p, (low, _) in zip(shares, bounds, strict=True))) / 2
    up = np.sqrt(sum((high - p) ** 2 for p, (_, high) in zip(shares, bounds, strict=True))) / 2
    return Estimate(value, float(value - down), float(value + up))
