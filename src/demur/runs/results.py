"""`results.json`: a run's spec, its figures and how long it took, sealed by their sha256."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from demur.errors import BadFile, BadSpec
from demur.runs.frame import to_pandas
from demur.runs.keys import canonical
from demur.runs.strict import json_seal, read_json
from demur.runs.writing import write_text
from demur.types import Figure

if TYPE_CHECKING:
    from pandas import DataFrame

NAME = "results.json"
COLUMNS = tuple(field.name for field in fields(Figure))
NUMBERS = ("value", "low", "high")
IDENTITY = ("arm", "versus", "set", "metric", "denominator", "judge")
"""No two figures of one file agree in all of these."""


@dataclass(frozen=True, repr=False)
class Results:
    """What `results.json` holds."""

    spec: Mapping[str, Any]
    figures: tuple[Figure, ...]
    seconds: float

    def to_pandas(self) -> DataFrame:
        """One row a figure. Raises MissingExtra (`notebook`)."""
        return to_pandas(self.figures)

    def __repr__(self) -> str:
        about = f"{self.spec.get('experiment', 'experiment')} of {self.spec.get('model', 'a model')}"
        return f"<Results: {about}; {len(self.figures)} figures, {self.seconds:.0f} s; .figures, .spec, .to_pandas()>"


def write_results(out: str | Path, spec: Mapping[str, Any], figures: Sequence[Figure], seconds: float) -> Path:
    """Write `out`/results.json atomically, after checking every figure. Raises BadSpec, OutOfRoom."""
    rows = [figure.row() for figure in figures]
    if problem := _problem(rows, seconds):
        raise BadSpec(f"{NAME}: {problem}; nothing was written")
    page = {"spec": json.loads(canonical(spec)), "figures": rows, "seconds": seconds}
    page["sha256"] = json_seal(page)
    text = json.dumps(page, indent=1, ensure_ascii=False, allow_nan=False)
    return write_text(Path(out) / NAME, text + "\n")


def read_results(path: str | Path) -> Results:
    """Read `path`, or `path`/results.json, and check it. Raises BadFile naming the figure and column.

    Files of version 0.1 and of other tools have no sha256.
    """
    path = Path(path)
    path = path / NAME if os.path.isdir(path) else path
    try:
        page = read_json(path.read_text(encoding="utf-8"), finite=True)
    except OSError as error:
        raise BadFile(f"cannot read {path}: {error.strerror}; run the experiment that writes it") from error
    except ValueError as error:
        raise BadFile(f"{path} is not JSON ({error}); run the experiment again") from error
    seal = page.pop("sha256", None) if isinstance(page, dict) else None
    if not isinstance(page, dict) or set(page) != {"spec", "figures", "seconds"}:
        found = sorted(page) if isinstance(page, dict) else type(page).__name__
        raise BadFile(f"{path} must hold exactly spec, figures and seconds; found {found}")
    if not isinstance(page["spec"], dict) or not isinstance(page["figures"], list):
        raise BadFile(f"{path}: spec must be an object and figures a list; run the experiment again")
    if problem := _problem(page["figures"], page["seconds"]):
        raise BadFile(f"{path}: {problem}; run the experiment again")
    if seal not in (None, json_seal(page)):
        raise BadFile(
            f"{path} does not match its sha256: it was changed since it was written; run the experiment again"
        )
    return Results(page["spec"], tuple(Figure(**row) for row in page["figures"]), page["seconds"])


def _problem(rows: Sequence[Any], seconds: Any) -> str:
    """What is wrong, in words, or "" when nothing is."""
    if not _finite(seconds) or seconds < 0:
        return f"seconds is {seconds!r}, not a time"
    seen: dict[tuple[Any, ...], int] = {}
    for index, row in enumerate(rows):
        where = f"figure {index}"
        if not isinstance(row, dict) or set(row) != set(COLUMNS):
            found = sorted(row) if isinstance(row, dict) else row
            return f"{where} must have exactly the columns {', '.join(COLUMNS)}; found {found}"
        for name in COLUMNS:
            value = row[name]
            if name in NUMBERS and not _finite(value):
                return f"{where}, column {name}: {value!r} is no finite number"
            if name == "n" and (isinstance(value, bool) or not isinstance(value, int) or value < 0):
                return f"{where}, column n: {value!r} is no count"
            if name in IDENTITY and not isinstance(value, str):
                return f"{where}, column {name}: {value!r} is no text"
        if row["low"] > row["high"]:
            return f"{where}: low {row['low']} is above high {row['high']}"
        same = tuple(row[name] for name in IDENTITY)
        if same in seen:
            return f"figures {seen[same]} and {index} are the same measurement: {same}"
        seen[same] = index
    return ""


def _finite(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
