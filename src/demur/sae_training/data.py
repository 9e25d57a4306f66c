"""What SAEs read: text files in windows, and chats with the model's own answers; their activations on disk."""

from __future__ import annotations

import gzip
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from demur.activations.disk import Rows
from demur.attacks import attack
from demur.engines.base import Request, Row, WhiteBoxEngine
from demur.engines.reading import text_rows, tokens_of
from demur.errors import BadFile, InputError
from demur.prompts.load import load
from demur.runs import digest
from demur.types import Conversation, Decoding, Site, Use

ANSWER = 48
"""New tokens of each chat's answer."""
TIMED = 24
"""Passages that are read to say how long reading will take."""

Progress = Callable[[str, int, int], None]


def passages(
    engine: WhiteBoxEngine,
    texts: Sequence[Path],
    sets: Sequence[str],
    use: Use,
    progress: Progress | None = None,
    attacks: Sequence[str] = ("direct",),
    begin: str | None = None,
) -> dict[str, list[Row]]:
    """Passages to read: `text` from files (.gz too), `chat` from prompt sets with the model's greedy answers.

    begin: what each window of text begins with (`text_rows`). use: which prompts of the built-in sets (training reads
    "fit", a quality card "test").
    """
    found: dict[str, list[Row]] = {}
    if texts:
        found["text"] = [row for path in texts for row in text_rows(engine, read_text(path), path.name, begin=begin)]
    if sets:
        prompts = [prompt for name in sets for prompt in load(name, use)]
        found["chat"] = chats(engine, [attack(p, name) for name in attacks for p in prompts], progress)
    if not found:
        raise InputError("there is nothing to read; name text files, prompt sets or both.")
    return found


def read_text(path: Path) -> str:
    """A UTF-8 text file's content, unpacked when its name ends in .gz."""
    try:
        if path.suffix == ".gz":
            with gzip.open(path, "rt", encoding="utf-8") as file:
                return file.read()
        return path.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise BadFile(f"{path} is no readable text: {error}; give a UTF-8 file.") from error


def chats(engine: WhiteBoxEngine, conversations: Sequence[Conversation], progress: Progress | None = None) -> list[Row]:
    """Conversations with the engine's own greedy answers."""
    size, found = 384, []
    for start in range(0, len(conversations), size):
        some = conversations[start : start + size]
        answers = engine.generate([Request(c) for c in some], Decoding(ANSWER))
        found += [engine.row(a.conversation, a.text) for a in answers]
        if progress is not None:
            progress("answering chats", min(start + size, len(conversations)), len(conversations))
    return found


def expected_reading(engine: WhiteBoxEngine, rows: Sequence[Row], sites: Sequence[Site], tokens: int) -> float:
    """About how many seconds `collect` will take, by a first batch that is read and timed."""
    some = rows[:TIMED]
    started = time.perf_counter()
    for _ in engine.read(some, sorted(set(sites))):
        pass
    seconds = time.perf_counter() - started
    read, there = (sum(len(row.tokens) - 1 for row in part) for part in (some, rows))
    return seconds / max(1, read) * min(tokens, there)


def collect(
    engine: WhiteBoxEngine,
    rows: Sequence[Row],
    sites: Sequence[Site],
    folder: Path,
    tokens: int,
    progress: Progress | None = None,
) -> Rows:
    """The stream at `sites` on the passages, first tokens left out, stored in `folder` up to `tokens` rows.

    What is there already is not read again.
    """
    engine.check_sites(sites)
    spec = {"engine": digest(engine.fingerprint), "passages": digest([row.tokens for row in rows])}
    stored = Rows(folder, sorted(set(sites)), engine.d_model, spec)
    wanted = min(tokens, sum(len(row.tokens) - 1 for row in rows))
    for batch in engine.read(rows[stored.passages :], stored.sites):
        if stored.count >= wanted:
            break
        stored.append({site: tokens_of(batch, site) for site in stored.sites}, len(batch.mask))
        if progress is not None:
            progress("collecting activations", min(stored.count, wanted), wanted)
    return stored
