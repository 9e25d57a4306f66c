"""Looking at latents: where they are most active, on the model's own chats and on texts."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from demur.attacks import unattacked
from demur.directions.anything import DirectionSource
from demur.engines.base import WhiteBoxEngine
from demur.engines.reading import text_rows
from demur.errors import check_sizes
from demur.evaluation.evaluator import Progress, silent
from demur.features.look import look
from demur.fitting.refusal import given_direction
from demur.prompts.sets import builtin_sets
from demur.reports.looks import Look
from demur.sae_training.data import chats, read_text
from demur.saes import load_saes
from demur.types import FeatureSet


@dataclass(frozen=True)
class LookConfig:
    """What is read."""

    texts: tuple[Path, ...] = ()
    """Plain text files, besides the built-in prompts."""
    n: int | None = 60
    """Built-in fitting prompts of each kind, with the model's answers."""
    most: int = 10
    """Latents that are looked at: the first of the set."""
    begin: str | None = None
    """What each window of text begins with (`engines.reading.text_rows`)."""
    direction: DirectionSource | None = None
    """A direction, as a value or a file, that the latents' decoder rows are compared with."""

    def __post_init__(self) -> None:
        check_sizes(n=self.n, most=self.most)


def look_at(
    engine: WhiteBoxEngine, features: FeatureSet, config: LookConfig | None = None, progress: Progress = silent
) -> list[Look]:
    """A look at each of the first latents of a set, on fitting prompts with the model's answers, and on texts."""
    config = config or LookConfig()
    saes = load_saes(features)
    toward = None if config.direction is None else given_direction(engine, config.direction)
    kinds = ("harmful", "borderline", "plain")
    asked = [talk for kind in kinds for talk in unattacked(builtin_sets().take(kind, "fit", config.n))]
    rows = chats(engine, asked, progress)
    rows += [row for path in config.texts for row in text_rows(engine, read_text(path), path.name, begin=config.begin)]
    first = features.features[: config.most]
    seen = {}
    for site in dict.fromkeys(f.site for f in first):
        indices = [f.index for f in first if f.site == site]
        for found in look(engine, saes[site], indices, rows, toward):
            seen[site, found.index] = found
    return [seen[f.site, f.index] for f in first]
