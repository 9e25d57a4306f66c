"""How a model opens its refusals, measured on fitting prompts, and the refusal score built on it.

Arditi et al. score refusal by the mass of a hand-written token set ("I", "As"). Which tokens open a
refusal differs by model, so they are counted here, and the score is checked against the judge.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from demur.engines.base import Engine, Request, WhiteBoxEngine, refusal_scores
from demur.errors import NoRefusal
from demur.interventions import Intervention
from demur.judges.refusal import refusal
from demur.prompts import uses
from demur.stats import auroc
from demur.types import Conversation, Decoding

ENOUGH = 0.95
"""AUROC against the judge below which longer openings are tried (protocol: Steering semantics)."""


@dataclass(frozen=True)
class Openings:
    """Token sequences that open refusals, all of one length, and how well they tell refusal."""

    sequences: tuple[tuple[int, ...], ...]
    auroc: float
    """Of the score against the judge, over the prompts they were counted on."""
    refused: int
    answered: int

    def scores(
        self,
        engine: WhiteBoxEngine,
        conversations: Sequence[Conversation],
        intervention: Intervention | None = None,
        logits: Float[Tensor, "n vocab"] | None = None,
    ) -> Tensor:
        """log p(refusal opening) - log(1 - p) for each conversation, [n] float64.

        logits: of the first answer token under the intervention, where they are known.
        """
        if len(self.sequences[0]) == 1:
            logits = engine.last_logits(conversations, intervention) if logits is None else logits
            return refusal_scores(logits, [tokens[0] for tokens in self.sequences])
        logp = opening_logprobs(engine, conversations, self.sequences, intervention)
        mass = logp.logsumexp(-1)
        return mass - torch.log1p(-mass.exp().clamp(max=1 - 1e-12))


def opening_logprobs(
    engine: Engine,
    conversations: Sequence[Conversation],
    openings: Sequence[tuple[int, ...]],
    intervention: Intervention | None = None,
) -> Float[Tensor, "n openings"]:
    """Log-probability that the answer to each conversation begins with each opening."""
    scored = engine.logprobs([(c, opening) for c in conversations for opening in openings], intervention)
    return torch.tensor([row.total for row in scored]).view(len(conversations), len(openings))


def measure_openings(
    engine: WhiteBoxEngine, harmful: Sequence[Conversation], harmless: Sequence[Conversation], longest: int = 3
) -> Openings:
    """Openings of the model's own refusals.

    Kept: sequences that open >= 2% of the refusals and are >= 4 times as frequent there as among the
    other answers. Length 1 first; up to `longest` tokens while the AUROC stays below ENOUGH.
    Raises NoRefusal when the model refuses fewer than 5 of the harmful prompts.
    """
    conversations = [*harmful, *harmless]
    uses.check(fitting=conversations)
    answers = engine.generate([Request(c) for c in conversations], Decoding(max_new_tokens=24))
    refused = [refusal(answer.text).kind == "refused" for answer in answers]
    if sum(refused) < 5 or all(refused):
        raise NoRefusal(
            f"{sum(refused)} of {len(refused)} fitting prompts were refused; a refusal direction needs both kinds. "
            f"Use a model that refuses, such as smollm2-refuser."
        )
    best: Openings | None = None
    for length in range(1, longest + 1):
        opened = Counter(answer.tokens[:length] for answer, no in zip(answers, refused, strict=True) if no)
        other = Counter(answer.tokens[:length] for answer, no in zip(answers, refused, strict=True) if not no)
        n_no, n_yes = sum(refused), len(refused) - sum(refused)
        kept = tuple(
            tokens
            for tokens, count in opened.most_common()
            if count / n_no >= 0.02 and count / n_no >= 4 * other[tokens] / n_yes and len(tokens) == length
        )
        if not kept:
            continue
        found = Openings(kept, 0.0, n_no, n_yes)
        area = auroc(refused, found.scores(engine, conversations).tolist())
        if best is None or area > best.auroc:
            best = Openings(kept, area, n_no, n_yes)
        if best.auroc >= ENOUGH:
            break
    if best is None:
        raise NoRefusal("refusals and answers open alike on these prompts; no refusal score can be built.")
    return best
