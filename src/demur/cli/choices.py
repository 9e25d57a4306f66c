"""What an option may be: enums whose typos are found, with a guess, before torch is imported."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum
from typing import Any

from demur.errors import InputError, unknown


class Dtype(StrEnum):
    """What a model computes in."""

    AUTO = "auto"
    FP32 = "fp32"
    BF16 = "bf16"


class Thinking(StrEnum):
    """Whether a model thinks before it answers."""

    ON = "on"
    OFF = "off"


class Way(StrEnum):
    """Ways of cleaning a vector."""

    CONSTRAINED = "constrained"
    DIRECTION = "direction"
    SUBSPACE = "subspace"


class Construction(StrEnum):
    """Ways of making a refusal subspace."""

    CATEGORIES = "categories"
    GRADIENTS = "gradients"
    ITERATIVE = "iterative"


class Read(StrEnum):
    """What of a pair's answers a vector is fitted on."""

    TEXT = "text"
    LETTER = "letter"


class VectorMethod(StrEnum):
    """Ways of fitting a vector."""

    LOGISTIC = "logistic"
    MEAN = "mean"
    PCA = "pca"


class SaeKind(StrEnum):
    """Kinds of SAE that can be trained."""

    BATCHTOPK = "batchtopk"
    JUMPRELU = "jumprelu"
    TOPK = "topk"


class Use(StrEnum):
    """What prompts are reserved for."""

    TRAINING = "training"
    FIT = "fit"
    VALIDATION = "validation"
    TEST = "test"


class Point(StrEnum):
    """Where in its block a site is."""

    PRE = "pre"
    MID = "mid"
    POST = "post"
    ATTN_OUT = "attn_out"
    MLP_OUT = "mlp_out"


def one_of(known: Iterable[str], what: str) -> dict[str, Any]:
    """The keywords of a typer.Option that takes one of an enum's members, or of names; what: in a typo's error."""
    members = {str(member): member for member in known}

    def parse(text: str) -> str:
        if text not in members:
            raise unknown(what, text, members)
        return members[text]

    return {"parser": parse, "metavar": "|".join(members)}


def parts(text: str) -> list[str]:
    """The parts of a list with commas."""
    return [part.strip() for part in text.split(",") if part.strip()]


def attack_names(text: str) -> str:
    """A callback of options that take attack families with commas. Raises UnknownName."""
    from demur.attacks import get

    for name in parts(text or ""):
        get(name)
    return text


def numbers(text: str, option: str) -> tuple[float, ...]:
    """The numbers of a list with commas. Raises InputError that names the option."""
    try:
        return tuple(float(part) for part in parts(text))
    except ValueError:
        raise InputError(f"{option} {text!r} are not numbers with commas between them.") from None
