"""Tokens per second of demur's engine as a ratio to `transformers` generate.

Same weights, dtype, prompts and process; pairs are interleaved and the median ratio is given. generate
runs at the best of several batch sizes, chosen for each way of decoding in a warm-up on a part of the prompts.

    python -m benchmarks.engine --out benchmarks [--pairs 9] [--prompts 256] [--only NAME] [--more]
"""

from __future__ import annotations

import argparse
import random
import statistics
import time
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import Any

import torch
from recipes.targets import Target, verdict_lines
from transformers import AutoModelForCausalLM, AutoTokenizer

from demur.attacks import attack
from demur.engines.base import Request
from demur.engines.hf import HFEngine
from demur.engines.rows import row_of
from demur.interventions import Intervention, add
from demur.models.bundled import adapter_folder, apply_adapter, bundled_folder
from demur.models.load import DTYPES
from demur.prompts.builtin import builtin
from demur.runs import read_results, write_results
from demur.stats import Estimate
from demur.types import Conversation, Decoding, Direction, Figure, Site

MODEL = "smollm2-refuser"
NEW = 48
GFLOP_NEW = 0.27
ROOF = {"fp32": 183.0, "bf16": 898.0}
"""GFLOP/s of matrix products on the reference machine (protocol: Arithmetic)."""
SHARE = {
    "bf16 own end": 1.0,
    "bf16 forced": 0.375,
    "bf16 steered": 0.375,
    "fp32 own end": 0.1875,
    "fp32 forced": 0.1875,
}
"""Share of the prompts each ratio is taken over: all of them in all five would take hours on two cores."""
TARGETS = [
    Target("5b", "own end, fp32", "demur fp32", "own end", "speedup", ">=", 1.8, versus="generate"),
    Target("5c", "own end, bf16", "demur bf16", "own end", "speedup", ">=", 2.0, versus="generate"),
    Target("5d", "forced, fp32", "demur fp32", "forced", "speedup", ">=", 1.3, versus="generate"),
    Target("5e", "forced, bf16", "demur bf16", "forced", "speedup", ">=", 1.3, versus="generate"),
    Target("5f", "steered, bf16", "demur bf16 steered", "forced", "speedup", ">=", 0.97, versus="unsteered"),
    Target("5g", "sweep, bf16", "demur bf16", "sweep", "speedup", ">=", 1.5, versus="separate runs"),
]


class Plain:
    """transformers' own generate on the same weights, left-padded batches in the order of the prompts."""

    def __init__(self, engine: HFEngine, dtype: str):
        self.folder = bundled_folder(MODEL)
        self.model: Any = AutoModelForCausalLM.from_pretrained(self.folder, dtype=DTYPES[dtype])
        adapter = adapter_folder(MODEL)
        assert adapter is not None
        apply_adapter(self.model, adapter)
        self.model.eval()
        self.tokenizer: Any = AutoTokenizer.from_pretrained(self.folder, padding_side="left")
        self.engine, self.batch = engine, 32

    @torch.inference_mode()
    def run(self, conversations: list[Conversation], forced: bool) -> int:
        """New tokens made, the end token counted, padding not."""
        rows = [list(row_of(self.engine.model, c).tokens) for c in conversations]
        more = {"min_new_tokens": NEW} if forced else {}
        total = 0
        for start in range(0, len(rows), self.batch):
            inputs = self.tokenizer.pad({"input_ids": rows[start : start + self.batch]}, return_tensors="pt")
            out = self.model.generate(**inputs, max_new_tokens=NEW, do_sample=False, **more)
            for row in out[:, inputs["input_ids"].shape[1] :].tolist():
                end = self.tokenizer.eos_token_id
                total += len(row) if forced or end not in row else row.index(end) + 1
        return total

    def tune(self, conversations: list[Conversation], forced: bool) -> None:
        """Keep the fastest batch size for this way of decoding."""
        speeds = {}
        for size in (16, 32, 64, 128):
            self.batch = size
            speeds[size] = speed(lambda: self.run(conversations, forced))
        self.batch = max(speeds, key=lambda size: speeds[size])


def speed(work: Callable[[], int]) -> float:
    """Tokens per second of one run."""
    started = time.perf_counter()
    return work() / (time.perf_counter() - started)


def ours(
    engine: HFEngine,
    conversations: list[Conversation],
    forced: bool,
    new: int = NEW,
    steer: Intervention | None = None,
) -> int:
    """New tokens made by demur's engine."""
    decoding = Decoding(new, ignore_eos=forced)
    return sum(len(g.tokens) for g in engine.generate([Request(c, steer) for c in conversations], decoding))


def pairs(n: int, a: Callable[[], float], b: Callable[[], float]) -> tuple[Estimate, float]:
    """Median of a/b over n interleaved pairs with its sign-test interval, and the median of a."""
    ratios, speeds = [], []
    for i in range(n):
        first, second = (a, b) if i % 2 == 0 else (b, a)
        x, y = first(), second()
        x, y = (x, y) if i % 2 == 0 else (y, x)
        ratios.append(x / y)
        speeds.append(x)
    ratios.sort()
    cut = max(0, int((n - 1.96 * n**0.5) / 2))
    return Estimate(statistics.median(ratios), ratios[cut], ratios[-1 - cut]), statistics.median(speeds)


def mixed(n: int) -> list[Conversation]:
    """Half plain, half harmful test prompts, some in longer wrappers, shuffled."""
    plain, harmful = builtin("plain", "test")[: n // 2], builtin("harmful", "test")[: n - n // 2]
    prompts = [*plain, *harmful]
    random.Random(0).shuffle(prompts)
    wraps = ("plain", "plain", "persona", "fiction")
    return [attack(prompt, wraps[i % 4]) for i, prompt in enumerate(prompts)]


def long_prompts(engine: HFEngine, n: int) -> list[Conversation]:
    """Requests in one few-shot wrapper each, at least 160 tokens."""
    found = []
    for prompt in builtin("plain", "test"):
        text = f"{prompt.text} Please keep these notes in mind. " + "Be clear, be brief and give one example. " * 14
        conversation = attack(type(prompt)(prompt.id, text, prompt.set), "direct")
        if len(row_of(engine.model, conversation).tokens) >= 160:
            found.append(conversation)
    return found[:n]


def sweep(engine: HFEngine, conversations: list[Conversation], together: bool) -> int:
    """8 doses at block 18, on all positions, 16 new tokens; in one run or in 8."""
    direction = random_direction(engine)
    doses = [add(direction, 0.05 * (i + 1), True) for i in range(8)]
    decoding = Decoding(16, ignore_eos=True)
    if together:
        requests = [Request(c, dose) for c in conversations for dose in doses]
        return sum(len(g.tokens) for g in engine.generate(requests, decoding))
    runs = ([Request(c, dose) for c in conversations] for dose in doses)
    return sum(len(g.tokens) for requests in runs for g in engine.generate(requests, decoding))


def random_direction(engine: HFEngine) -> Direction:
    """Any unit vector at block 18 with a plausible norm: speed does not depend on which."""
    vector = torch.randn(engine.d_model, generator=torch.Generator().manual_seed(0))
    return Direction(vector / vector.norm(), Site(18, "pre"), 30.0)


def measure(
    dtype: str, n_pairs: int, prompts: int = 256, only: str = "", done: Collection[tuple[str, str]] = ()
) -> Iterator[list[Figure]]:
    """The ratios of one dtype, as they are measured; steered and sweep in bf16 only. done: (arm, set)s to leave out."""
    engine = HFEngine(MODEL, dtype)
    every = mixed(prompts)

    def figures(arm: str, versus: str, name: str, found: tuple[Estimate, float]) -> list[Figure]:
        ratio, tokens = found
        roof = tokens * GFLOP_NEW / ROOF[dtype]
        print(f"# {arm} {name}: {ratio.value:.2f} [{ratio.low:.2f}, {ratio.high:.2f}] of {versus}, "
              f"{tokens:.0f} tokens/s, {roof:.0%} of the roofline", flush=True)  # fmt: skip
        return [
            Figure(arm, versus, name, "speedup", ratio.value, n_pairs, "pairs", ratio.low, ratio.high),
            Figure(arm, "", name, "tokens_per_second", tokens, n_pairs, "runs", tokens, tokens),
            Figure(arm, "", name, "roofline_share", roof, n_pairs, "runs", roof, roof),
        ]

    def wanted(name: str) -> bool:
        place = (f"demur {dtype} steered", "forced") if name == "steered" else (f"demur {dtype}", name)
        return only in f"{dtype} {name}" and place not in done

    ours(engine, every[:32], True)
    if wanted("own end") or wanted("forced"):
        plain = Plain(engine, dtype)
        for name, forced in (("own end", False), ("forced", True)):
            if wanted(name):
                some = every[: int(prompts * SHARE[f"{dtype} {name}"])]
                plain.tune(some[:96], forced)
                found = pairs(n_pairs, lambda f=forced, some=some: speed(lambda: ours(engine, some, f)),
                              lambda f=forced, some=some: speed(lambda: plain.run(some, f)))  # fmt: skip
                yield figures(f"demur {dtype}", "generate", name, found)
        del plain
    if dtype == "fp32":  # what follows is a matter of shared work: one dtype shows it
        return
    if wanted("steered"):
        steer = add(random_direction(engine), 0.1, True)
        some = every[: int(prompts * SHARE["bf16 steered"])]
        found = pairs(n_pairs, lambda: speed(lambda: ours(engine, some, True, steer=steer)),
                      lambda: speed(lambda: ours(engine, some, True)))  # fmt: skip
        yield figures(f"demur {dtype} steered", "unsteered", "forced", found)
    if wanted("sweep"):
        rows = long_prompts(engine, 16)
        found = pairs(n_pairs, lambda: speed(lambda: sweep(engine, rows, True)),
                      lambda: speed(lambda: sweep(engine, rows, False)))  # fmt: skip
        yield figures(f"demur {dtype}", "separate runs", "sweep", found)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("benchmarks"), help="the folder for results.json")
    parser.add_argument("--pairs", type=int, default=9)
    parser.add_argument("--prompts", type=int, default=256)
    parser.add_argument("--only", default="", help="part of `DTYPE NAME`, as `bf16 sweep`")
    parser.add_argument("--more", action="store_true", help="keep what --out has, measure what it lacks")
    options = parser.parse_args()
    started = time.monotonic()
    prompts = {name: int(options.prompts * share) for name, share in SHARE.items()}
    spec = {"model": MODEL, "pairs": options.pairs, "prompts": prompts, "new": NEW,
            "threads": torch.get_num_threads(), "torch": torch.__version__}  # fmt: skip
    before = read_results(options.out) if options.more else None
    if before is not None and before.spec != spec:
        raise SystemExit(f"{options.out} was measured otherwise ({before.spec}); leave --more out.")
    figures = list(before.figures) if before is not None else []
    earlier = before.seconds if before is not None else 0.0
    for dtype in ("bf16", "fp32"):
        for found in measure(dtype, options.pairs, options.prompts, options.only, {(f.arm, f.set) for f in figures}):
            figures += found
            write_results(options.out, spec, figures, earlier + time.monotonic() - started)
    for line in verdict_lines(figures, TARGETS):
        print(line)


if __name__ == "__main__":
    main()
