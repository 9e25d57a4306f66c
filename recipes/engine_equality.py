"""Greedy tokens of demur's engine against `transformers` generate, fp32, steered and not."""

from __future__ import annotations

from typing import Any

import torch
from benchmarks.engine import MODEL, mixed, random_direction
from transformers import AutoModelForCausalLM

from demur.engines.base import Request
from demur.engines.hf import HFEngine
from demur.engines.rows import row_of
from demur.interventions import add
from demur.models.bundled import adapter_folder, apply_adapter, bundled_folder
from demur.stats import wilson
from demur.types import Conversation, Decoding, Figure

NEW = 24
SLOTS = (1, 7, 32)
ALONE = 48
"""Prompts that are also run at batch 1, which takes eight times as long as batch 32."""


def reference(engine: HFEngine, conversations: list[Conversation], delta: torch.Tensor | None) -> list[list[int]]:
    """generate, one prompt at a time, the steering added by an independent hook at block 18's input."""
    model: Any = AutoModelForCausalLM.from_pretrained(bundled_folder(MODEL), dtype=torch.float32)
    adapter = adapter_folder(MODEL)
    assert adapter is not None
    apply_adapter(model, adapter)
    model.eval()

    def hook(_: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if args:
            return (args[0] + delta, *args[1:]), kwargs
        return args, {**kwargs, "hidden_states": kwargs["hidden_states"] + delta}

    if delta is not None:
        model.model.layers[18].register_forward_pre_hook(hook, with_kwargs=True)
    found = []
    with torch.inference_mode():
        for conversation in conversations:
            ids = torch.tensor([row_of(engine.model, conversation).tokens])
            out = model.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=NEW, do_sample=False)
            found.append(out[0, ids.shape[1] :].tolist())
    return found


def equality_figures(n: int, alone: int = ALONE) -> list[Figure]:
    """The share of n rows whose tokens equal generate's at every batch size of SLOTS; batch 1 on the first `alone`."""
    alone = min(n, alone)
    engine = HFEngine(MODEL, "fp32")
    conversations = mixed(n)
    direction = random_direction(engine)
    steer = add(direction, 0.3, True)
    figures = []
    for arm, intervention in (("unsteered", None), ("steered", steer)):
        delta = None if intervention is None else 0.3 * direction.norm * direction.vector
        expected = reference(engine, conversations, delta)
        right = [True] * n
        for slots in SLOTS:
            engine.slots = slots
            some = conversations[:alone] if slots == 1 else conversations
            answers = engine.generate([Request(c, intervention) for c in some], Decoding(NEW))
            for i, answer in enumerate(answers):
                right[i] &= list(answer.tokens) == expected[i]
        low, high = wilson(sum(right), n)
        figures.append(
            Figure(arm, "", "greedy tokens", "equal_share", sum(right) / n, n,
                   f"prompts, each at batch 7 and 32, the first {alone} at 1", low, high)
        )  # fmt: skip
    return figures
