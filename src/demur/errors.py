"""One tree of errors. Every message gives the value, what is known, and the fix.

DemurError                 anything demur itself raises
|- InputError              bad input: the command line exits with status 2
|  |- UnknownName          a model, set, attack, site, judge ... that is not known
|  |- BadFile              a file that is missing, malformed or changed (names file, row, column)
|  |- NoRefusal            a model that refuses too little on these prompts, or all
|  |- BadVector            wrong width, NaN, infinite or zero vector
|  `- BadSpec              an intervention or run spec that means nothing
|- NoDirection             no candidate for a refusal direction has finite scores
|- NonFinite               NaN or infinity inside a forward pass (names layer and prompt)
|- OutOfRoom               disk or memory ran out; what was finished is kept
`- MissingExtra            an optional dependency is not installed (names the extra)
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class DemurError(Exception):
    """Anything demur itself raises. The command line prints it as one line."""

    exit_status = 1


class InputError(DemurError):
    """The caller gave something unusable; nothing was run."""

    exit_status = 2


class UnknownName(InputError):
    """A name that is not registered. Build it with `unknown`."""


class BadFile(InputError):
    """A file that is missing, malformed or not what its hash says."""


class NoRefusal(InputError):
    """The model refuses too few of these prompts, or all of them, to tell what refusal is."""


class NoAttack(InputError):
    """No attack family leaves harmless requests answerable on the model."""


class BadVector(InputError):
    """A vector of the wrong width, or with NaN, infinite or only zero entries."""


class BadSpec(InputError):
    """A spec that cannot be turned into an intervention or a run."""


class NoDirection(DemurError):
    """No candidate for a refusal direction has finite scores."""


class NonFinite(DemurError):
    """NaN or infinity in a forward pass; the row is an error, never a generation."""


class OutOfRoom(DemurError):
    """Disk or memory ran out. What was acknowledged before is intact; rerun to resume."""


class MissingExtra(DemurError):
    """An optional dependency is missing; the message names `pip install 'demur[extra]'`."""


def unknown(what: str, name: str, known: Iterable[str], fix: str = "") -> UnknownName:
    """An `UnknownName` that lists what is known and guesses what was meant."""
    names = sorted(known)
    near = difflib.get_close_matches(name, names, n=1)
    guess = f" Did you mean {near[0]!r}?" if near else ""
    tail = f" {fix}" if fix else ""
    return UnknownName(f"no {what} named {name!r}; known: {', '.join(names)}.{guess}{tail}")


def check_sizes(**sizes: int | None) -> None:
    """InputError for a number of things that is not 1 or more; None stands for all of them."""
    for name, value in sizes.items():
        if value is not None and value < 1:
            raise InputError(f"{name} is {value}; it must be 1 or more.")
