"""What an intervention is: its fields and an `edit`. All else is made from the fields.

A field holds a tensor, a mapping {site: tensor}, a site or sites, an intervention or a tuple of them, or a plain
value. A batch stacks the tensors and has the plain values in common; what wraps interventions asks them.
"""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, fields, replace
from functools import cached_property
from typing import Any, ClassVar, Literal, TypeVar, get_args, get_origin, get_type_hints

import torch
from torch import Tensor

from demur.errors import BadSpec, unknown
from demur.interventions.base import Context, Resid, Scalar, Vector, checked, finite, number, parse_site
from demur.interventions.tensors import pack, unpack
from demur.types import Site

Same = TypeVar("Same", bound="Intervention")
REACHES = ("all", "last", "generated")
OPS: dict[str, type[Intervention]] = {}
"""What a spec's `op` names. A class adds itself: `class Rotate(Intervention, op="rotate")`."""


class Intervention(ABC):
    """A pure function on the residual stream at one or several sites; subclasses are frozen dataclasses (eq=False).

    `edit` returns a new tensor and leaves its input untouched. A tensor field [...] is one row's; in a batch whose
    rows have their own it is [batch, 1, ...], a scalar's [batch, 1, 1], so that it broadcasts over the stream. A field
    whose name is taken ends in an underscore, which its spec leaves out (`sites_`).
    """

    op: ClassVar[str] = ""
    _counts_back: ClassVar[bool] = True

    def __init_subclass__(cls, op: str = "", counts_back: bool = True, **more: Any) -> None:
        super().__init_subclass__(**more)
        cls.op, cls._counts_back = op, counts_back
        if op:
            if op in OPS and OPS[op].__qualname__ != cls.__qualname__:
                raise TypeError(f"{OPS[op].__qualname__} has the op {op!r} already; give {cls.__qualname__} another.")
            OPS[op] = cls

    @abstractmethod
    def edit(self, resid: Resid, site: Site, context: Context) -> Resid:
        """The stream after the intervention."""

    @cached_property
    def sites(self) -> frozenset[Site]:
        """The sites it acts at: all that its fields name; empty for one that does nothing."""
        return frozenset(site for value in self._fields().values() for site in _sites(value))

    @cached_property
    def reach(self) -> str:
        """The earliest positions it may act on: "all", "last" (the last prompt token) or "generated"."""
        return min((part.reach for part in self._parts() if part.sites), key=REACHES.index, default="all")

    @cached_property
    def until(self) -> int:
        """The first position from which nothing in it depends on the position, 0 by default; a patch's length."""
        return max((part.until for part in self._parts()), default=0)

    @cached_property
    def counts_back(self) -> bool:
        """Whether what it does before the last prompt token may depend on where the prompt ends.

        If not, prompts share the pass over what they begin with. True unless its class says `counts_back=False`.
        """
        parts = self._parts()
        return any(part.counts_back for part in parts) if parts else self._counts_back

    def bind(self, n_layers: int) -> Intervention:
        """The same for a model with so many layers; itself, unless something in it needs to know (`ablate`)."""
        if all(part.bind(n_layers) is part for part in self._parts()):
            return self
        return self._made([self], lambda one: one[0].bind(n_layers) if isinstance(one[0], Intervention) else one[0])

    def shape(self) -> tuple[Any, ...]:
        """Interventions of equal shape differ in tensors only, and can be stacked."""
        return (self.op or type(self).__qualname__, *map(_shape, self._fields().values()))

    def stack(self: Same, others: Sequence[Any]) -> Same:
        """One intervention for a batch: row i gets others[i]. All have this one's shape."""
        return self._made(others, lambda ones: ones[0].stack(ones) if isinstance(ones[0], Intervention) else rows(ones))

    def to(self: Same, like: Tensor) -> Same:
        """The same with its tensors in the dtype and on the device of `like`."""
        return self._made([self], lambda one: one[0].to(like))

    def spec(self) -> dict[str, Any]:
        """JSON-ready: the op and the fields by name; `from_spec` gives the intervention back."""
        if not self.op:
            raise BadSpec(f"{type(self).__qualname__} has no spec; name its op: class ...(Intervention, op=NAME).")
        return {"op": self.op, **{name.rstrip("_"): _written(value) for name, value in self._fields().items()}}

    @classmethod
    def read(cls: type[Same], record: Mapping[str, Any]) -> Same:
        """The intervention from its spec, each field read as its type says. BadSpec or BadVector otherwise."""
        hints = get_type_hints(cls, include_extras=True)
        given: dict[str, Any] = {}
        for one in fields(cls):  # pyright: ignore[reportArgumentType]
            name = one.name.rstrip("_")
            if name in record:
                given[one.name] = _read(hints[one.name], record[name], cls.op, name)
            elif one.default is MISSING and one.default_factory is MISSING:
                raise _needs(cls.op, name)
        return cls(**given)

    def _fields(self) -> dict[str, Any]:
        return {one.name: getattr(self, one.name) for one in fields(self)}  # pyright: ignore[reportArgumentType]

    def _parts(self) -> list[Intervention]:
        """The interventions in its fields."""
        found: list[Intervention] = []
        for value in self._fields().values():
            some = [value] if isinstance(value, Intervention) else value if isinstance(value, tuple) else ()
            found += [one for one in some if isinstance(one, Intervention)]
        return found

    def _made(self: Same, others: Sequence[Any], make: Callable[[list[Any]], Any]) -> Same:
        """With `make` of the others' values wherever a field has a tensor or an intervention."""
        columns = {name: [getattr(other, name) for other in others] for name in self._fields()}
        return replace(self, **{name: _over(values, make) for name, values in columns.items()})  # pyright: ignore


def rows(values: Sequence[Tensor]) -> Tensor:
    """Tensors [...] of a batch's rows as one [batch, 1, ...], scalars as [batch, 1, 1]."""
    stacked = torch.stack(list(values))
    return stacked[:, None] if stacked.ndim > 1 else stacked[:, None, None]


def bound(intervention: Intervention | None, n_layers: int) -> Intervention | None:
    """The intervention as a model with so many layers runs it; its spec is what decides a key."""
    return None if intervention is None else intervention.bind(n_layers)


def bound_each(interventions: Sequence[Intervention | None], n_layers: int) -> list[Intervention | None]:
    """`bound` of each; one that occurs several times is one object afterwards too."""
    known = {id(one): bound(one, n_layers) for one in interventions}
    return [known[id(one)] for one in interventions]


def from_spec(record: Any) -> Intervention:
    """The intervention that a spec describes; `i.spec()` gives the spec back."""
    if not isinstance(record, dict) or "op" not in record:
        raise BadSpec("an intervention spec is an object with an 'op'.")
    if not isinstance(record["op"], str) or record["op"] not in OPS:
        raise unknown("intervention op", str(record["op"])[:80], OPS)
    try:
        return OPS[record["op"]].read(record)
    except RecursionError:
        raise BadSpec("an intervention spec is nested too deeply; flatten its chains.") from None


def _over(values: list[Any], make: Callable[[list[Any]], Any]) -> Any:
    first = values[0]
    if isinstance(first, (Tensor, Intervention)):
        return make(values)
    if isinstance(first, Mapping):
        return {key: _over([value[key] for value in values], make) for key in first}
    if isinstance(first, tuple):
        return tuple(_over(list(column), make) for column in zip(*values, strict=True))
    return first


def _sites(value: Any) -> frozenset[Site]:
    if isinstance(value, Site):
        return frozenset([value])
    if isinstance(value, Intervention):
        return value.sites
    some = value if isinstance(value, (Mapping, tuple, frozenset)) else ()
    return frozenset[Site]().union(*map(_sites, some))


def _shape(value: Any) -> Any:
    if isinstance(value, Intervention):
        return value.shape()
    if isinstance(value, Tensor):
        return tuple(value.shape)
    if isinstance(value, Mapping):
        return tuple((key, _shape(value[key])) for key in sorted(value))
    if isinstance(value, (tuple, frozenset)):
        return tuple(map(_shape, sorted(value) if isinstance(value, frozenset) else value))
    return value


def _written(value: Any) -> Any:
    if isinstance(value, Intervention):
        return value.spec()
    if isinstance(value, Tensor):
        return pack(value) if value.ndim else float(value)
    if isinstance(value, Mapping):
        return {str(key): _written(value[key]) for key in sorted(value)}
    if isinstance(value, (tuple, frozenset)):
        return [_written(one) for one in (sorted(value) if isinstance(value, frozenset) else value)]
    return str(value) if isinstance(value, Site) else value


_PLAIN = {str: "a text", int: "a whole number", bool: "true or false"}


def _needs(op: str, name: str, form: str = "") -> BadSpec:
    return BadSpec(f"a{'n' if op[:1] in 'aeiou' else ''} {op} spec needs {name}{form and ': '}{form}.")


def _read(hint: Any, value: Any, op: str, name: str) -> Any:
    """A field's value from JSON, by the field's type."""
    if hint == Scalar:
        return torch.tensor(number(value, name))
    if hint == Vector:
        return checked(unpack(value), name)
    if hint is Tensor:
        return finite(unpack(value), name)
    if hint is Site:
        return parse_site(value)
    if hint is float:
        return number(value, name)
    if inspect.isclass(hint) and issubclass(hint, Intervention):
        return from_spec(value)
    kind, inner = get_origin(hint), get_args(hint)
    if kind is Mapping:
        if not isinstance(value, dict):
            raise _needs(op, name, "{LAYER.POINT: tensor}")
        what = "vector" if inner[1] == Vector else name
        return {parse_site(key): _read(inner[1], one, op, f"{what} at {key}") for key, one in value.items()}
    if kind in (tuple, frozenset):
        if not isinstance(value, list):
            raise _needs(op, name, f"[{'LAYER.POINT' if inner[0] is Site else inner[0].__name__.lower()}, ...]")
        return kind(_read(inner[0], one, op, name) for one in value)
    if kind is Literal and value not in inner:
        raise _needs(op, name, f"one of {', '.join(map(str, inner))}, not {str(value)[:40]!r}")
    if hint in _PLAIN and type(value) is not hint:
        raise _needs(op, name, f"{_PLAIN[hint]}, not {str(value)[:40]!r}")
    return value
