"""The activation norm, the unit of relative doses (protocol: Steering semantics)."""

from __future__ import annotations

from collections.abc import Sequence

from demur.attacks import unattacked
from demur.engines.base import WhiteBoxEngine
from demur.prompts.sets import builtin_sets
from demur.types import Site


def activation_norms(engine: WhiteBoxEngine, sites: Sequence[Site]) -> dict[Site, float]:
    """The median Euclidean norm of the stream at each site, over the built-in plain fitting prompts' tokens but the
    first."""
    streams = engine.activations(unattacked(builtin_sets().take("plain", "fit")), list(sites))
    return {site: streams.median_norm(site) for site in sites}
