"""Attribution patching with integrated gradients: which latents does refusal depend on? (Yeo et al. 2505.23556)"""

from __future__ import annotations

from demur.features import attribute
from demur.fitting.finders.search import Finder, Search
from demur.types import FeatureSet


def find(search: Search) -> FeatureSet:
    """The latents to which ablating the refusal direction is attributed most."""
    found = attribute(search.engine, search.harmful, search.saes, search.direction, per_site=search.per_site,
                      progress=lambda done, total: search.progress("attributing", done, total))  # fmt: skip
    return found.feature_set(search.k)


FINDER = Finder(
    find,
    "Latents, with what each is estimated to give the refusal's first token over the answer's (logits, mean over "
    "tokens and prompts)",
    frozenset({"n", "per_site", "direction"}),
)
