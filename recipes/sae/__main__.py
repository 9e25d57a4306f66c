"""`DEMUR_DATA=folder python -m recipes.sae --work FOLDER`: an hour on two cores; goes on where it was broken off.

Trains one SAE a site on text and chats, checks them on text and chats they never saw, and leaves the SAEs that ship
(bf16, SAELens' layout) in FOLDER/sae/ship; copy them to src/demur/saes/weights/smollm2-refuser.

With glibc, MALLOC_MMAP_MAX_=0 MALLOC_TRIM_THRESHOLD_=8000000000 MALLOC_TOP_PAD_=268435456 in the environment take a
third off a training step: its large tensors are then not handed back to the system and fetched anew at every step.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import sys
import time
from dataclasses import asdict, replace
from pathlib import Path

import torch

from demur.engines.hf import HFEngine
from demur.errors import InputError
from demur.interventions import parse_site
from demur.runs import write_results, write_text
from demur.sae_training.data import collect
from demur.sae_training.quality import quality
from demur.sae_training.train import Training, train_sae
from demur.saes import save_sae
from recipes.sae.card import card
from recipes.sae.reading import held_out, training_rows

MODEL = "smollm2-refuser"
SITES = tuple(parse_site(name) for name in ("9.post", "14.post", "19.post"))
"""A third, half and two thirds of 30 blocks; 19.post is where the refusal direction stands (20.pre)."""
TRAINING = Training(d_sae=5120, tokens=4_000_000)
ACTIVE = {"9.post": 60}
"""Sites that are kept with fewer active latents than k, for text that was not read has more of them (64 at most)."""
KEPT = """\
At 9.post 60 latents are kept active on training tokens: with 62 the text below had 65.0, where 64 was asked for. So its
L0 on text is no blind figure."""


def say(phase: str, done: int, total: int) -> None:
    """Progress on stderr, a line at every twentieth."""
    if done == total or done * 20 // total != (done - 1) * 20 // total:
        print(f"{time.strftime('%H:%M:%S')} {phase} {done}/{total}", file=sys.stderr, flush=True)


def main() -> None:
    """Collect, train, check, ship."""
    parser = argparse.ArgumentParser(prog="python -m recipes.sae", description=__doc__)
    parser.add_argument("--work", type=Path, default=Path("build/sae"))
    parser.add_argument("--model", default=MODEL)
    parser.add_argument("--tokens", type=int, default=TRAINING.tokens)
    parser.add_argument("--rows", type=int, default=2_500_000, help="activations kept on disk")
    parser.add_argument("--d-sae", type=int, default=TRAINING.d_sae)
    parser.add_argument("--k", type=int, default=TRAINING.k)
    parser.add_argument("--batch", type=int, default=TRAINING.batch)
    parser.add_argument("--lr", type=float, default=TRAINING.lr)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--site", action="append", help="only these sites, as 19.post")
    parser.add_argument("--name", default="sae", help="the folder of this training inside --work")
    options = parser.parse_args()
    if "DEMUR_DATA" not in os.environ:
        raise InputError("the recipe reads public texts; set DEMUR_DATA to their folder.")
    started, data, work = time.monotonic(), Path(os.environ["DEMUR_DATA"]), options.work
    engine = HFEngine(options.model, "bf16")
    rows = training_rows(engine, data, work, say)
    random.Random(0).shuffle(rows)
    stored = collect(engine, rows, SITES, work / f"activations-{options.model}", options.rows, say)
    sites = [parse_site(name) for name in options.site] if options.site else list(SITES)
    chosen = {name: getattr(options, name) for name in ("tokens", "d_sae", "k", "batch", "lr", "seed")}
    training = replace(TRAINING, **chosen)
    saes = []
    how = {str(site): replace(training, active=ACTIVE.get(str(site))) for site in sites}
    for site in sites:
        saes.append(train_sae(stored, site, how[str(site)], work / options.name / str(site), options.model,
                              lambda done, total, site=site: say(f"training {site}", done, total)))  # fmt: skip
    shipped = [sae.to(dtype=torch.bfloat16) for sae in saes]
    for sae in shipped:
        save_sae(sae, work / options.name / "ship" / str(sae.site))
    cards = quality(engine, shipped, held_out(engine, data, work, say), progress=say)
    figures = [figure for one in cards for figure in one.figures()]
    write_text(work / options.name / "ship" / "README.md", card(options.model, training, stored.count, cards, KEPT))
    spec = {"model": options.model, "training": {name: asdict(one) for name, one in how.items()},
            "saes": {str(s.site): s.sha256 for s in shipped}}  # fmt: skip
    write_results(work / options.name, spec, figures, time.monotonic() - started)
    for one in cards:
        for f in one.sets:
            print(json.dumps({"site": one.sae, "set": f.set, "tokens": f.tokens, "l0": round(f.l0, 1),
                              "explained": round(f.explained, 4), "all": round(f.explained_all, 4),
                              "recovered": round(f.recovered, 4), "clean": round(f.clean, 4),
                              "spliced": round(f.spliced, 4), "mean": round(f.ablated, 4),
                              "silent": round(one.silent, 4), "outliers": one.outliers}), flush=True)  # fmt: skip


if __name__ == "__main__":
    main()
