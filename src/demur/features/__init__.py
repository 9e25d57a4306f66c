"""Finding the latents that cause refusal: each way gives a `FeatureSet`; none reads a test prompt."""

from demur.features.agreement import Agreement, agreement, sample_pairs
from demur.features.attribution import Attributions, attribute
from demur.features.contrast import Contrast, contrast
from demur.features.cosine import cosine, cosines
from demur.features.exact import Exact, Pair, exact
from demur.features.minimal import minimal

__all__ = [
    "Agreement",
    "Attributions",
    "Contrast",
    "Exact",
    "Pair",
    "agreement",
    "attribute",
    "contrast",
    "cosine",
    "cosines",
    "exact",
    "minimal",
    "sample_pairs",
]
