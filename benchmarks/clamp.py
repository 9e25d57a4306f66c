"""Tokens per second while 20 SAE latents are clamped: against none clamped, and against sae-lens' hooked model.

    python -m benchmarks.clamp --out benchmarks/clamp [--pairs 9] [--prompts 96]

Same weights, dtype, prompts and process; pairs are interleaved and the median ratio is given. sae-lens runs its
SAETransformerBridge with the SAE attached (error kept) and a hook that sets the same latents.
"""

from __future__ import annotations

import argparse
import time
import warnings
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from recipes.targets import Target, verdict_lines

from benchmarks.engine import MODEL, Plain, mixed, ours, pairs, speed
from demur.engines.hf import HFEngine
from demur.engines.rows import row_of
from demur.interventions import clamp_features
from demur.runs import write_results
from demur.saes import SAE, load_sae, save_sae
from demur.saes.bundled import bundled_saes
from demur.types import Conversation, Feature, FeatureSet, Figure, Site

SITE, LATENTS, VALUE, NEW = "19.post", 20, 4.0, 24
BATCH = 32
TARGETS = [
    Target("6a", "JumpReLU clamped", "demur jumprelu", "forced", "speedup", ">=", 0.95, versus="unsteered"),
    Target(
        "6a3", "JumpReLU at 3 sites", "demur jumprelu, 3 sites", "forced", "speedup", ">=", 0.95, versus="unsteered"
    ),
    Target("6b", "TopK clamped", "demur topk", "forced", "speedup", ">=", 0.85, versus="unsteered"),
    Target("6c", "against sae-lens", "demur jumprelu", "forced", "speedup", ">", 1.0, versus="sae-lens"),
]


def topk_of(sae: SAE, k: int = 48) -> SAE:
    """The same weights as a TopK SAE: what it costs does not depend on what it learned."""
    weights = {name: part for name, part in sae.weights.items() if name != "threshold"}
    return replace(sae, kind="topk", weights=weights, k=k)


def of(saes: dict[Site, SAE], latents: list[int]) -> FeatureSet:
    """The latents as a set, dealt out over the sites."""
    sites = sorted(saes)
    features = tuple(Feature(sites[i % len(sites)], latent, 0.0) for i, latent in enumerate(latents))
    return FeatureSet(features, {site: sae.sha256 for site, sae in saes.items()})


def measure(n_pairs: int = 9, n_prompts: int = 96) -> list[Figure]:
    """The ratios, in bf16."""
    engine = HFEngine(MODEL, "bf16")
    conversations = mixed(n_prompts)
    sae = load_sae(f"{MODEL}/{SITE}")
    latents = list(range(0, sae.d_sae, sae.d_sae // LATENTS))[:LATENTS]
    # As users clamp: a feature set, on all tokens but the first; at one site, and spread over three.
    one, three = ({Site(19, "post"): sae}, {s.site: s for s in map(load_sae, bundled_saes(MODEL)) if s.site})
    arms = {
        "jumprelu": clamp_features(of(one, latents), VALUE, saes=one),
        "jumprelu, 3 sites": clamp_features(of(three, latents), VALUE, saes=three),
        "topk": clamp_features(of(kept := {site: topk_of(s) for site, s in one.items()}, latents), VALUE, saes=kept),
    }
    ours(engine, conversations[:32], True, NEW)
    figures: list[Figure] = []

    def note(arm: str, versus: str, found: Any) -> None:
        ratio, tokens = found
        figures.extend([
            Figure(arm, versus, "forced", "speedup", ratio.value, n_pairs, "pairs", ratio.low, ratio.high),
            Figure(arm, versus, "forced", "tokens_per_second", tokens, n_pairs, "runs", tokens, tokens),
        ])  # fmt: skip
        print(f"# {arm}: {ratio.value:.2f} [{ratio.low:.2f}, {ratio.high:.2f}] of {versus}", flush=True)

    for name, how in arms.items():
        note(f"demur {name}", "unsteered",
             pairs(n_pairs, lambda how=how: speed(lambda: ours(engine, conversations, True, NEW, how)),
                   lambda: speed(lambda: ours(engine, conversations, True, NEW))))  # fmt: skip
    if find_spec("sae_lens") is not None:
        theirs = Hooked(engine, sae, latents)
        note("demur jumprelu", "sae-lens",
             pairs(n_pairs, lambda: speed(lambda: ours(engine, conversations, True, NEW, arms["jumprelu"])),
                   lambda: speed(lambda: theirs.run(conversations))))  # fmt: skip
    return figures


class Hooked:
    """sae-lens' own hooked model: SAETransformerBridge on the same weights, in batches of `BATCH`."""

    def __init__(self, engine: HFEngine, sae: SAE, latents: list[int]):
        import tempfile

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import sae_lens

            plain = Plain(engine, "bf16")
            self.engine, self.tokenizer = engine, plain.tokenizer
            self.bridge: Any = sae_lens.SAETransformerBridge.boot_transformers(
                str(plain.folder), hf_model=plain.model, tokenizer=plain.tokenizer, dtype=torch.bfloat16
            )
            with tempfile.TemporaryDirectory() as folder:
                save_sae(sae.to(dtype=torch.bfloat16), folder)
                self.sae: Any = sae_lens.SAE.load_from_disk(folder)
        self.bridge.add_sae(self.sae, use_error_term=True)
        self.hook = self.bridge.get_sae_hook_name(self.sae)
        self.latents = latents

    @torch.inference_mode()
    def run(self, conversations: list[Conversation]) -> int:
        """New tokens made."""

        def set_latents(acts: Any, hook: Any) -> Any:
            acts[..., self.latents] = VALUE
            return acts

        rows = [list(row_of(self.engine.model, c).tokens) for c in conversations]
        total = 0
        with self.bridge.hooks(fwd_hooks=[(self.hook, set_latents)]):
            for start in range(0, len(rows), BATCH):
                inputs = self.tokenizer.pad({"input_ids": rows[start : start + BATCH]}, return_tensors="pt")
                out = self.bridge.generate(inputs["input_ids"], attention_mask=inputs["attention_mask"],
                                           max_new_tokens=NEW, do_sample=False, stop_at_eos=False, verbose=False,
                                           return_type="tokens")  # fmt: skip
                total += out[:, inputs["input_ids"].shape[1] :].numel()
        return total


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/clamp"), help="the folder for results.json")
    parser.add_argument("--pairs", type=int, default=9)
    parser.add_argument("--prompts", type=int, default=96)
    options = parser.parse_args()
    started = time.monotonic()
    figures = measure(options.pairs, options.prompts)
    spec = {"model": MODEL, "sae": f"{MODEL}/{SITE}", "latents": LATENTS, "pairs": options.pairs, "new": NEW,
            "prompts": options.prompts, "threads": torch.get_num_threads(), "torch": torch.__version__}  # fmt: skip
    write_results(options.out, spec, figures, time.monotonic() - started)
    for line in verdict_lines(figures, TARGETS):
        print(line)


if __name__ == "__main__":
    main()
