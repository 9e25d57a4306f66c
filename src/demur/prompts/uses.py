"""The gate between fitting, choosing and scoring: no row, and no near-duplicate of one, has two roles.

Whatever is fitted, chosen or scored passes its rows here first, whether they are reserved for a use or not.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import TYPE_CHECKING, Any, TypeAlias

from demur.errors import InputError
from demur.prompts.builtin import builtin
from demur.prompts.duplicates import THRESHOLD, first_between, similarity
from demur.types import Conversation, Pair, Prompt, Use

if TYPE_CHECKING:
    from demur.prompts.sets import PromptSets

BUILTIN = "built-in"
"""What the prompts that come with demur are called."""

Asked: TypeAlias = Prompt | Conversation | Pair
"""A request, bare, in an attack, or as the question of a contrast pair."""

ROLES: dict[str, tuple[Use, ...]] = {
    "fitting": ("fit",),
    "validation": ("validation",),
    "test": ("test",),
    "held-out": ("validation", "test"),
}
"""Role -> the uses that its rows may be reserved for, beside none."""


def check(
    *,
    fitting: Sequence[Asked] | None = None,
    validation: Sequence[Asked] | None = None,
    test: Sequence[Asked] | None = None,
    held_out: Sequence[Asked] | None = None,
) -> None:
    """InputError unless each role has rows, none reserved for another use, and no text of one nearly stands in another.

    held_out: rows that are for validation or for the test. A request is compared as the user typed it, whatever attack
    it is in; a pair by its question. Near-duplicates are those of `prompts.duplicates`.
    """
    given = {"fitting": fitting, "validation": validation, "test": test, "held-out": held_out}
    roles = {role: [_row(row) for row in rows] for role, rows in given.items() if rows is not None}
    for role, rows in roles.items():
        if not rows:
            raise InputError(f"there are no {role} prompts; give at least one.")
    texts = {role: [text for _, text, _ in rows] for role, rows in roles.items()}
    for a, b in combinations(roles, 2):
        if shared := {*texts[a]} & {*texts[b]}:
            raise InputError(
                f"{len(shared)} prompts are in both the {a} and the {b} split, such as {min(shared)!r}; choose on "
                f"prompts that were not fitted on, and score on others again."
            )
    for role, rows in roles.items():
        _check_reserved(role, rows, given[role])
    for a, b in combinations(roles, 2):
        if found := first_between(texts[a], texts[b]):
            one, other = texts[a][found[0]], texts[b][found[1]]
            raise InputError(
                f"the {a} prompt {one!r} and the {b} prompt {other!r} are near-duplicates: they share "
                f"{similarity(one, other):.2f} of their content words, and {THRESHOLD} is the bound. Keep both in one."
            )


def fitted_on(origin: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """What an artifact, and what it was made of, was fitted and chosen on: records of `PromptSets.fitted_on`.

    Older directions say it in `prompts` alone, without texts.
    """
    said, older = origin.get("fitted_on"), origin.get("prompts")
    if not isinstance(said, list):
        said = [older] if isinstance(older, Mapping) else []
    made_of = [origin[name] for name in ("of", "from") if isinstance(origin.get(name), Mapping)]
    return [*said, *(record for one in made_of for record in fitted_on(one))]


def check_artifact(origin: Mapping[str, Any], sets: PromptSets) -> None:
    """InputError when a text that an artifact was fitted or chosen on nearly stands among the test prompts of `sets`.

    origin: a direction's, a vector's or a feature set's. One that does not say what it was fitted on passes.
    """
    test = [prompt.text for prompt in sets.prompts if prompt.use == "test"]
    for record in fitted_on(origin):
        if record.get("sha256") == sets.sha256:
            continue  # sets keep their own uses apart
        name = record.get("name")
        texts = record.get("texts", _builtin_texts() if name == BUILTIN else [])
        if found := first_between(texts, test):
            one, other = texts[found[0]], test[found[1]]
            raise InputError(
                f"{one!r}, which the direction, vector or features were fitted or chosen on ({name}), nearly "
                f"repeats the test prompt {other!r} ({sets.name}); fit again with these prompts, or test on others."
            )


def _builtin_texts() -> list[str]:
    """All that is fitted and chosen on with the built-in prompts."""
    return [p.text for kind in ("harmful", "plain") for use in ("fit", "validation") for p in builtin(kind, use)]


def _row(row: Asked) -> tuple[str, str, Use | None]:
    """Its id, text and use."""
    if isinstance(row, Conversation):
        row = row.prompt
    return row.id, row.text if isinstance(row, Prompt) else row.question, row.use


def _check_reserved(role: str, rows: Sequence[tuple[str, str, Use | None]], given: Sequence[Asked] | None) -> None:
    noun = "prompt" if given and isinstance(given[0], Prompt | Conversation) else "pair"
    for id, _, use in rows:
        if use is not None and use not in ROLES[role]:
            allowed = " or ".join(map(repr, ROLES[role]))
            raise InputError(
                f"{noun} {id!r} is reserved for {use}; {role} {noun}s are those of use {allowed}, or of none."
            )
