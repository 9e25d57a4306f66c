"""The one module that touches a model's forward: hooks at sites, early stop, resuming at a layer.

Everything is undone when the context ends, whatever happened inside it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from demur.models.families import Family
from demur.types import Point, Site

FLOW: tuple[Point, ...] = ("pre", "attn_out", "mid", "mlp_out", "post")
"""A block's points in the order in which a forward passes them."""

Edit = Callable[[Tensor], Tensor | None]
"""Takes the residual stream [batch, seq, d_model]; returns a new one, or None to leave it as it is."""


LARGEST = 1e18
"""Entries beyond this square to infinity in float32: a norm then gives zeros, and logits that look fine."""


class Stopped(Exception):
    """Raised inside the forward once the deepest wanted site was reached. Never leaves this package."""


def _first(value: Any) -> Tensor:
    return value[0] if isinstance(value, tuple) else value


def _with_first(value: Any, new: Tensor) -> Any:
    return (new, *value[1:]) if isinstance(value, tuple) else new


def _on_input(edit: Edit) -> Callable[..., Any]:
    def hook(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        in_args = bool(args)
        new = edit(args[0] if in_args else kwargs["hidden_states"])
        if new is None:
            return None
        return ((new, *args[1:]), kwargs) if in_args else (args, {**kwargs, "hidden_states": new})

    return hook


def _on_output(edit: Edit) -> Callable[..., Any]:
    def hook(_: nn.Module, args: tuple[Any, ...], output: Any) -> Any:
        new = edit(_first(output))
        return None if new is None else _with_first(output, new)

    return hook


def _on_added(edit: Edit, family: Family, times: float) -> Callable[..., Any]:
    """Edit what a block adds to its stream: `times` the output of one of its parts."""

    def hook(_: nn.Module, args: tuple[Any, ...], output: Any) -> Any:
        out = _first(output)
        # Mixtures of experts may return their tokens in one line.
        added = out.view(args[0].shape) if args else out
        if times != 1:
            added = added * times
        new = edit(added.clone() if family.masked else added)
        if new is None:
            return None
        if times != 1:
            # Without gradients the change alone is scaled back, so that rows without one keep their very numbers.
            new = new / times if torch.is_grad_enabled() else out.view(added.shape) + (new - added) / times
        # Falcon adds in place to what its MLP returns: neither what an edit read nor what it made may be that.
        new = new.clone() if family.masked else new
        return _with_first(output, new.view(out.shape))

    return hook


@contextmanager
def hooked(blocks: nn.ModuleList, family: Family, edits: Mapping[Site, Edit]) -> Iterator[None]:
    """Run `edits` at their sites in every forward inside the context."""
    with ExitStack() as stack:
        # In the order of the stream: hooks of one module run as registered, and `mid` reads the block's
        # input and attention's output as the edits before it left them.
        for site, edit in sorted(edits.items(), key=lambda item: (item[0].layer, FLOW.index(item[0].point))):
            block = blocks[site.layer]
            attn, mlp = block.get_submodule(family.attn), block.get_submodule(family.mlp)
            times = float(getattr(block, family.multiplier)) if family.multiplier else 1.0
            if site.point == "pre":
                handles = [block.register_forward_pre_hook(_on_input(edit), with_kwargs=True)]
            elif site.point == "post":
                handles = [block.register_forward_hook(_on_output(edit))]
            elif site.point == "attn_out":
                handles = [attn.register_forward_hook(_on_added(edit, family, times))]
            elif site.point == "mlp_out":
                handles = [mlp.register_forward_hook(_on_added(edit, family, times))]
            else:
                handles = _mid(block, attn, edit, family, times)
            for handle in handles:
                stack.callback(handle.remove)
        yield


def _mid(block: nn.Module, attn: nn.Module, edit: Edit, family: Family, times: float) -> list[Any]:
    """mid = block input + what attention adds; an edit of it is written back through attention's output."""
    entered: list[Tensor] = []

    def enter(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        entered[:] = [args[0] if args else kwargs["hidden_states"]]

    def write(added: Tensor) -> Tensor | None:
        before = entered[0].to(added.device)
        stream = before + added
        new = edit(stream)
        if new is None:
            return None
        # Without gradients the change alone is added, so that rows without one keep their very numbers.
        return new - before if torch.is_grad_enabled() else added + (new - stream)

    handle = block.register_forward_pre_hook(enter, with_kwargs=True)
    return [handle, attn.register_forward_hook(_on_added(write, family, times))]


@contextmanager
def stopping_at(blocks: nn.ModuleList, layer: int) -> Iterator[None]:
    """End every forward after block `layer` by raising `Stopped`, and swallow it at the context's end."""

    def stop(*_: Any) -> None:
        raise Stopped

    handle = blocks[layer].register_forward_hook(stop)
    try:
        yield
    except Stopped:
        pass
    finally:
        handle.remove()


def sound(stream: Float[Tensor, "batch seq d_model"]) -> Bool[Tensor, " batch"]:
    """Rows without NaN, infinity or entries too large for the model's norms."""
    return stream.abs().amax((1, 2)) < LARGEST


@contextmanager
def guarding(blocks: nn.ModuleList) -> Iterator[None]:
    """Turn rows whose last block's output is not `sound` into NaN, so that no caller takes them for answers."""

    def guard(_: nn.Module, __: Any, output: Any) -> Any:
        stream = _first(output)
        fine = sound(stream)
        return None if bool(fine.all()) else _with_first(output, stream.masked_fill(~fine[:, None, None], float("nan")))

    handle = blocks[-1].register_forward_hook(guard)
    try:
        yield
    finally:
        handle.remove()


@contextmanager
def watching(blocks: nn.ModuleList, see: Callable[[int, Tensor], None]) -> Iterator[None]:
    """Call see(layer, output) after every block, the output as the next block gets it."""
    with ExitStack() as stack:
        for layer, block in enumerate(blocks):

            def hook(_: nn.Module, __: Any, output: Any, layer: int = layer) -> None:
                see(layer, _first(output))

            stack.callback(block.register_forward_hook(hook).remove)
        yield


class _Resume(nn.Module):
    """Stands in for a block whose work was done before: passes the stream on, or replaces it."""

    def __init__(self, hidden: Tensor | None, tuples: bool):
        super().__init__()
        self.hidden, self.tuples = hidden, tuples

    def forward(self, hidden_states: Tensor, *_: Any, **__: Any) -> Tensor | tuple[Tensor]:
        stream = hidden_states if self.hidden is None else self.hidden
        return (stream,) if self.tuples else stream


@contextmanager
def resuming(blocks: nn.ModuleList, layer: int, hidden: Tensor, tuples: bool = False) -> Iterator[None]:
    """Skip the blocks below `layer`: block `layer` reads `hidden` [batch, seq, d_model].

    tuples: whether the model's blocks return their stream in a tuple.
    """
    if layer == 0:
        raise ValueError("nothing lies below layer 0")
    kept = [blocks[index] for index in range(layer)]
    try:
        for index in range(layer):
            blocks[index] = _Resume(hidden if index == layer - 1 else None, tuples)
        yield
    finally:
        for index, block in enumerate(kept):
            blocks[index] = block


def registered(model: nn.Module) -> int:
    """How many forward hooks the model carries (the contract: none outside these contexts)."""
    return sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in model.modules())


@contextmanager
def entered(module: nn.Module, told: Callable[[tuple[Any, ...], dict[str, Any]], None]) -> Iterator[None]:
    """Tell (args, kwargs) whenever the module's forward begins."""
    handle = module.register_forward_pre_hook(lambda _, args, kwargs: told(args, kwargs), with_kwargs=True)
    try:
        yield
    finally:
        handle.remove()


@contextmanager
def between(modules: Sequence[nn.Module], before: Callable[..., Any], after: Callable[..., Any]) -> Iterator[None]:
    """`before` changes what each module's forward gets (module, args, kwargs), `after` what it gives (module, args,
    output)."""
    with ExitStack() as stack:
        for module in modules:
            stack.callback(module.register_forward_pre_hook(before, with_kwargs=True).remove)
            stack.callback(module.register_forward_hook(after).remove)
        yield
