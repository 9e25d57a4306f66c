"""Latents that write along a direction: the highest signed cosines of decoder rows with it.

The baseline CosSim of Yeo et al. (2505.23556), and the candidates of their attribution patching.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from jaxtyping import Float
from torch import Tensor

from demur.errors import BadVector
from demur.features.record import MODEL, best, check_count, check_saes, direction_record, hashes, origin_of
from demur.saes import SAE
from demur.types import Direction, FeatureSet, Site


def cosines(sae: SAE, direction: Direction) -> Float[Tensor, " d_sae"]:
    """The signed cosine of every decoder row with the direction, float32; 0 for a row of zeros.

    Raises BadVector when the direction has another width than the SAE's stream.
    """
    rows = sae.weights["W_dec"].float()
    vector = direction.vector.to(rows)
    if vector.shape != (sae.d_in,):
        raise BadVector(
            f"the direction at {direction.site} has shape {list(vector.shape)}; the SAE at {sae.site} reads a stream "
            f"of width {sae.d_in}: fit it on the SAE's model."
        )
    return torch.nn.functional.cosine_similarity(rows, vector[None], dim=-1).cpu()


def cosine(saes: Mapping[Site, SAE], direction: Direction, k: int = 10, per_site: bool = True) -> FeatureSet:
    """The k latents of each site (per_site) or of all sites together whose decoder rows lie closest to the direction.

    Scores are cosines from -1 to 1; a negative one counts as far. The direction may come from any site: the stream
    is one space. Raises InputError for a k that is not there, BadSpec or BadVector for SAEs that do not fit.
    """
    check_saes(saes)
    found = {site: cosines(sae, direction) for site, sae in saes.items()}
    known, origin = hashes(saes), _origin(saes, direction, per_site)
    if not per_site:
        return best(found, k, known, origin)
    for site, values in found.items():
        check_count(k, len(values), f"the SAE at {site} has")
    each = [best({site: found[site]}, k, known, origin) for site in sorted(found)]
    features = sorted((f for one in each for f in one.features), key=lambda feature: -feature.score)
    return FeatureSet(tuple(features), known, {**origin, "k": k})


def _origin(saes: Mapping[Site, SAE], direction: Direction, per_site: bool) -> dict[str, object]:
    """No model was run: it is the direction's."""
    model = {name: direction.origin[name] for name in MODEL if name in direction.origin}
    return model | origin_of(
        "cosine of decoder rows with a direction (CosSim, Yeo et al. 2505.23556)",
        None,
        [],
        saes,
        direction=direction_record(direction),
        per_site=per_site,
    )
