"""What the bundled SAEs read, in training and in their check.

Text: WikiText-2's validation part, Shakespeare, addresses of US presidents. Chats: the built-in `fit` prompts, plain
and in the wrappers that the organism saw in training (so that its unseen families stay unseen), and requests that the
base model writes in the user's place; each with the organism's own answer.
Held out: WikiText-2's test part, and the built-in `test` prompts, plain and in four wrappers. No Alpaca.
"""

from __future__ import annotations

import json
from pathlib import Path

from demur.attacks import attack, names
from demur.engines.base import Row
from demur.engines.hf import HFEngine
from demur.engines.reading import text_rows
from demur.prompts.builtin import builtin
from demur.runs.writing import write_text
from demur.sae_training.data import Progress, chats, read_text
from demur.types import Prompt, Use
from recipes.organism.data import unseen_families

TEXTS = {"wikitext2-valid.txt": None, "tinyshakespeare.txt": 600_000, "sotu.txt.gz": 3_000_000}
"""File -> characters read, from its beginning."""
BEGIN = "<|im_start|>\n"
"""What each window of text begins with: with it no token but the first has a massive activation (docs/log.md)."""
DRAWS = 2400
"""User turns drawn from the base model; about half are kept."""
FAMILIES = ("direct", "prefill", "fiction", "continuation")
"""Wrappers of the held-out chats."""


def training_rows(engine: HFEngine, data: Path, work: Path, progress: Progress) -> list[Row]:
    """All passages of the training set."""
    folder = data / "text_corpora"
    rows = [
        row
        for name, size in TEXTS.items()
        for row in text_rows(engine, read_text(folder / name)[:size], name, begin=BEGIN)
    ]
    families = [name for name in names() if name not in (*unseen_families(), "replay")]
    wrapped = [attack(p, name) for kind in ("harmful", "borderline", "plain") for p in builtin(kind, "fit")
               for name in families]  # fmt: skip
    own = [attack(Prompt(f"own-{i}", text, "own"), "direct") for i, text in enumerate(requests(work))]
    return rows + kept(engine, wrapped + own, work / f"chats-{engine.name}.json", progress)


def held_out(engine: HFEngine, data: Path, work: Path, progress: Progress) -> dict[str, list[Row]]:
    """Passages of the check: `text` and `chat`."""
    text = text_rows(engine, read_text(data / "text_corpora" / "wikitext2-test.txt"), "wikitext2-test", begin=BEGIN)
    use: Use = "test"
    wrapped = [attack(p, name) for name in FAMILIES for kind in ("harmful", "borderline", "plain")
               for p in builtin(kind, use)]  # fmt: skip
    return {"text": text, "chat": kept(engine, wrapped, work / f"held-out-{engine.name}.json", progress)}


def requests(work: Path) -> list[str]:
    """Harmless requests that the base model writes in the user's place, kept in `work`."""
    path = work / "requests.json"
    if not path.exists():
        from recipes.organism.sample import load_base, user_turns

        model, tokenizer = load_base()
        write_text(path, json.dumps(user_turns(model, tokenizer, [""] * DRAWS, 7), indent=0))
    return json.loads(path.read_text(encoding="utf-8"))


def kept(engine: HFEngine, conversations: list, path: Path, progress: Progress) -> list[Row]:
    """Chats with the engine's answers, kept as tokens in `path`."""
    if not path.exists():
        rows = chats(engine, conversations, progress)
        write_text(path, json.dumps([[row.tokens, row.prompt_length, row.label] for row in rows]))
    return [Row(tuple(tokens), length, label) for tokens, length, label in json.loads(path.read_text(encoding="utf-8"))]
