"""The prompts that a run is fitted, chosen and scored on: the built-in ones, or the user's own.

Every row has one use, and no row nearly repeats one of another use: `PromptSets` cannot be made otherwise.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal, TypeVar

from demur.errors import InputError, unknown
from demur.prompts import uses
from demur.prompts.builtin import SETS, builtin
from demur.prompts.files import GIVEN
from demur.runs.keys import digest
from demur.types import Prompt, Use

T = TypeVar("T")

Kind = Literal["harmful", "borderline", "plain"]
KINDS: tuple[Kind, ...] = ("harmful", "borderline", "plain")

LEAST: dict[Use, int] = {"fit": 8, "validation": 4, "test": 4}
"""The fewest harmful, and the fewest plain prompts that there must be for a use; borderline ones only for the test."""


@dataclass(frozen=True)
class PromptSets:
    """Harmful, borderline and plain (harmless) prompts, each for fitting, validation or the test.

    Raises InputError for prompts of no kind or use, one id twice, a text both harmful and harmless, too few for a use,
    and rows of two uses that are the same or near-duplicates.
    """

    name: str
    """In words, for people."""
    prompts: tuple[Prompt, ...]
    """All of them; those of one kind and use in the order in which they are taken."""

    def __post_init__(self) -> None:
        for prompt in self.prompts:
            if prompt.kind not in KINDS or prompt.use not in GIVEN:
                raise InputError(
                    f"prompt {prompt.id!r} is {prompt.kind} and for {prompt.use}; a prompt here is one of "
                    f"{', '.join(KINDS)}, for {', '.join(GIVEN)}."
                )
        twice = [id for id, count in Counter(prompt.id for prompt in self.prompts).items() if count > 1]
        if twice:
            raise InputError(f"{len(twice)} ids stand at two prompts, such as {twice[0]!r}; give each its own.")
        check_kinds(self.prompts)
        check_enough(self.prompts)
        fitting, validation, test = ([p for p in self.prompts if p.use == use] for use in GIVEN)
        uses.check(fitting=fitting, validation=validation, test=test)

    def __contains__(self, kind: object) -> bool:
        """Are there prompts of this kind? The user's own need not have borderline ones."""
        return any(prompt.kind == kind for prompt in self.prompts)

    def take(self, kind: Kind, use: Use, n: int | None = None) -> list[Prompt]:
        """The prompts of a kind and use: all, or n spread evenly over them.

        Raises UnknownName for another kind or use, InputError when there are none.
        """
        if kind not in KINDS:
            raise unknown("kind of prompt", kind, KINDS)
        if use not in GIVEN:
            raise unknown("use", use, GIVEN)
        rows = [prompt for prompt in self.prompts if (prompt.kind, prompt.use) == (kind, use)]
        if not rows:
            raise InputError(f"{self.name}: there are no {kind} prompts for {use}; give some.")
        return spread(rows, n)

    @property
    def tested(self) -> list[Prompt]:
        """Those that are scored, of all kinds."""
        return [prompt for prompt in self.prompts if prompt.use == "test"]

    @property
    def sha256(self) -> str:
        """Of all that a run can depend on: each prompt's kind, use, text and category, in order."""
        return digest([[p.kind, p.use, p.text, p.category] for p in self.prompts])

    def record(self) -> dict[str, Any]:
        """Name, hash and numbers, JSON-ready, for a run's spec."""
        counts = {kind: {use: sum((p.kind, p.use) == (kind, use) for p in self.prompts) for use in GIVEN}
                  for kind in KINDS if kind in self}  # fmt: skip
        return {"name": self.name, "sha256": self.sha256, "prompts": counts}

    def fitted_on(self, texts: Sequence[str] | None = None) -> dict[str, Any]:
        """What an artifact says in its origin's list `fitted_on` (`uses.check_artifact`): name, hash, and the texts
        that it was fitted and chosen on (None: all that are for that). Of the built-in sets the name is enough."""
        made: dict[str, Any] = {"name": self.name, "sha256": self.sha256}
        if self.sha256 == builtin_sets().sha256:
            return {**made, "name": uses.BUILTIN}
        texts = [p.text for p in self.prompts if p.use in ("fit", "validation")] if texts is None else texts
        return {**made, "texts": list(texts)}


@cache
def builtin_sets() -> PromptSets:
    """The prompts that come with demur, in their files' order."""
    return PromptSets(uses.BUILTIN, tuple(p for kind in SETS for use in GIVEN for p in builtin(kind, use)))


def spread(rows: Sequence[T], n: int | None) -> list[T]:
    """n rows evenly over a list, so that every category is there; all when n is None or more than there are."""
    return list(rows) if n is None or n >= len(rows) else [rows[i * len(rows) // n] for i in range(n)]


def check_kinds(prompts: Sequence[Prompt]) -> None:
    """InputError for a text that is both harmful and harmless, whatever its case and spaces."""
    seen: dict[str, Prompt] = {}
    for prompt in prompts:
        first = seen.setdefault(normal(prompt.text), prompt)
        if (first.kind == "harmful") != (prompt.kind == "harmful"):
            raise InputError(
                f"{prompt.text!r} is both {first.kind} ({first.id!r}) and {prompt.kind} ({prompt.id!r}); drop one."
            )


def check_enough(prompts: Sequence[Prompt]) -> None:
    """InputError where there are fewer than LEAST for a use."""
    count = Counter((prompt.kind, prompt.use) for prompt in prompts)
    for kind in KINDS:
        needed = LEAST if kind != "borderline" else {"test": LEAST["test"]}
        if kind == "borderline" and not any(prompt.kind == kind for prompt in prompts):
            continue
        if any(count[kind, use] < least for use, least in needed.items()):
            there = ", ".join(f"{count[kind, use]} for {use}" for use in needed)
            least = ", ".join(map(str, needed.values()))
            raise InputError(
                f"too few {kind} prompts: {there}; at least {least} are needed. Give more (25 are divided well), or "
                f"say in a column 'use' what each is for."
            )


def normal(text: str) -> str:
    """A text without case and extra spaces."""
    return " ".join(text.casefold().split())
