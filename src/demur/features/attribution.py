"""Attribution patching with integrated gradients: which latents cause refusal (Yeo et al. 2505.23556; Syed et al.
2310.10348 for the estimate, Sundararajan et al. 1703.01365 for the path, Marks et al. 2403.19647 for latents).

clean: a harmful prompt as it is. patched: the same prompt with the refusal direction ablated everywhere.
m = logit(jailbroken token) - logit(refusal token) at the last position, the two tokens being the argmax of the
patched and of the clean run. With f the latents, at each token position p and for each latent j,

    attr[p, j] = (f_patched[p, j] - f_clean[p, j]) * mean over a of (dm/df_a[p, j]),   a = 0, 1/N, ..., (N-1)/N

where at ALL sites together f_a = (1-a) f_clean + a f_patched, and the SAE's error is interpolated likewise: the
stream at step a is then (1-a) x_clean + a x_patched, and dm/df_j is the gradient there times decoder row j. Both
runs' errors are their own; nothing of one run is left in the other.

SIGN: m rises when refusal is lost, so a positive attribution means that moving the latent from its clean to its
patched value takes the model away from refusing: the latent, as it is in the clean run, causes refusal.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from demur.activations.store import Activations
from demur.engines.base import Metric, WhiteBoxEngine
from demur.errors import InputError
from demur.features.cosine import cosines
from demur.features.record import (
    best,
    check_count,
    check_prompts,
    check_saes,
    direction_record,
    hashes,
    on_sae,
    origin_of,
)
from demur.interventions import ablate
from demur.saes import SAE, decoder_rows, encode_some
from demur.types import Conversation, Direction, FeatureSet, Site

POSITIONS = ("content", "all", "last")
"""content: the tokens of the user's own text (the paper's). all: every token. last: the last one only."""
FEWEST = 4
"""Prompts that the ablation must turn."""
CHUNK = 16
"""Prompts whose streams are held at once."""


@dataclass(frozen=True, eq=False)
class Attributions:
    """The attribution of each candidate latent on each prompt that the ablation turns."""

    conversations: tuple[Conversation, ...]
    """Those whose first token the ablation changes, in the order given."""
    latents: Mapping[Site, Int[Tensor, " some"]]
    """The candidates of each site, by index."""
    values: Mapping[Site, Float[Tensor, "prompts some"]]
    """Mean attribution over the positions, logits; positive: causes refusal (see above)."""
    counts: Int[Tensor, " prompts"]
    """Positions each mean was taken over."""
    refusal: Int[Tensor, " prompts"]
    """The first token of the clean run."""
    jailbroken: Int[Tensor, " prompts"]
    """The first token of the run under ablation."""
    clean: Float[Tensor, " prompts"]
    """m of the clean run, logits; never positive."""
    patched: Float[Tensor, " prompts"]
    """m of the run under ablation, logits; never negative."""
    positions: str
    saes: Mapping[Site, str]
    """Each SAE's sha256."""
    origin: Mapping[str, Any]
    seconds: float
    """Wall time of all of it."""

    def totals(self, site: Site) -> Float[Tensor, "prompts some"]:
        """Attributions summed over positions: what moving the latent at all of them is estimated to do to m."""
        return self.values[site] * self.counts[:, None]

    def feature_set(self, k: int = 20) -> FeatureSet:
        """The global set: the k latents over all sites with the highest mean over prompts, positive ones only.

        There may be fewer than k. Raises InputError for a k that is not there, or when no latent is positive.
        """
        return best(self._mean(slice(None)), k, self.saes, {**self.origin, "set": "global"}, self.latents, above=0.0)

    def local(self, prompt: int, k: int = 20) -> FeatureSet:
        """The k latents of one prompt, by its place in `conversations`. Raises InputError as `feature_set`."""
        if not 0 <= prompt < len(self.conversations):
            raise InputError(f"no prompt {prompt} among these attributions; known: 0 to {len(self.conversations) - 1}.")
        name = self.conversations[prompt].prompt.id
        origin = {**self.origin, "set": "local", "prompts": [name]}
        return best(self._mean(slice(prompt, prompt + 1)), k, self.saes, origin, self.latents, above=0.0)

    def _mean(self, prompts: slice) -> dict[Site, Tensor]:
        return {site: values[prompts].mean(0) for site, values in self.values.items()}


def attribute(
    engine: WhiteBoxEngine,
    conversations: Sequence[Conversation],
    saes: Mapping[Site, SAE],
    direction: Direction,
    steps: int = 10,
    per_site: int | None = 10,
    positions: str = "content",
    progress: Callable[[int, int], None] | None = None,
) -> Attributions:
    """Attribute the refusal of harmful fitting prompts to latents.

    steps: N, the points of the path from the clean to the patched streams. per_site: K0, only this many latents of
    each site are candidates, by the signed cosine of their decoder rows with the direction; None: all latents.
    positions: where latents are attributed, and averaged over. progress: called with (prompts done, prompts).

    Raises InputError when the ablation changes the first token of fewer than 4 prompts, for prompts reserved for
    another use, or settings out of range; BadSpec and BadVector for SAEs or a direction that do not fit.
    """
    started = time.perf_counter()
    check_saes(saes)
    check_prompts(conversations, "harmful")
    if isinstance(steps, bool) or not isinstance(steps, int) or steps < 1:
        raise InputError(f"steps is {steps!r}; the path has at least 1.")
    if positions not in POSITIONS:
        raise InputError(f"latents are attributed at positions {', '.join(POSITIONS)}, not {positions!r}.")
    latents = {site: _candidates(saes[site], direction, per_site) for site in sorted(saes)}
    steer = ablate(direction)
    before, after = engine.last_logits(conversations), engine.last_logits(conversations, steer)
    turned = (before.argmax(-1) != after.argmax(-1)).nonzero()[:, 0]
    if len(turned) < FEWEST:
        raise InputError(
            f"the ablation changes the first token of {len(turned)} of {len(conversations)} prompts, and attribution "
            f"needs {FEWEST}; give more harmful prompts that the model refuses, or a direction that undoes refusal."
        )
    kept = [conversations[i] for i in turned.tolist()]
    refusal, jailbroken = before[turned].argmax(-1), after[turned].argmax(-1)
    values = {site: torch.zeros(len(kept), len(some)) for site, some in latents.items()}
    counts = torch.zeros(len(kept), dtype=torch.long)
    # Prompts of like length stand together, for batches are padded.
    order = sorted(range(len(kept)), key=lambda i: (_length(kept[i]), i))
    for done in range(0, len(order), CHUNK):
        chunk = order[done : done + CHUNK]
        some = [kept[i] for i in chunk]
        clean, patched = engine.activations(some, list(latents)), engine.activations(some, list(latents), None, steer)
        slopes = _slopes(engine, some, clean, patched, difference(refusal[chunk], jailbroken[chunk]), steps)
        masks = chosen(engine, some, positions, clean)
        for site, sae in saes.items():
            rows = decoder_rows(sae, latents[site]).float().cpu()
            parts = zip(chunk, clean.rows(site), patched.rows(site), slopes[site], masks, strict=True)
            for i, x, y, slope, here in parts:
                moved = activity(sae, y[here], latents[site]) - activity(sae, x[here], latents[site])
                values[site][i] = (moved * (slope[here] @ rows.T)).mean(0)
                counts[i] = here.sum()
        if progress is not None:
            progress(min(done + CHUNK, len(order)), len(order))
    origin = origin_of(
        "attribution patching with integrated gradients (Yeo et al. 2505.23556)",
        engine,
        kept,
        saes,
        direction=direction_record(direction),
        steps=steps,
        per_site=per_site,
        positions=positions,
        left_out=len(conversations) - len(kept),
    )
    metrics = [logits[turned, jailbroken] - logits[turned, refusal] for logits in (before, after)]
    return Attributions(
        conversations=tuple(kept),
        latents=latents,
        values=values,
        counts=counts,
        refusal=refusal,
        jailbroken=jailbroken,
        clean=metrics[0],
        patched=metrics[1],
        positions=positions,
        saes=hashes(saes),
        origin=origin,
        seconds=time.perf_counter() - started,
    )


def difference(refusal: Int[Tensor, " n"], jailbroken: Int[Tensor, " n"]) -> Metric:
    """m of each row: logit(jailbroken token) - logit(refusal token)."""

    def metric(logits: Tensor, index: Tensor) -> Tensor:
        to, away = (tokens.to(logits.device)[index][:, None] for tokens in (jailbroken, refusal))
        return (logits.gather(1, to) - logits.gather(1, away))[:, 0]

    return metric


def chosen(
    engine: WhiteBoxEngine, conversations: Sequence[Conversation], positions: str, streams: Activations
) -> list[Bool[Tensor, " _"]]:
    """Which tokens of each conversation are meant, [tokens]; streams: of these conversations, for their lengths."""
    if positions == "content":
        return engine.content(conversations)
    masks = [torch.ones(int(length), dtype=torch.bool) for length in streams.mask.sum(1)]
    for mask in masks if positions == "last" else []:
        mask[:-1] = False
    return masks


def activity(sae: SAE, x: Float[Tensor, "tokens d_model"], latents: Tensor) -> Float[Tensor, "tokens some"]:
    """Latents of a stream, on the CPU."""
    return encode_some(sae, on_sae(sae, x), latents).float().cpu()


def _candidates(sae: SAE, direction: Direction, per_site: int | None) -> Tensor:
    """The latents to attribute to, in ascending order."""
    near = cosines(sae, direction)
    if per_site is None:
        return torch.arange(sae.d_sae)
    check_count(per_site, sae.d_sae, f"the SAE at {sae.site} has")
    return near.sort(descending=True, stable=True).indices[:per_site].sort().values


def _slopes(
    engine: WhiteBoxEngine,
    conversations: Sequence[Conversation],
    clean: Activations,
    patched: Activations,
    metric: Metric,
    steps: int,
) -> dict[Site, list[Tensor]]:
    """The mean gradient of m along the path, [tokens, d_model] a prompt: that of f_j is its product with row j."""
    ends = {site: list(zip(clean.rows(site), patched.rows(site), strict=True)) for site in clean.tensors}
    total = {site: [torch.zeros_like(x) for x, _ in pairs] for site, pairs in ends.items()}
    for step in range(steps):
        streams = [
            {site: torch.lerp(*pairs[i], step / steps) for site, pairs in ends.items()}
            for i in range(len(conversations))
        ]
        found = engine.gradients(conversations, list(ends), metric, streams)
        for site, gradients in found.items():
            for sum_, gradient in zip(total[site], gradients, strict=True):
                sum_ += gradient / steps
    return total


def _length(conversation: Conversation) -> int:
    """Characters, as a stand-in for tokens."""
    return len(conversation.prefill) + sum(len(message.content or "") for message in conversation.messages)
