"""What an option may be: enums whose typos are found, with a guess, before torch is imported."""

from __future__ import annotations

from enum import StrEnum
from typing import Any, TypeVar

from demur.errors import InputError, unknown
from demur.fitting.finders import METHODS

Choice = TypeVar("Choice", bound=StrEnum)


class Dtype(StrEnum):
    """What a model computes in."""

    AUTO = "auto"
    FP32 = "fp32"
    BF16 = "bf16"


Method = StrEnum("Method", {name: name for name in METHODS})
"""Ways of finding features: one for each file of fitting/finders."""


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

    ORGANISM = "organism"
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


def one_of(kind: type[Choice], what: str) -> dict[str, Any]:
    """The keywords of a typer.Option that takes a member of an enum; what: in the error of a typo."""

    def parse(text: str) -> Choice:
        try:
            return kind(text)
        except ValueError:
            raise unknown(what, text, [member.value for member in kind]) from None

    return {"parser": parse, "metavar": "|".join(kind)}


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
