"""The first minute: a request that the model refuses, and what an attack and its refusal direction make of it.

Nothing is measured here. One request is looked for among validation prompts, so that somebody sees within seconds what
the figures that follow are about.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from demur.attacks import attack
from demur.engines.base import Engine, Request
from demur.fitting.attack_ranking import QUICK_FAMILIES
from demur.interventions import Intervention, ablate, add
from demur.judges.refusal import refusal
from demur.prompts.sets import PromptSets, builtin_sets
from demur.types import Conversation, Decoding, Direction

REQUESTS = 4
"""Validation requests among which one is looked for that is refused as it is and answered under an attack."""
DOSES = (0.2, 0.3, 0.4, 0.5, 0.7, 1.0)
"""Relative doses of the direction; the first at which the attacked request is refused is shown."""
DECODING = Decoding(max_new_tokens=32)


@dataclass(frozen=True)
class FirstAnswer:
    """One answer and what was done for it."""

    how: str
    """In words: as it is, under fiction, ..."""
    text: str


@dataclass(frozen=True)
class FirstRequest:
    """The request that was found, and its answers without steering."""

    bare: Conversation
    attacked: Conversation
    answers: tuple[FirstAnswer, ...]
    """As it is, and under the attack."""

    @property
    def text(self) -> str:
        """The request."""
        return self.bare.prompt.text


def first_request(
    engine: Engine, prompts: PromptSets | None = None, families: Sequence[str] = QUICK_FAMILIES
) -> FirstRequest:
    """The first request that is refused as it is and answered under an attack, by the rules of `judges.refusal`; else
    the first that is refused, else the first of all."""
    asked = (prompts or builtin_sets()).take("harmful", "validation", REQUESTS)
    talks = [attack(prompt, family) for family in ("direct", *families) for prompt in asked]
    said = [answer.text for answer in engine.generate([Request(talk) for talk in talks], DECODING)]
    bare = list(zip(talks, said, strict=True))[: len(asked)]
    pairs = [(*bare[i % len(asked)], talk, text)
             for i, (talk, text) in enumerate(zip(talks[len(asked):], said[len(asked):], strict=True))]  # fmt: skip

    def rank(pair: tuple[Conversation, str, Conversation, str]) -> tuple[bool, bool]:
        return refusal(pair[1]).kind != "refused", refusal(pair[3]).kind != "none"

    direct, plain, attacked, answered = min(pairs, key=rank)
    return FirstRequest(direct, attacked, (FirstAnswer("as it is", plain),
                                           FirstAnswer(f"under {attacked.attack}", answered)))  # fmt: skip


def steered_answers(engine: Engine, found: FirstRequest, direction: Direction) -> tuple[FirstAnswer, ...]:
    """The bare request with the refusal direction ablated, and the attacked one with it added: at the first of DOSES at
    which it is refused, else at the largest."""
    steers: list[Intervention] = [ablate(direction), *(add(direction, dose, True) for dose in DOSES)]
    talks = [found.bare] + [found.attacked] * len(DOSES)
    made = engine.generate([Request(talk, steer) for talk, steer in zip(talks, steers, strict=True)], DECODING)
    ablated, *added = (answer.text for answer in made)
    dose = next((i for i, text in enumerate(added) if refusal(text).kind == "refused"), -1)
    how = f"under {found.attacked.attack}, direction added at {DOSES[dose]:g}"
    return FirstAnswer("direction ablated", ablated), FirstAnswer(how, added[dose])
