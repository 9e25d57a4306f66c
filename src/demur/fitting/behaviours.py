"""A behaviour's steering vector, with its null; vectors made to a length."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from demur.directions.vectors import rescaled
from demur.engines.base import WhiteBoxEngine
from demur.errors import check_sizes
from demur.evaluation.behaviour import beats_shuffled_labels, log_odds
from demur.evaluation.evaluator import Progress, silent
from demur.evaluation.pairs import texts_of
from demur.fitting.cache import cached
from demur.fitting.edits import steered
from demur.fitting.norms import activation_norms
from demur.fitting.vectors import FittedVector, fit_vector
from demur.prompts.pairs import balanced, behaviour
from demur.types import Site, SteeringVector

PAIRS = 300
"""Pairs that a vector is fitted on, at most."""


@dataclass(frozen=True)
class VectorConfig:
    """How a behaviour's vector is fitted."""

    sites: tuple[Site, ...] = ()
    """Where it stands; (): the input of the middle block."""
    read: str = "text"
    """text: the full answers. letter: their letters."""
    method: str = "mean"
    """mean, pca or logistic (`directions.contrast`)."""
    shuffles: int = 10
    """Fits on shuffled labels, the null."""
    n: int | None = PAIRS
    """Fitting pairs at most."""

    def __post_init__(self) -> None:
        check_sizes(n=self.n)


@dataclass(frozen=True)
class BehaviourFit:
    """A fitted vector, and whether it does what it was fitted for."""

    fitted: FittedVector
    effect: float
    """Mean change of log-odds a token on validation pairs, multiplier 1 less multiplier -1, halved."""
    nulls: tuple[float, ...]
    """The same of the vectors with shuffled labels."""
    beats_null: bool

    @property
    def vector(self) -> SteeringVector:
        """The vector."""
        return self.fitted.vector


def middle(engine: WhiteBoxEngine) -> tuple[Site, ...]:
    """The input of the middle block."""
    return (Site(engine.n_layers // 2, "pre"),)


def fit_behaviour(
    engine: WhiteBoxEngine, name: str, config: VectorConfig | None = None, progress: Progress = silent
) -> BehaviourFit:
    """A vector for a behaviour (`prompts.pairs.behaviour`), with its null, on fitting and validation pairs."""
    config = config or VectorConfig()
    pairs = behaviour(name, "fit")
    pairs = balanced(pairs, config.n) if config.read == "letter" else pairs[: config.n]
    sites = config.sites or middle(engine)
    fitted = fit_vector(engine, pairs, sites, config.read, config.method, config.shuffles,
                        lambda done, total: progress("reading pairs", done, total))  # fmt: skip
    held = behaviour(name, "validation")
    vectors = [fitted.vector, *fitted.nulls]
    progress("measuring the effect", 0, len(vectors))
    odds = log_odds(engine, held, [steered(vector, dose) for vector in vectors for dose in (1.0, -1.0)])
    effects = [(sum(up) - sum(down)) / (2 * len(held)) for up, down in zip(odds[::2], odds[1::2], strict=True)]
    progress("measuring the effect", len(vectors), len(vectors))
    beats = beats_shuffled_labels(effects[0], effects[1:]) if config.shuffles else False
    made = replace(fitted.vector, origin={**fitted.vector.origin, "behaviour": name, "effect": effects[0],
                                          "null_effects": effects[1:], "beats_null": beats})  # fmt: skip
    return BehaviourFit(replace(fitted, vector=made), effects[0], tuple(effects[1:]), beats)


def cached_behaviour(
    engine: WhiteBoxEngine, name: str, sites: Sequence[Site], folder: Path | None, progress: Progress = silent
) -> SteeringVector:
    """`fit_behaviour`'s vector at some sites; read from `folder` where the same was fitted before."""
    here = tuple(sites) or middle(engine)
    texts = [texts_of(behaviour(name, "fit")[:PAIRS]), texts_of(behaviour(name, "validation"))]
    about = ["fitted", texts, [str(site) for site in here]]
    return cached(folder, name, about, engine.fingerprint,
                         lambda: fit_behaviour(engine, name, VectorConfig(here), progress).vector)  # fmt: skip


def with_length(engine: WhiteBoxEngine, vector: SteeringVector, length: float) -> SteeringVector:
    """The vector made `length` of the median activation norm long at each of its sites."""
    lacking = [site for site in vector.vectors if site not in vector.norms]
    norms = dict(vector.norms)
    if lacking:
        norms |= activation_norms(engine, lacking)
    return rescaled(replace(vector, norms=norms), {site: length * norms[site] for site in vector.vectors})
