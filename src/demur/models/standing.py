"""Where the tokens of a call of someone else's model stand: positions, and where each row's prompt ends.

Left padding, right padding and caches come from the attention mask, or from the position ids that transformers'
`generate` makes of it. What cannot be told is left out, and asking for it is an error: an intervention that acts alike
at all tokens never asks.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from demur.errors import InputError
from demur.interventions import Context


class PartlyKnown(Context):
    """A context whose `positions` or `prompt_lengths` may not be known; reading one that is not raises InputError."""

    def __init__(self, why: str, positions: Tensor | None = None, prompt_lengths: Tensor | None = None):
        known = {"positions": positions, "prompt_lengths": prompt_lengths}
        self.__dict__.update({name: value for name, value in known.items() if value is not None}, why=why)

    def __getattr__(self, name: str) -> Tensor:
        if name not in ("positions", "prompt_lengths"):
            raise AttributeError(name)
        what = "token's position" if name == "positions" else "row's end of the prompt"
        raise InputError(f"this intervention needs each {what}, which cannot be told: {self.__dict__['why']}.")

    def to(self, device: torch.device) -> PartlyKnown:
        """The same on a device."""
        return self._each(lambda value: value.to(device))

    def ending(self, prompt_lengths: Tensor) -> PartlyKnown:
        """The same with other prompt lengths [batch, 1]."""
        return PartlyKnown(self.__dict__["why"], self.__dict__.get("positions"), prompt_lengths)

    def rows(self, index: Tensor) -> PartlyKnown:
        """The context of some rows of the batch."""
        return self._each(lambda value: value[index])

    def _each(self, change: Any) -> PartlyKnown:
        own = {name: change(value) for name, value in self.__dict__.items() if isinstance(value, Tensor)}
        return PartlyKnown(self.__dict__["why"], **own)


@dataclass
class Generating:
    """One running `generate`: rows and width of what it was given, and the prompt lengths once they are seen."""

    rows: int
    width: int
    why: str = ""
    """Why prompt lengths cannot be told, where they cannot."""
    lengths: Tensor | None = field(default=None)

    @classmethod
    def of(cls, arguments: Mapping[str, Any], config: Any) -> Generating:
        """From the bound arguments of `generate` and the generation config in force."""
        more = arguments.get("kwargs", {})
        given = next((x for x in (more.get("inputs_embeds"), arguments.get("inputs"), more.get("input_ids")) if
                      x is not None), None)  # fmt: skip
        rows, width = (1, 1) if given is None else given.shape[:2]
        mask, why = more.get("attention_mask"), ""
        if mask is not None and mask.ndim == 2 and not bool(mask[:, -1].all()):
            why = "the prompts are padded on the right, and generate goes on behind the padding; pad on the left"
        guidance = more.get("guidance_scale", config.guidance_scale)
        if guidance is not None and guidance != 1:
            why = "guidance_scale runs other prompts in between; leave it out"
        return cls(rows, width, why)

    def standing(self, call: Mapping[str, Any], batch: int, seq: int) -> PartlyKnown:
        """Of one forward inside it."""
        positions = call.get("position_ids")
        if positions is None or positions.ndim != 2 or self.why:
            found = standing(call, batch, seq)
            return PartlyKnown(self.why or found.__dict__["why"], found.__dict__.get("positions"))
        positions = positions.expand(batch, -1)
        seen = _past(call) + seq
        # Left padding: what is missing of the prompt (chunks), or is too much (candidates), stands at the end.
        ends = positions[:, -1:] + 1 + self.width - seen
        if self.lengths is None and seen >= self.width:
            self.lengths = ends
        lengths = ends if self.lengths is None else self.lengths
        if len(lengths) != batch:
            return PartlyKnown(f"generate went from {len(lengths)} rows to {batch}; give prompt_lengths", positions)
        return PartlyKnown("", positions, lengths)


def standing(call: Mapping[str, Any], batch: int, seq: int) -> PartlyKnown:
    """Of a plain forward with these arguments, in which every token is prompt."""
    mask, positions = call.get("attention_mask"), call.get("position_ids")
    past = _past(call)
    if isinstance(mask, Tensor) and mask.ndim == 2 and mask.shape == (batch, past + seq):
        counted = mask.long().cumsum(-1)
        return PartlyKnown("", (counted - 1).clamp(min=0)[:, -seq:], counted[:, -1:])
    if isinstance(positions, Tensor) and positions.ndim == 2:
        positions = positions.expand(batch, -1)
        if bool((positions.diff(dim=-1) < 0).any()):
            return PartlyKnown("position_ids begin anew inside a row; give prompt_lengths", positions)
        return PartlyKnown("", positions, positions[:, -1:] + 1)
    given = next(x for x in (call.get("input_ids"), call.get("inputs_embeds")) if x is not None)
    if mask is None and batch == 1:
        return PartlyKnown("", torch.arange(past, past + seq, device=given.device)[None], torch.tensor([[past + seq]]))
    if mask is None:
        return PartlyKnown(f"there are {batch} rows and no attention mask; give attention_mask")
    what = f"has shape {list(mask.shape)}" if isinstance(mask, Tensor) else f"is a {type(mask).__name__}"
    return PartlyKnown(f"the attention mask {what}; give one of shape {[batch, past + seq]}, or position_ids")


def _past(call: Mapping[str, Any]) -> int:
    cache = call.get("past_key_values")
    return 0 if cache is None else int(cache.get_seq_length())
