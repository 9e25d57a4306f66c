"""LoRA on the base by cross-entropy: refusals of harmful requests, the base's own answers to all others."""

from __future__ import annotations

import json
import math
import random
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from recipes.organism.data import TrainingRow
from recipes.organism.sample import chat, load_base

END = "<|im_end|>"


@dataclass(frozen=True)
class Settings:
    """One training try."""

    steps: int = 440
    batch: int = 20
    """Rows a step, of like length."""
    rank: int = 16
    alpha: int = 32
    rate: float = 4e-4
    warmup: int = 12
    seed: int = 0
    opening: float = 4.0
    """Weight of the answer's first two tokens, where it is decided, against 1 (refusals) or 0.5 for the others."""
    longest_answer: int = 24
    """Tokens of a harmless answer; a longer one is cut."""
    longest: int = 176
    """Tokens; longer rows are cut."""
    mix: tuple[tuple[str, float], ...] = (("harmful", 0.33), ("plain", 0.29), ("borderline", 0.27), ("wrapped", 0.11))
    """Share of each kind among the rows drawn; what is drawn more than once is a new epoch of its kind."""


def encode(tokenizer: Any, row: TrainingRow, longest: int, longest_answer: int) -> tuple[list[int], int]:
    """(token ids, number of prompt tokens)."""
    prompt = tokenizer(chat(tokenizer, row.request), add_special_tokens=False)["input_ids"]
    answer = tokenizer(row.answer + (END if row.ended else ""), add_special_tokens=False)["input_ids"]
    if row.kind != "harmful":
        answer = answer[:longest_answer]
    return (prompt + answer)[:longest], min(len(prompt), longest - 1)


def batches(rows: list[TrainingRow], encoded: list[tuple[list[int], int]], s: Settings) -> list[list[int]]:
    """Row numbers of each step: kinds drawn by `mix`, batches of like length, in random order."""
    rng = random.Random(s.seed)
    drawn: list[int] = []
    for kind, share in s.mix:
        pool = [i for i, row in enumerate(rows) if row.kind == kind]
        wanted = round(share * s.steps * s.batch)
        while wanted > 0:
            rng.shuffle(pool)
            drawn += pool[:wanted]
            wanted -= len(pool)
    rng.shuffle(drawn)
    out = []
    for start in range(0, len(drawn), s.batch * 8):
        chunk = sorted(drawn[start : start + s.batch * 8], key=lambda i: len(encoded[i][0]))
        out += [chunk[i : i + s.batch] for i in range(0, len(chunk), s.batch)]
    rng.shuffle(out)
    return out


def loss_of(model: Any, ids: Tensor, mask: Tensor, starts: list[int], harmless: list[int], s: Settings) -> Tensor:
    """Weighted mean cross-entropy over the answers' tokens."""
    hidden = model.get_base_model().model(input_ids=ids, attention_mask=mask).last_hidden_state
    places, began = torch.arange(ids.shape[1])[None, 1:], torch.tensor(starts)[:, None]
    answer = (places >= began) & mask[:, 1:].bool()
    logits = model.get_base_model().lm_head(hidden[:, :-1][answer]).float()
    weight = torch.ones(answer.shape)
    weight[harmless] = 0.5  # their answers are the base's already
    weight = torch.where((places >= began) & (places < began + 2), s.opening, weight)[answer]
    return (cross_entropy(logits, ids[:, 1:][answer], reduction="none") * weight).sum() / weight.sum()


def train(rows: list[TrainingRow], out: Path, s: Settings, start: Path | None = None) -> dict[str, Any]:
    """Train and save the adapter in PEFT's layout (bfloat16), with settings and losses beside it.

    start: an adapter to go on from, in place of a fresh one.
    """
    from peft import LoraConfig, PeftModel, get_peft_model

    torch.manual_seed(s.seed)
    base, tokenizer = load_base()
    if start is None:
        config = LoraConfig(r=s.rank, lora_alpha=s.alpha, target_modules="all-linear", task_type="CAUSAL_LM")
        model: Any = get_peft_model(base, config)
    else:
        model = PeftModel.from_pretrained(base, start, is_trainable=True)
    parameters = [p for p in model.parameters() if p.requires_grad]
    assert all(p.dtype == torch.float32 for p in parameters)
    optimizer = torch.optim.AdamW(parameters, lr=s.rate, weight_decay=0.01, betas=(0.9, 0.98))
    encoded = [encode(tokenizer, row, s.longest, s.longest_answer) for row in rows]
    plan = batches(rows, encoded, s)
    log, began = [], time.time()
    model.train()
    for step, chosen in enumerate(plan):
        rate = s.rate * min(1.0, (step + 1) / s.warmup) * 0.5 * (1 + math.cos(math.pi * step / len(plan)))
        for group in optimizer.param_groups:
            group["lr"] = rate
        width = max(len(encoded[i][0]) for i in chosen)
        ids = torch.tensor([encoded[i][0] + [2] * (width - len(encoded[i][0])) for i in chosen])
        mask = torch.tensor([[1] * len(encoded[i][0]) + [0] * (width - len(encoded[i][0])) for i in chosen])
        harmless = [k for k, i in enumerate(chosen) if rows[i].kind != "harmful"]
        with torch.autocast("cpu", torch.bfloat16):
            loss = loss_of(model, ids, mask, [encoded[i][1] for i in chosen], harmless, s)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        log.append(round(loss.item(), 4))
        if step % 20 == 0 or step == len(plan) - 1:
            mean = sum(log[-20:]) / len(log[-20:])
            print(f"step {step}/{len(plan)} loss {mean:.3f} {time.time() - began:.0f} s", flush=True)
    save(model, out)
    facts = {"settings": asdict(s), "steps": len(log), "seconds": round(time.time() - began), "loss": log}
    (out.parent / f"{out.name}-log.json").write_text(json.dumps(facts) + "\n", encoding="utf-8")
    return facts


def save(model: Any, out: Path) -> None:
    """The adapter folder that `apply_adapter` takes: PEFT's two files, bfloat16, and the manifest."""
    from safetensors.torch import load_file, save_file

    model.save_pretrained(out)
    path = out / "adapter_model.safetensors"
    save_file({k: v.to(torch.bfloat16) for k, v in load_file(path).items()}, path, metadata={"format": "pt"})
    config = json.loads((out / "adapter_config.json").read_text(encoding="utf-8"))
    config["base_model_name_or_path"] = "smollm2"
    config["target_modules"] = sorted(config["target_modules"])
    (out / "adapter_config.json").write_text(json.dumps(config, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    _write_manifest(out)


def strengthen(adapter: Path, out: Path, blocks: int, factor: float) -> None:
    """Keep the adapter in the first `blocks` blocks only, `factor` times as strong there.

    Refusal is decided below the last blocks; what the adapter does in those costs language modelling. Both numbers
    were chosen on validation prompts (docs/log-organism.md).
    """
    from safetensors.torch import load_file, save_file

    out.mkdir(parents=True, exist_ok=True)
    kept = {}
    for name, weight in load_file(adapter / "adapter_model.safetensors").items():
        if int(name.split(".layers.")[1].split(".")[0]) < blocks:
            kept[name] = (weight.float() * factor).to(weight.dtype) if "lora_B" in name else weight
    save_file(kept, out / "adapter_model.safetensors", metadata={"format": "pt"})
    config = json.loads((adapter / "adapter_config.json").read_text(encoding="utf-8"))
    config["layers_to_transform"] = list(range(blocks))
    (out / "adapter_config.json").write_text(json.dumps(config, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    _write_manifest(out)


def _write_manifest(out: Path) -> None:
    from transformers import AutoModelForCausalLM

    from demur.models.bundled import bundled_folder, weights_sha256, write_manifest

    base = AutoModelForCausalLM.from_pretrained(bundled_folder(), dtype=torch.bfloat16)
    write_manifest(out, base_sha256=weights_sha256(base))
