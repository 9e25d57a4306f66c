"""What a feature set says of how it was made, and what is checked before anything runs."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from demur.engines.base import Engine
from demur.errors import BadSpec, InputError
from demur.prompts import uses
from demur.runs.keys import digest
from demur.saes import SAE
from demur.types import Conversation, Direction, Feature, FeatureSet, Site
from demur.version import VERSION

MODEL = ("weights", "tokenizer", "template", "dtype")
"""What a set says of the model that it was found on."""


def check_saes(saes: Mapping[Site, SAE]) -> None:
    """InputError without SAEs, BadSpec for one that stands under another site than its own."""
    if not saes:
        raise InputError("no SAEs to find features in; give {sae.site: sae}.")
    for site, sae in saes.items():
        if sae.site != site:
            raise BadSpec(f"the SAE given for {site} stands at {sae.site}; give it under its own site.")


def check_prompts(conversations: Sequence[Conversation], what: str) -> None:
    """InputError for no prompts, or for ones reserved for another use than fitting (protocol: Splits)."""
    if not conversations:
        raise InputError(f"there are no {what} prompts; give at least one.")
    uses.check(fitting=conversations)


def origin_of(
    method: str, engine: Engine | None, conversations: Sequence[Conversation], saes: Mapping[Site, SAE], **more: Any
) -> dict[str, Any]:
    """JSON-ready: method, `more`, prompts by id and by the hash of what was asked, SAEs by source, model, version."""
    made: dict[str, Any] = {
        "method": method,
        **more,
        "version": VERSION,
        "saes": {str(site): saes[site].source for site in sorted(saes)},
    }
    if conversations:
        made["prompts"] = [c.prompt.id for c in conversations]
        made["texts"] = digest([[[[m.role, m.content] for m in c.messages], c.prefill] for c in conversations])
    if engine is not None:
        made |= {name: getattr(engine.fingerprint, name) for name in MODEL}
    return made


def direction_record(direction: Direction) -> dict[str, str]:
    """A direction by its site and the sha256 of its vector."""
    data = direction.vector.detach().cpu().float().contiguous().numpy().tobytes()
    return {"site": str(direction.site), "sha256": hashlib.sha256(data).hexdigest()}


def check_count(k: int, available: int, what: str) -> None:
    """InputError unless k latents can be taken."""
    if isinstance(k, bool) or not isinstance(k, int) or not 1 <= k <= available:
        raise InputError(f"k is {k!r}, but {what} {available} latents; give a k from 1 to {available}.")


def best(
    scores: Mapping[Site, Tensor],
    k: int,
    saes: Mapping[Site, str],
    origin: Mapping[str, Any],
    latents: Mapping[Site, Tensor] | None = None,
    above: float = float("-inf"),
) -> FeatureSet:
    """The k latents with the highest scores over all sites, best first, ties in the order of sites and indices.

    scores: site -> [some]. latents: site -> the index of each of the some; None: they are all. Latents with a score
    of `above` or less are left out, so there may be fewer than k; with none at all it is an InputError.
    """
    check_count(k, sum(len(values) for values in scores.values()), "these sites have")
    found: list[Feature] = []
    for site in sorted(scores):
        values, order = scores[site].float().sort(descending=True, stable=True)
        names = order if latents is None else latents[site].cpu()[order.cpu()]
        pairs = zip(names[:k].tolist(), values[:k].tolist(), strict=True)
        found += [Feature(site, index, score) for index, score in pairs if score > above]
    if not found:
        raise InputError(f"no latent scores above {above:g}; give other prompts, SAEs at other sites or a direction.")
    found = sorted(found, key=lambda feature: -feature.score)[:k]
    here = sorted({feature.site for feature in found})
    return FeatureSet(tuple(found), {site: saes[site] for site in here}, {**origin, "k": k})


def hashes(saes: Mapping[Site, SAE]) -> dict[Site, str]:
    """Site -> sha256 of its SAE."""
    return {site: saes[site].sha256 for site in sorted(saes)}


def on_sae(sae: SAE, x: Tensor) -> Tensor:
    """A stream on the SAE's device."""
    return x.to(sae.weights["W_dec"].device)
