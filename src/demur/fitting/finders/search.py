"""What a way of finding features is, and what it is given."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property

from demur.attacks import unattacked
from demur.engines.base import WhiteBoxEngine
from demur.evaluation.evaluator import Progress, silent
from demur.fitting.refusal import refusal_direction
from demur.prompts.sets import PromptSets, builtin_sets
from demur.saes import SAE
from demur.types import Conversation, Direction, FeatureSet, Site


@dataclass(frozen=True)
class Search:
    """A model, its SAEs, and the prompts that features may be found on: never test prompts."""

    engine: WhiteBoxEngine
    saes: Mapping[Site, SAE]
    k: int = 20
    """Latents to keep."""
    n: int | None = 64
    """Fitting prompts of each kind."""
    per_site: int | None = 10
    """Candidates of each site by cosine; None: all latents."""
    value: float = 0.3
    """The clamp that candidates are tried at, in units of the median activation norm."""
    given: Direction | None = None
    """The refusal direction; fitted when a finder asks for it and it is left out."""
    prompts: PromptSets = field(default_factory=builtin_sets)
    progress: Progress = silent

    @cached_property
    def harmful(self) -> list[Conversation]:
        """Harmful fitting requests as they are."""
        return unattacked(self.prompts.take("harmful", "fit", self.n))

    @cached_property
    def harmless(self) -> list[Conversation]:
        """Plain fitting requests as they are."""
        return unattacked(self.prompts.take("plain", "fit", self.n))

    @cached_property
    def direction(self) -> Direction:
        """The refusal direction."""
        return refusal_direction(self.engine, self.given, self.prompts, None, self.progress)


@dataclass(frozen=True)
class Finder:
    """A way of finding the latents that cause refusal."""

    find: Callable[[Search], FeatureSet]
    scores: str
    """What the scores of its latents mean, for people."""
    reads: frozenset[str] = frozenset()
    """Settings beside `k` that it reads: of n, per_site, value, direction. Others are refused."""
    k: int = 20
    """Latents that it keeps unless told."""
