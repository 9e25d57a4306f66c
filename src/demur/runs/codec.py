"""Prompts, conversations, generations and verdicts as JSON, and back, exactly."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Any

from demur.errors import BadSpec
from demur.types import Conversation, Generation, Message, Prompt, Verdict


def dump(value: Any) -> str:
    """JSON in ASCII, so that any str survives; NaN and infinity raise BadSpec (store None instead)."""
    try:
        return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
    except (TypeError, ValueError) as error:
        raise BadSpec(f"cannot be stored as JSON: {error}; store plain finite values") from error


def prompt_to_json(prompt: Prompt) -> dict[str, Any]:
    """The prompt as a JSON object."""
    return asdict(prompt)


def prompt_from_json(data: Mapping[str, Any]) -> Prompt:
    """The inverse of `prompt_to_json`."""
    return Prompt(**{**data, "columns": tuple((name, value) for name, value in data.get("columns", ()))})


def conversation_to_json(conversation: Conversation) -> dict[str, Any]:
    """The conversation as a JSON object; messages as [role, content]."""
    return {
        "prompt": prompt_to_json(conversation.prompt),
        "messages": [[message.role, message.content] for message in conversation.messages],
        "prefill": conversation.prefill,
        "attack": conversation.attack,
    }


def conversation_from_json(data: Mapping[str, Any]) -> Conversation:
    """The inverse of `conversation_to_json`."""
    return Conversation(
        prompt=prompt_from_json(data["prompt"]),
        messages=tuple(Message(role, content) for role, content in data["messages"]),
        prefill=data["prefill"],
        attack=data["attack"],
    )


def generation_to_json(generation: Generation) -> dict[str, Any]:
    """The generation as a JSON object."""
    return {
        "key": generation.key,
        "conversation": conversation_to_json(generation.conversation),
        "text": generation.text,
        "tokens": list(generation.tokens),
        "prompt_tokens": generation.prompt_tokens,
        "finish": generation.finish,
        "arm": generation.arm,
        "reasoning": generation.reasoning,
    }


def generation_from_json(data: Mapping[str, Any]) -> Generation:
    """The inverse of `generation_to_json`; an older one has no reasoning."""
    rest = {
        **data,
        "conversation": conversation_from_json(data["conversation"]),
        "tokens": tuple(data["tokens"]),
    }
    return Generation(**rest)


def verdict_to_json(verdict: Verdict) -> dict[str, Any]:
    """The verdict as a JSON object; tuples in its detail come back as lists."""
    return {
        "generation": verdict.generation,
        "judge": verdict.judge,
        "outcome": verdict.outcome,
        "detail": dict(verdict.detail),
    }


def verdict_from_json(data: Mapping[str, Any]) -> Verdict:
    """The inverse of `verdict_to_json`."""
    return Verdict(**data)


def as_asked(generation: Generation, prompt: Prompt, attack: str, arm: str) -> Generation:
    """The same answer under the name of whoever asks now.

    A key leaves out the prompt's id and set, the attack's name and the arm, so a stored generation
    carries those of whoever stored it first. The turns that the engine played are kept.
    """
    conversation = replace(generation.conversation, prompt=prompt, attack=attack)
    return replace(generation, conversation=conversation, arm=arm)
