"""The drop-in: interventions in force inside a transformers model, in code that exists already.

    with steering(hf_model, add(refusal, 0.3, relative=True)):
        hf_model.generate(**inputs)

Around the model's own `generate`, a pipeline or a training loop, on its own attention; no engine is needed.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from demur.errors import InputError
from demur.interventions import Intervention, bound_each, compile_batch, parse_steer
from demur.interventions.expression import Steer
from demur.models.families import text_config
from demur.models.fits import check_intervention
from demur.models.hooks import entered, hooked
from demur.models.standing import Generating, PartlyKnown, standing
from demur.models.wrap import family_in
from demur.types import Site


@contextmanager
def steering(
    hf_model: Any,
    intervention: Steer | Sequence[Steer | None],
    prompt_lengths: int | Sequence[int] | None = None,
) -> Iterator[None]:
    """Steer every forward of a transformers causal language model inside the context.

    intervention: one for all rows, or one for each row of the inputs, each an intervention or a line as on the command
    line (`add:refusal.safetensors:0.3r`; the file's weights are not compared with the model's); `generate` may make
    several rows of each (beams, return sequences). prompt_lengths: tokens of each row's prompt, padding aside, for
    interventions that act on the prompt or after it; by default `generate`'s inputs are the prompt, and in a plain
    forward every token is. Contexts may be nested: the inner one acts after the outer one at each site, as in a chain.
    Gradients flow.

    Raises InputError for what is no transformers model, and inside the context where rows, positions or prompt lengths
    that the intervention needs cannot be told, and for gradient checkpointing; UnknownName for a family or a site that
    the model does not have; BadVector for another width.
    """
    family = family_in(hf_model)
    if isinstance(intervention, str) or not isinstance(intervention, Sequence):
        intervention = (intervention,)
    each = [None if one is None else parse_steer(one) for one in intervention]
    n_layers, config = len(hf_model.get_submodule(family.blocks)), text_config(hf_model.config)
    each = tuple(bound_each(each, n_layers))
    for one in {id(one): one for one in each if one is not None}.values():
        check_intervention(one, n_layers, config.hidden_size, family, config, type(hf_model).__name__)
    lengths = (prompt_lengths,) if isinstance(prompt_lengths, int) else prompt_lengths
    arm = _Arm(each, None if lengths is None else tuple(lengths))
    steered = _STEERED.get(hf_model) or _STEERED.setdefault(hf_model, _Steered(hf_model))
    steered.arms.append(arm)
    try:
        steered.renew()
        yield
    finally:
        steered.arms.remove(arm)
        steered.renew()
        if not steered.arms:
            del _STEERED[hf_model]


def refuse_steered(model: nn.Module) -> None:
    """InputError when the model stands in a `steering` context: an engine's passes take their own interventions."""
    if model in _STEERED:
        raise InputError(
            "the engine's model is inside demur.steering, which would steer the engine too; "
            "leave the context, or give the engine the intervention."
        )


@dataclass(frozen=True, eq=False)
class _Arm:
    """The interventions of one context."""

    each: tuple[Intervention | None, ...]
    lengths: tuple[int, ...] | None

    def fit(self, rows: int) -> None:
        """InputError unless it has one intervention and prompt length for all of so many rows, or one for each."""
        for what, n in (("interventions", len(self.each)), ("prompt lengths", len(self.lengths or (0,)))):
            if n not in (1, rows):
                raise InputError(f"{n} {what} for {rows} rows; give one for each, or one for all.")


class _Steered:
    """A model under one or several contexts: its hooks, and where the tokens of the running forward stand."""

    def __init__(self, model: Any):
        self.model, self.family = model, family_in(model)
        self.arms: list[_Arm] = []
        self.placed = ExitStack()
        self.generating: Generating | None = None
        self.here: PartlyKnown = PartlyKnown("the block was called outside its model's forward")
        self.compiled: dict[object, dict[Site, Callable[[Tensor], Tensor]]] = {}

    def renew(self) -> None:
        """Take all hooks away, and place those of the contexts there are."""
        self.placed.close()
        if not self.arms:
            return
        base = self.model.base_model
        names = inspect.signature(base.forward)
        told = entered(base, lambda args, kwargs: self._enter(names.bind_partial(*args, **kwargs).arguments))
        self.placed.enter_context(told)
        sites = {site for arm in self.arms for one in arm.each if one is not None for site in one.sites}
        blocks = self.model.get_submodule(self.family.blocks)
        self.placed.enter_context(hooked(blocks, self.family, {site: self._edit(site) for site in sites}))
        self.placed.enter_context(self._watching_generate())

    def _enter(self, call: dict[str, Any]) -> None:
        """The model's forward begins."""
        call = {**call, **call.get("kwargs", {})}
        given = call["input_ids"] if call.get("input_ids") is not None else call["inputs_embeds"]
        batch, seq = given.shape[:2]
        if torch.is_grad_enabled() and self.model.training and self.model.is_gradient_checkpointing:
            raise InputError(
                "gradient checkpointing runs blocks again in the backward pass, where no intervention can be placed "
                "rightly; call gradient_checkpointing_disable() on the model."
            )
        if self.generating is None:
            for arm in self.arms:
                arm.fit(batch)
        elif batch % self.generating.rows:
            raise InputError(f"generate made {batch} rows of {self.generating.rows}; which is whose cannot be told.")
        self.compiled.clear()
        self.here = standing(call, batch, seq) if self.generating is None else \
            self.generating.standing(call, batch, seq)  # fmt: skip

    def _edit(self, site: Site) -> Callable[[Tensor], Tensor]:
        def edit(x: Tensor) -> Tensor:
            for arm in self.arms:
                edits = self._compiled(arm, x)
                if site in edits:
                    x = edits[site](x)
            return x

        return edit

    def _compiled(self, arm: _Arm, x: Tensor) -> dict[Site, Callable[[Tensor], Tensor]]:
        """The edits of one context in this forward, made once for each device and dtype of the stream."""
        key = id(arm), x.device, x.dtype
        if key not in self.compiled:
            batch = len(x)
            here = self.here.to(x.device)
            if arm.lengths is not None:
                here = here.ending(torch.tensor(_spread(arm.lengths, batch), device=x.device)[:, None])
            self.compiled[key] = compile_batch(_spread(arm.each, batch), here, x)
        return self.compiled[key]

    @contextmanager
    def _watching_generate(self) -> Iterator[None]:
        """`generate` says what the prompt is: put a function before the model's own for as long."""
        own, names = self.model.generate, inspect.signature(self.model.generate)
        shadowed = self.model.__dict__.get("generate")

        @functools.wraps(own)
        def generate(*args: Any, **kwargs: Any) -> Any:
            arguments = names.bind_partial(*args, **kwargs).arguments
            config = arguments.get("generation_config") or self.model.generation_config
            begun = Generating.of(arguments, config)
            for arm in self.arms:
                arm.fit(begun.rows)
            before, self.generating = self.generating, begun
            try:
                return own(*args, **kwargs)
            finally:
                self.generating = before

        self.model.generate = generate
        try:
            yield
        finally:
            del self.model.generate
            if shadowed is not None:
                self.model.generate = shadowed


def _spread(values: Sequence[Any], batch: int) -> list[Any]:
    """Each value for as many neighbouring rows as `generate` made of it."""
    return [value for value in values for _ in range(batch // len(values))]


_STEERED: dict[nn.Module, _Steered] = {}
