"""Feature sets in the stream: their latents held or multiplied, and the direction in which they write."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import Tensor

from demur.errors import BadFile, BadSpec
from demur.interventions.at import At, at
from demur.interventions.base import checked, unit
from demur.interventions.chain import chain
from demur.interventions.clamp import WORDS, Amount, Clamp, Mode, clamped, numbers_of
from demur.saes.feature_set import load_saes
from demur.saes.operators import indices
from demur.saes.sae import SAE
from demur.types import FeatureSet, Site, SteeringVector


def clamp_features(
    features: FeatureSet,
    value: Amount,
    relative: bool = False,
    saes: Mapping[Site, SAE] | None = None,
    keep_error: bool = True,
    without: Tensor | None = None,
) -> At:
    """`clamp` of every feature, site by site, on all tokens but the first.

    The first token's stream is massive in many models (Sun et al. 2402.17762) and no SAE is trained on it; to move it
    there breaks every answer.

    value: one number, or one a feature in the set's order. relative: in units of the clamp that moves the stream by
    its own length (`relative_unit`), not in the latents'. saes: loaded from the folders in the set's origin where left
    out. without: a direction [d_model] to take out of the decoder rows, so that nothing is added along it (the error
    must be kept). Raises as `clamp`, BadFile when a site has no SAE, or not the one that the set's features are of,
    and BadSpec for a relative value where the set does not say the streams' norms.
    """
    given = numbers_of(value, len(features.features), WORDS["constant"])
    if relative:
        by = relative_unit(features)
        given = [one * by for one in given]
    return _of_features(features, saes, given, "constant", keep_error, without)


def multiply_features(
    features: FeatureSet,
    factor: Amount = 0.0,
    saes: Mapping[Site, SAE] | None = None,
    keep_error: bool = True,
    without: Tensor | None = None,
) -> At:
    """`multiply` of every feature, site by site, by default with 0 (`suppress:`); otherwise as `clamp_features`."""
    given = numbers_of(factor, len(features.features), WORDS["multiply"])
    return _of_features(features, saes, given, "multiply", keep_error, without)


def relative_unit(features: FeatureSet) -> float:
    """The clamp at which k latents with decoder rows of length 1, at right angles, move the stream by its length:
    the mean of the norms in the set's origin over its sites, over the square root of k. BadSpec without norms."""
    norms = _norms(features)
    sites = sorted({feature.site for feature in features.features})
    if any(site not in norms for site in sites):
        raise BadSpec(
            "the feature set does not say the streams' norms for a relative value (r); find or pick the features "
            "again, or give a number in the latents' units."
        )
    return sum(norms[site] for site in sites) / len(sites) / len(features.features) ** 0.5


def along(features: FeatureSet, saes: Mapping[Site, SAE] | None = None) -> SteeringVector:
    """At each site the unit vector along the sum of the latents' unit decoder rows, u = s / |s|, s = sum_j w_j / |w_j|.

    With the streams' norms in the set's origin, a relative dose d adds d * norm * u. saes: as in `clamp_features`.
    Raises BadFile as there, BadVector where the rows of a site cancel.
    """
    vectors = {}
    for site, (sae, places) in _by_site(features, saes).items():
        latents = indices(sae, [features.features[place].index for place in places])
        rows = sae.weights["W_dec"].detach()[latents].float().cpu()
        summed = (rows / rows.norm(dim=-1, keepdim=True)).sum(0)
        vectors[site] = unit(checked(summed, f"the sum of the latents' decoder rows at {site}"))
    return SteeringVector(vectors, _norms(features), {"features": len(features.features)})


def _norms(features: FeatureSet) -> dict[Site, float]:
    said = features.origin.get("norms")
    found = {}
    for site in {feature.site for feature in features.features}:
        norm = said.get(str(site)) if isinstance(said, Mapping) else None
        if isinstance(norm, (int, float)):
            found[site] = float(norm)
    return found


def _by_site(features: FeatureSet, saes: Mapping[Site, SAE] | None) -> dict[Site, tuple[SAE, list[int]]]:
    """Site -> its SAE, and the places in the set of its features. BadFile for none, or another."""
    saes = load_saes(features) if saes is None else saes
    found = {}
    for site in sorted({feature.site for feature in features.features}):
        if site not in saes:
            raise BadFile(f"no SAE for the features at {site}; known: {', '.join(map(str, sorted(saes))) or 'none'}.")
        if (wanted := features.saes.get(site)) != saes[site].sha256:
            raise BadFile(
                f"the features at {site} are of an SAE with sha256 {(wanted or '(none)')[:12]}, not of "
                f"{saes[site].source or 'this one'} ({saes[site].sha256[:12]}); give theirs."
            )
        found[site] = saes[site], [place for place, one in enumerate(features.features) if one.site == site]
    return found


def _of_features(
    features: FeatureSet,
    saes: Mapping[Site, SAE] | None,
    numbers: Sequence[float],
    mode: Mode,
    keep_error: bool,
    without: Tensor | None,
) -> At:
    parts: list[Clamp] = []
    for sae, places in _by_site(features, saes).values():
        latents = [features.features[place].index for place in places]
        parts.append(clamped(sae, latents, [numbers[place] for place in places], mode, keep_error, without))
    return at("after-first", chain(*parts))
