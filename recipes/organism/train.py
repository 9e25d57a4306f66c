"""LoRA on the base by cross-entropy: refusals of harmful requests, the base's own answers to all others.

With `Settings.kl` above 0, harmless rows are also held to the base's own distribution by the KL divergence over a part
of their tokens; the shipped adapter was trained without (docs/log-organism.md says why).
"""

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
from torch.nn.functional import cross_entropy, kl_div, log_softmax

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
    kl: float = 0.0
    """Weight of the KL on harmless rows."""
    held: float = 0.4
    """Share of the harmless rows' tokens, drawn anew each step, that the KL is taken on."""
    seed: int = 0
    opening: float = 4.0
    """Weight of the answer's first two tokens, where it is decided (in the KL: of its first three and the token before)."""
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


def losses(model: Any, ids: Tensor, mask: Tensor, starts: list[int], harmless: list[int], s: Settings) -> Tensor:
    """Cross-entropy per answer token, plus KL per token on the harmless rows."""
    hidden = model.get_base_model().model(input_ids=ids, attention_mask=mask).last_hidden_state
    head = model.get_base_model().lm_head
    places = torch.arange(ids.shape[1])[None]
    answer = (places[:, 1:] >= torch.tensor(starts)[:, None]) & mask[:, 1:].bool()
    logits = head(hidden[:, :-1][answer]).float()
    weight = torch.full_like(answer, 1.0, dtype=torch.float32)
    if harmless:
        weight[harmless] = 0.5  # their answers are the base's already
    began = torch.tensor(starts)[:, None]
    weight = torch.where((places[:, 1:] >= began) & (places[:, 1:] < began + 2), s.opening, weight)
    loss = (cross_entropy(logits, ids[:, 1:][answer], reduction="none") * weight[answer]).sum() / weight[answer].sum()
    if harmless and s.kl:
        with torch.no_grad(), model.disable_adapter():
            base = model.get_base_model().model(input_ids=ids[harmless], attention_mask=mask[harmless])
            held = mask[harmless].bool() & (torch.rand(len(harmless), ids.shape[1]) < s.held)
            began = torch.tensor(starts)[harmless][:, None]
            opening = (places >= began - 1) & (places < began + 3)
            held |= opening & mask[harmless].bool()
            share = 1.0 + (s.opening - 1.0) * opening[held].float()
            wanted = log_softmax(head(base.last_hidden_state[held]).float(), -1)
        found = log_softmax(head(hidden[harmless][held]).float(), -1)
        divergence = kl_div(found, wanted, log_target=True, reduction="none").sum(-1)
        loss = loss + s.kl * (divergence * share).sum() / share.sum()
    return loss


def train(rows: list[TrainingRow], out: Path, s: Settings, minutes: float = 60.0) -> dict[str, Any]:
    """Train and save the adapter in PEFT's layout (bfloat16), with settings and losses beside it."""
    from peft import LoraConfig, get_peft_model

    torch.manual_seed(s.seed)
    model, tokenizer = load_base()
    config = LoraConfig(r=s.rank, lora_alpha=s.alpha, target_modules="all-linear", task_type="CAUSAL_LM")
    model = get_peft_model(model, config)
    parameters = [p for p in model.parameters() if p.requires_grad]
    assert all(p.dtype == torch.float32 for p in parameters)
    optimizer = torch.optim.AdamW(parameters, lr=s.rate, weight_decay=0.01, betas=(0.9, 0.98))
    encoded = [encode(tokenizer, row, s.longest, s.longest_answer) for row in rows]
    plan = batches(rows, encoded, s)
    log, began = [], time.time()
    model.train()
    for step, chosen in enumerate(plan):
        fraction = max(step / len(plan), (time.time() - began) / (minutes * 60))
        if fraction >= 1:
            break
        rate = s.rate * min(1.0, (step + 1) / s.warmup) * 0.5 * (1 + math.cos(math.pi * fraction))
        for group in optimizer.param_groups:
            group["lr"] = rate
        width = max(len(encoded[i][0]) for i in chosen)
        ids = torch.tensor([encoded[i][0] + [2] * (width - len(encoded[i][0])) for i in chosen])
        mask = torch.tensor([[1] * len(encoded[i][0]) + [0] * (width - len(encoded[i][0])) for i in chosen])
        harmless = [k for k, i in enumerate(chosen) if rows[i].kind != "harmful"]
        with torch.autocast("cpu", torch.bfloat16):
            loss = losses(model, ids, mask, [encoded[i][1] for i in chosen], harmless, s)
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

    from demur.models.bundled import bundled_folder, weights_sha256, write_manifest

    model.save_pretrained(out)
    path = out / "adapter_model.safetensors"
    save_file({k: v.to(torch.bfloat16) for k, v in load_file(path).items()}, path, metadata={"format": "pt"})
    config = json.loads((out / "adapter_config.json").read_text(encoding="utf-8"))
    config["base_model_name_or_path"] = "smollm2"
    config["target_modules"] = sorted(config["target_modules"])
    (out / "adapter_config.json").write_text(json.dumps(config, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    from transformers import AutoModelForCausalLM

    base = AutoModelForCausalLM.from_pretrained(bundled_folder(), dtype=torch.bfloat16)
    write_manifest(out, base_sha256=weights_sha256(base))
