"""Latents active on one refusal, tried by clamping each under attack (O'Brien et al. 2411.11296)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from demur.engines.base import Request, white_box
from demur.errors import InputError
from demur.evaluation.evaluator import Evaluator
from demur.evaluation.judging import calibrated_judge
from demur.features.one_prompt import Screen, one_prompt
from demur.fitting.doses import likelihoods, refusals
from demur.fitting.finders.search import Finder, Search
from demur.fitting.norms import activation_norms
from demur.judges.refusal import refusal
from demur.saes import SAE
from demur.types import Conversation, Decoding, FeatureSet, Site

ATTACKS = ("prefill", "fiction", "continuation")
"""Families that candidates are tried under; a proof ranks all families itself."""
SCREENED = ("prefill",)
"""Those of them that hundreds of candidates are screened under: short ones."""
NEW_TOKENS = 24


def find(search: Search) -> FeatureSet:
    """From the first fitting request that the model refuses; candidates are tried on validation requests."""
    judge = calibrated_judge(search.engine, Decoding(NEW_TOKENS))
    evaluator = Evaluator(search.engine, judge, Decoding(NEW_TOKENS), progress=search.progress, prompts=search.prompts)
    return from_one_prompt(evaluator, search.saes, search.harmful, 0, search.k, search.value)


def from_one_prompt(
    evaluator: Evaluator,
    saes: Mapping[Site, SAE],
    harmful: Sequence[Conversation],
    which: int = 0,
    k: int = 1,
    value: float = 0.3,
) -> FeatureSet:
    """From the `which`-th of some fitting prompts that the model refuses.

    value: the clamp that candidates are tried at, in units of the median activation norm. Raises InputError when the
    model refuses no more than `which` of the prompts.
    """
    engine, prompts = white_box(evaluator.engine), evaluator.prompts
    answers = engine.generate([Request(c) for c in harmful], Decoding(32))
    refused = [a for a in answers if refusal(a.text).kind == "refused"]
    if which >= len(refused):
        raise InputError(f"{engine.name} refuses {len(refused)} of {len(harmful)} fitting prompts, so there is no "
                         f"refusal number {which} to start from; use a model that refuses.")  # fmt: skip
    one = refused[which]
    values = {site: value * norm for site, norm in activation_norms(engine, sorted(saes)).items()}
    return one_prompt(engine, one.conversation, one.text, saes, values, refusals(evaluator, ATTACKS, 8), k,
                      screen=Screen(likelihoods(engine, prompts, one.text, SCREENED)))  # fmt: skip


FINDER = Finder(
    find,
    "Latents, with the rise of refusals under attack when clamped, less that of broken answers (validation prompts)",
    frozenset({"n", "value"}),
    k=1,
)
