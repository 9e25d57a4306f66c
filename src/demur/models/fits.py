"""What fits a model: sites that it has, and interventions of its width."""

from __future__ import annotations

import torch

from demur.errors import BadVector, UnknownName
from demur.interventions import Context, Intervention
from demur.models.families import Family, points_of
from demur.types import Site


def check_site(site: Site, n_layers: int, family: Family, config: object, name: str) -> None:
    """UnknownName unless the model has this site."""
    if not 0 <= site.layer < n_layers:
        raise UnknownName(f"{name} has no layer {site.layer}; known: 0 to {n_layers - 1}. Fix the site {site}.")
    known = points_of(family, config)
    if site.point not in known:
        raise UnknownName(f"{name} has no point {site.point!r}; known: {', '.join(known)}. Fix the site {site}.")


def check_intervention(
    intervention: Intervention, n_layers: int, d_model: int, family: Family, config: object, name: str
) -> None:
    """UnknownName or BadVector unless the model has the intervention's sites and its vectors have the model's width."""
    like = torch.zeros(1, 1, d_model)
    context = Context(torch.zeros(1, 1, dtype=torch.long), torch.ones(1, 1, dtype=torch.long))
    for site in sorted(intervention.sites):
        check_site(site, n_layers, family, config, name)
        try:
            intervention.edit(like, site, context)
        except RuntimeError as error:
            raise BadVector(
                f"the vector at {site} does not fit {name}, whose width is {d_model}; fit it on this model."
            ) from error
