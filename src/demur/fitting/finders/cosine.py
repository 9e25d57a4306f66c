"""Latents whose decoder rows lie along the refusal direction (CosSim, Yeo et al. 2505.23556)."""

from __future__ import annotations

from demur.features import cosine
from demur.fitting.finders.search import Finder, Search
from demur.types import FeatureSet


def find(search: Search) -> FeatureSet:
    """The nearest rows over all sites."""
    return cosine(search.saes, search.direction, search.k, per_site=False)


FINDER = Finder(find, "Latents, with the cosine of their decoder rows with the direction", frozenset({"direction"}))
