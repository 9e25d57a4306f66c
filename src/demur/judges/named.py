"""Judges by name: `rules`, `hf:MODEL`, `openai:URL#MODEL`; what --judge and `judge=` take."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeAlias

from demur.errors import BadSpec, InputError, unknown
from demur.judges.base import Judge
from demur.judges.harm import CLASSIFIERS, HarmJudge, classifier_of
from demur.judges.local import LocalJudge
from demur.judges.outcome import NAME as RULES
from demur.judges.rubric import RubricJudge

Judges: TypeAlias = Judge | str | Sequence[Judge | str] | None
"""One judge or several, as values or by name; None stands for the calibrated rules."""

RUBRIC = "rubric"
"""The way of asking a model that is no known classifier."""
FORMS = "rules, hf:MODEL, hf:MODEL@PROMPT or openai:URL#MODEL"


def judges_of(given: Judges) -> tuple[Judge | None, ...]:
    """The judges, in order; None stands for the rules, which are calibrated where a model is at hand.

    Raises InputError for what is no judge, for none, and for two of one name.
    """
    several = isinstance(given, Sequence) and not isinstance(given, str)
    rows: Sequence[Any] = list(given) if several else [given]  # pyright: ignore[reportArgumentType]
    if not rows:
        raise InputError(f"there is no judge in the list; give {FORMS}, or leave it out.")
    found = tuple(_checked(judge_named(one) if isinstance(one, str) else one) for one in rows)
    names = Counter(RULES if judge is None else judge.name for judge in found)
    for name, n in names.items():
        if n > 1:
            raise InputError(f"{n} judges are called {name!r}; name each once, or give them names of their own.")
    return found


def judge_named(text: str) -> Judge | None:
    """The judge of a name; None for `rules`. Nothing is loaded or asked yet. Raises UnknownName, BadSpec.

    hf:MODEL: the classifier that the model's name says it is; hf:MODEL@PROMPT: asked as that one (harmbench,
    llama-guard, wildguard), or with the rubric (rubric), as a model that is none of them is.
    openai:URL#MODEL: the rubric, sent to URL/chat/completions. Options follow as ?NAME=VALUE&NAME=VALUE.
    """
    kind, _, rest = text.partition(":")
    if text == RULES:
        return None
    if kind == "hf" and text != kind:
        return _local(text, rest)
    if kind == "openai" and text != kind:
        return _served(text, rest)
    raise unknown("judge", text, ("rules", "hf:MODEL", "hf:MODEL@PROMPT", "openai:URL#MODEL"))


def tells_harm_alone(judge: Judge | None) -> bool:
    """Whether a judge tells harmful answers from others, and knows no refusal: its complied is harmful, its refused is
    not."""
    return isinstance(judge, HarmJudge) or getattr(judge, "harm_alone", False)


def check_chooses(judge: Judge | None) -> None:
    """InputError for a judge that cannot decide where something is chosen by outcomes; nothing is loaded for that."""
    if judge is not None and tells_harm_alone(judge):
        raise InputError(
            f"judge {judge.name!r} tells harmful answers from others and knows no refusal, and attacks and doses "
            f"are chosen by outcomes; put rules first (--judge rules --judge ..., or judge=['rules', ...])."
        )


def _checked(judge: Any) -> Judge | None:
    if isinstance(judge, type):
        raise InputError(f"judge is the class {judge.__name__}; give one of it: {judge.__name__}(...).")
    if judge is not None and not isinstance(judge, Judge):
        raise InputError(f"a {type(judge).__name__} is no judge; one has a name, spec() and judge(generations).")
    return judge


def _local(text: str, rest: str) -> LocalJudge:
    place, options = _options(text, rest, LOCAL)
    model, at, prompt = place.rpartition("@")
    if not at or "/" in prompt:
        model, prompt = place, ""
    if not model:
        raise BadSpec(f"judge {text!r} names no model; write hf:MODEL or hf:MODEL@PROMPT.")
    if prompt and prompt not in (*CLASSIFIERS, RUBRIC):
        raise unknown("prompt of a judge", prompt, (*CLASSIFIERS, RUBRIC))
    classifier = None if prompt == RUBRIC else CLASSIFIERS.get(prompt) or classifier_of(Path(model).name)
    short = Path(model).name or model
    return LocalJudge(model, classifier, f"{classifier.name if classifier else RUBRIC} {short}", **options)


def _served(text: str, rest: str) -> RubricJudge:
    url, _, tail = rest.partition("#")
    model, options = _options(text, tail, SERVED)
    if not model:
        raise BadSpec(f"judge {text!r} names no model; write openai:URL#MODEL, as openai:https://host/v1#some-model.")
    return RubricJudge(url, model, name=f"{RUBRIC} {model}", **options)


def _options(text: str, rest: str, known: dict[str, tuple[str, Callable[[str], Any]]]) -> tuple[str, dict[str, Any]]:
    """What stands before the options, and the options as keywords."""
    before, mark, after = rest.rpartition("?")
    if not mark:
        return rest, {}
    found: dict[str, Any] = {}
    for part in after.split("&"):
        name, sign, value = part.partition("=")
        if name not in known:
            raise unknown(f"option of judge {text}", name, known)
        keyword, read = known[name]
        try:
            if not sign:
                raise ValueError
            found[keyword] = read(value)
        except ValueError:
            raise BadSpec(f"judge {text!r}: {name} is {value!r}; write {EXAMPLES[name]}.") from None
    return before, found


def _temperature(text: str) -> float | None:
    return None if text == "none" else _number(text)


def _number(text: str) -> float:
    value = float(text)
    if not 0 <= value < float("inf"):
        raise ValueError
    return value


def _price(text: str) -> tuple[float, float]:
    into, out = text.split(",")
    return _number(into), _number(out)


def _word(text: str) -> str:
    if not text:
        raise ValueError
    return text


LOCAL: dict[str, tuple[str, Callable[[str], Any]]] = {
    "dtype": ("dtype", _word),
    "device": ("device", _word),
    "revision": ("revision", _word),
}
SERVED: dict[str, tuple[str, Callable[[str], Any]]] = {
    "price": ("price", _price),
    "temperature": ("temperature", _temperature),
    "max_tokens": ("max_tokens", int),
    "parallel": ("parallel", int),
    "timeout": ("timeout", _number),
    "key": ("api_key_env", _word),
}
EXAMPLES = {
    "dtype": "dtype=bf16",
    "device": "device=cpu",
    "revision": "revision=main",
    "price": "price=0.15,0.6 (dollars for a million tokens in, and out)",
    "temperature": "temperature=0.2, or temperature=none",
    "max_tokens": "max_tokens=200",
    "parallel": "parallel=4",
    "timeout": "timeout=60",
    "key": "key=OPENAI_API_KEY (an environment variable)",
}
