"""`python -m recipes.sae.stability --shipped FOLDER NAME=FOLDER ...`: are they the model's features?

Each FOLDER holds an SAE of the same site in SAELens' layout, trained with another seed, width or model (`recipes.sae
--name NAME --site 19.post --seed 1`). For each: the same search on the same fitting prompts, how near the found latents
lie to the shipped SAE's, and what suppressing them does to held-out requests.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import torch
from torch import Tensor

from demur.analysis.tables import find, in_words, table_figures
from demur.attacks import unattacked
from demur.engines.hf import HFEngine
from demur.evaluation.evaluator import Arm
from demur.evaluation.judging import open_evaluator
from demur.fitting.doses import choose_doses
from demur.fitting.find_features import FindConfig, find_features
from demur.fitting.finders.one_prompt import ATTACKS
from demur.fitting.refusal import refusal_direction
from demur.interventions import clamp_features, multiply_features
from demur.prompts.builtin import builtin
from demur.prompts.sets import spread
from demur.runs import write_results
from demur.saes import SAE, load_sae
from demur.stats import cluster_mean
from demur.types import Decoding, FeatureSet, Figure
from recipes.parts import say

MODEL = "smollm2-refuser"


def nearest(sae: SAE, some: Tensor, other: SAE, among: Tensor | None = None) -> Tensor:
    """Of each latent in `some`, the highest cosine of its decoder row with rows of another SAE."""
    mine, theirs = (torch.nn.functional.normalize(s.weights["W_dec"].float(), dim=-1) for s in (sae, other))
    theirs = theirs if among is None else theirs[among]
    return (mine[some] @ theirs.T).amax(-1)


def overlap(name: str, shipped: tuple[SAE, FeatureSet], other: tuple[SAE, FeatureSet]) -> list[Figure]:
    """How near the found latents of two SAEs lie, and any latents of theirs, as mean highest cosines."""
    (sae, features), (sae_b, features_b) = shipped, other
    mine, theirs = (torch.tensor([f.index for f in some.features]) for some in (features, features_b))
    every = torch.randperm(sae.d_sae, generator=torch.Generator().manual_seed(0))[:500]
    found = {
        "found in found": nearest(sae, mine, sae_b, theirs),
        "found in all": nearest(sae, mine, sae_b),
        "any in all": nearest(sae, every, sae_b),
    }
    figures = []
    for what, values in found.items():
        interval = cluster_mean(values.tolist(), range(len(values)))
        figures.append(Figure(name, "shipped", what, "highest_cosine", interval.value, len(values), "latents",
                              interval.low, interval.high))  # fmt: skip
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m recipes.sae.stability", description=__doc__)
    parser.add_argument("--shipped", type=Path, required=True)
    parser.add_argument("others", nargs="+", help="NAME=FOLDER")
    parser.add_argument("--model", default=MODEL)
    parser.add_argument("--n", type=int, default=60, help="held-out requests")
    parser.add_argument("--k", type=int, default=10, help="latents of a set")
    parser.add_argument("--out", type=Path, default=Path("runs/sae-stability"))
    options = parser.parse_args()
    started = time.monotonic()
    folders = {"shipped": options.shipped, **{n: Path(f) for n, _, f in (o.partition("=") for o in options.others)}}
    saes = {name: load_sae(folder) for name, folder in folders.items()}
    engine = HFEngine(options.model, "bf16")
    toward = refusal_direction(engine, None, None, options.out, say)
    decoding = Decoding(24)
    harmful = spread(builtin("harmful", "test"), options.n)
    sets = {"harmful": unattacked(harmful), "plain": unattacked(spread(builtin("plain", "test"), options.n))}
    figures: list[Figure] = []
    found: dict[str, FeatureSet] = {}
    with open_evaluator(engine, decoding, options.out, say) as evaluator:
        for name, sae in saes.items():
            assert sae.site is not None
            here = {sae.site: sae}
            config = FindConfig(k=options.k, per_site=4 * options.k)
            found[name] = find_features(engine, here, config=config, direction=toward, progress=say)
            doses = choose_doses(evaluator, found[name], here, ATTACKS, 12)
            arms = [Arm("unsteered"),
                    Arm(f"suppress, {name}", multiply_features(found[name], doses.factor, saes=here)),
                    Arm(f"clamp, {name}", clamp_features(found[name], doses.value, saes=here))]  # fmt: skip
            some = table_figures(evaluator.run(arms, sets))
            figures += some if name == "shipped" else [f for f in some if f.arm != "unsteered"]
            if name != "shipped":
                figures += overlap(name, (saes["shipped"], found["shipped"]), (sae, found[name]))
            effect = find(figures, f"suppress, {name}", "harmful", "compliance_rate", "unsteered")
            print(f"# {name}: {len(found[name].features)} latents x {doses.factor:g}: {in_words(effect)}", flush=True)
    for figure in figures:
        if figure.metric == "highest_cosine":
            print(f"# {figure.arm}: {figure.set} {figure.value:.2f} [{figure.low:.2f}, {figure.high:.2f}]", flush=True)
    spec = {"experiment": "sae stability", "model": options.model, "k": options.k, "n": options.n,
            "saes": {name: sae.sha256 for name, sae in saes.items()},
            "latents": {name: [f.index for f in some.features] for name, some in found.items()}}  # fmt: skip
    write_results(options.out, spec, figures, time.monotonic() - started)


if __name__ == "__main__":
    main()
