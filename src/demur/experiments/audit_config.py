"""What an audit of steering vectors measures, and what it has in hand before its first answer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from demur.analysis.fail_if import violations
from demur.attacks import get
from demur.errors import InputError, check_sizes, unknown
from demur.fitting.cleaning import WAYS
from demur.fitting.subjects import Subject
from demur.prompts.pairs import behaviour
from demur.types import Direction, Site, SteeringVector


@dataclass(frozen=True)
class AuditConfig:
    """What is measured, and how much. What cannot be is refused before any work: UnknownName, InputError, BadSpec."""

    multipliers: tuple[float, ...] = (-1.5, -0.75, 0.75, 1.5)
    """Doses of every vector; the extreme ones are tested."""
    attacks: tuple[str, ...] = ()
    """Attack families; (): the three with most compliance on validation requests."""
    n: int | None = 100
    """Test requests of each kind; None: all."""
    benign: int | None = None
    """Of these, borderline and plain ones, each; None: as many."""
    items: int = 200
    """Capability items."""
    randoms: int = 5
    """Random directions at each extreme multiplier."""
    questions: int = 40
    """Held-out questions of a behaviour that are answered openly; 0: none."""
    length: float | None = None
    """Length of every vector, relative to the median activation norm; None: as they are."""
    sites: tuple[Site, ...] = ()
    """Where fit:BEHAVIOUR stands; (): the input of the middle block."""
    behaviours: Mapping[str, str] = field(default_factory=dict)
    """Subject -> the behaviour that it is scored on; a fitted vector is scored on its own."""
    clean: str = ""
    """Audit each vector beside itself cleaned this way (constrained, direction, subspace)."""
    fail_if: str = ""
    """A condition on the figures (`analysis.fail_if`); what it finds is in the result's `failed`."""
    new_tokens: int = 24
    by: str = ""
    """A column of the prompts' file, by which the rates are given too; also kind, category, topic. "": none."""
    seed: int = 0
    """Of the random directions."""
    command: str = ""
    """How it was asked for, for the record."""

    def __post_init__(self) -> None:
        check_sizes(n=self.n, items=self.items, new_tokens=self.new_tokens)
        if not self.multipliers or 0.0 in self.multipliers or len(set(self.multipliers)) < len(self.multipliers):
            raise InputError(f"multipliers are different numbers that are not 0; got {list(self.multipliers)}.")
        if self.benign is not None and not 1 <= self.benign <= (self.n or self.benign):
            most = "" if self.n is None else f" and at most n, {self.n}"
            raise InputError(f"benign is at least 1{most}; got {self.benign}: change one of them.")
        if self.randoms < 1:
            raise InputError(f"an audit needs random directions to compare with; got {self.randoms}.")
        if self.clean and self.clean not in WAYS:
            raise unknown("way of cleaning", self.clean, WAYS)
        if self.fail_if:
            violations(self.fail_if, [], [])
        for name in self.attacks:
            get(name)
        for what in self.behaviours.values():
            if not behaviour(what, "test"):
                raise InputError(f"behaviour {what} has no test pairs; mark some rows with use = test.")

    @property
    def largest(self) -> float:
        """The largest multiplier of either sign."""
        return max(abs(multiplier) for multiplier in self.multipliers)

    @property
    def extremes(self) -> tuple[float, ...]:
        """The extreme multiplier of each sign that is there."""
        ends = (min(self.multipliers), max(self.multipliers))
        return tuple(m for m, sign in zip(ends, (-1, 1), strict=True) if m * sign > 0)

    @property
    def primary(self) -> str:
        """The set of the primary endpoint: attacked requests, or the bare ones where there are no attacks."""
        return "attacked" if self.attacks else "harmful"


@dataclass(frozen=True)
class Prepared:
    """An audit before its first answer: what is audited, what it is compared with, and what a reader must be told."""

    subjects: tuple[Subject, ...]
    direction: Direction | None = None
    """None for a model that has none: cosines are left out."""
    cleaned: Mapping[str, str] = field(default_factory=dict)
    """Cleaned subject -> the subject that it was."""
    behaviours: Mapping[str, str] = field(default_factory=dict)
    gradients: tuple[SteeringVector, ...] = ()
    """Orthonormal directions along which refusal moves fastest at the vectors' sites."""
    remarks: tuple[str, ...] = ()
