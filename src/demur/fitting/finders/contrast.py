"""Latents that are more active on harmful than on harmless requests (ActDiff, Yeo et al. 2505.23556)."""

from __future__ import annotations

from demur.features import contrast
from demur.fitting.finders.search import Finder, Search
from demur.types import FeatureSet


def find(search: Search) -> FeatureSet:
    """The latents whose means differ most."""
    return contrast(search.engine, search.harmful, search.harmless, search.saes).feature_set(search.k)


FINDER = Finder(
    find, "Latents, with their mean on harmful less that on harmless prompts, in their own units", frozenset({"n"})
)
