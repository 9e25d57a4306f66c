"""The user's own prompts as sets: read, divided between fitting, validation and test, and checked."""

from __future__ import annotations

import hashlib
import os
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import combinations
from typing import TypeAlias

from demur.errors import InputError
from demur.prompts.builtin import SETS
from demur.prompts.duplicates import THRESHOLD, clusters, similarity
from demur.prompts.files import GIVEN
from demur.prompts.load import load
from demur.prompts.sets import KINDS, Kind, PromptSets, check_kinds, normal
from demur.types import Prompt, Use

Source: TypeAlias = "str | os.PathLike[str] | Sequence[str | Prompt]"
"""A file or named set, as `load` takes it, or the requests themselves."""

SHARES: dict[Use, float] = {"fit": 0.5, "validation": 0.2, "test": 0.3}
"""How rows that say not what they are for are divided."""


def own_sets(
    harmful: Source = "harmful",
    harmless: Source = "plain",
    borderline: Source | None = None,
    *,
    test_harmful: Source | None = None,
    test_harmless: Source | None = None,
    test_borderline: Source | None = None,
) -> PromptSets:
    """Sets of the user's own prompts; what is left out is built-in (no borderline ones, unless "borderline" is given).

    A row says in a column `use` (fit, validation, test) what it is for; built-in prompts always do. The others are
    divided by `divided`, about 50 : 20 : 30. test_...: prompts for the test alone; of the kind's other rows none are
    for it then, but those that nearly repeat one that is.

    Raises BadFile and UnknownName as `load`, and InputError where the sets would leak or are too few (`PromptSets`).
    """
    sources = dict(zip(KINDS, (harmful, borderline, harmless), strict=True))
    tests = dict(zip(KINDS, (test_harmful, test_borderline, test_harmless), strict=True))
    given = {kind: source for kind, source in sources.items() if source is not None}
    given |= {f"{kind} test": source for kind, source in tests.items() if source is not None}
    rows = _with_ids({label: _read(source, label) for label, source in given.items()})
    check_kinds(rows)
    done = divided(rows, [kind for kind in KINDS if tests[kind] is not None])
    return PromptSets(", ".join(f"{label}: {_name(source)}" for label, source in given.items()), tuple(done))


def divided(rows: Sequence[Prompt], tested: Sequence[Kind] = ()) -> list[Prompt]:
    """The rows, each with a use; the same for the same rows in any order.

    Whole clusters of near-duplicates, of all kinds together, have one use. A cluster with a row that has a use follows
    it. The others come in the order of their size and a hash of their texts, and go each to the use that lacks most to
    its share (SHARES). tested: kinds of which no others are for the test. Raises InputError, with the pair, for a
    cluster of two uses.
    """
    number = clusters([row.text for row in rows])
    members: dict[int, list[Prompt]] = defaultdict(list)
    for row, cluster in zip(rows, number, strict=True):
        members[cluster].append(row)
    shares = {kind: _shares(kind in tested) for kind in KINDS}
    total = Counter(row.kind for row in rows if row.use is None or row.use in shares[row.kind])
    have: Counter[tuple[str, Use]] = Counter()
    chosen: dict[int, Use] = {}

    def choose(cluster: int, use: Use) -> None:
        chosen[cluster] = use
        have.update((row.kind, use) for row in members[cluster])

    def lacks(cluster: int, use: Use) -> float:
        kinds = Counter(row.kind for row in members[cluster])
        return sum(n * (total[kind] - have[kind, use] / shares[kind][use]) for kind, n in kinds.items())

    for cluster, some in members.items():
        reserved: set[Use] = {row.use for row in some if row.use is not None}
        if len(reserved) > 1:
            raise _conflict(some)
        for use in reserved:
            choose(cluster, use)
    for cluster in sorted(members.keys() - chosen.keys(), key=lambda cluster: _place(members[cluster])):
        open_to: list[Use] = [use for use in GIVEN if all(use in shares[row.kind] for row in members[cluster])]
        choose(cluster, max(open_to, key=lambda use: lacks(cluster, use)))
    return [replace(row, use=chosen[cluster]) for row, cluster in zip(rows, number, strict=True)]


def _shares(tested: bool) -> Mapping[Use, float]:
    if not tested:
        return SHARES
    fit, validation = SHARES["fit"], SHARES["validation"]
    return {"fit": fit / (fit + validation), "validation": validation / (fit + validation)}


def _place(rows: Sequence[Prompt]) -> tuple[int, str]:
    texts = (f"{row.kind}\0{normal(row.text)}".encode("utf-8", "surrogatepass") for row in rows)
    return -len(rows), min(hashlib.sha256(text).hexdigest() for text in texts)


def _conflict(rows: Sequence[Prompt]) -> InputError:
    for a, b in combinations([row for row in rows if row.use], 2):
        if a.use != b.use and similarity(a.text, b.text) >= THRESHOLD - 1e-9:
            return InputError(
                f"{a.text!r} (for {a.use}) and {b.text!r} (for {b.use}) are near-duplicates; give both one use, or "
                f"drop one."
            )
    a = next(row for row in rows if row.use)
    b = next(row for row in rows if row.use not in (None, a.use))
    link = next(row for row in rows if row.use is None)
    return InputError(
        f"{a.text!r} (for {a.use}) and {b.text!r} (for {b.use}) are joined by rows that nearly repeat both, such as "
        f"{link.text!r}; drop it."
    )


def _read(source: Source, label: str) -> list[Prompt]:
    """The rows of a source, label being "harmful", "harmful test" ...; of a built-in set without those for training."""
    kind, _, test = label.partition(" ")
    rows: list[Prompt] = []
    if isinstance(source, str | os.PathLike):
        rows = [row for row in load(os.fspath(source), uses=True) if row.use != "training" or source not in SETS]
    else:
        for i, one in enumerate(source, 1):
            if isinstance(one, str) and one.strip():
                one = Prompt(f"own-{label.replace(' ', '-')}-{i}", one, "own")
            if not isinstance(one, Prompt):
                raise InputError(f"{label} prompt {i} is {one!r}; give text that is not empty, or a Prompt.")
            rows.append(one)
    for row in rows:
        if row.use == "training" or (test and row.use not in (None, "test")):
            raise InputError(f"{row.text!r} is reserved for {row.use}; leave it out of the {label} prompts.")
    return [replace(row, kind=kind, use="test" if test else row.use) for row in rows]  # pyright: ignore[reportArgumentType]


def _with_ids(rows: Mapping[str, Sequence[Prompt]]) -> list[Prompt]:
    """All rows; ids that two sources share get the source's label before them."""
    count = Counter(row.id for some in rows.values() for row in some)
    return [
        replace(row, id=f"{label}-{row.id}") if count[row.id] > 1 else row
        for label, some in rows.items()
        for row in some
    ]


def _name(source: Source) -> str:
    if isinstance(source, str | os.PathLike):
        return "built-in" if source in SETS else os.fspath(source)
    return f"a list of {len(source)}"
