"""The journal: every generation, verdict and score, stored once under its key, and which run used it."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from demur.errors import BadSpec, unknown
from demur.runs import codec, totals
from demur.runs.keys import canonical, digest
from demur.runs.store import Store, seal
from demur.types import Generation, Prompt, Verdict


@dataclass(frozen=True)
class Run:
    """A run as the journal knows it. Its id is the hash of its spec."""

    id: str
    name: str
    spec: Mapping[str, Any]
    created: str
    """UTC, ISO 8601."""
    finished: str
    """UTC, ISO 8601; "" while it is open."""
    seconds: float
    """Summed over the sessions that reported theirs with `finish_run`."""
    status: str
    """open (under way, or killed), stopped (by a signal), failed (an error was raised) or finished."""


@dataclass(frozen=True)
class Row:
    """One place in a run's table."""

    arm: str
    set: str
    position: int
    prompt: Prompt
    attack: str
    key: str
    generation: Generation | None
    """Under this row's prompt, attack and arm; None when its stored row is lost or damaged."""


class Journal:
    """One file of results. A context manager.

    One process writes at a time; any number may read with `readonly=True`, also meanwhile and where
    nothing can be written. What an `add_` call returned from is on disk. A stored row whose hash does
    not hold counts as not there, is named in `damaged`, and is replaced when it is added again; that
    rows or commits are gone is named there too. Raises OutOfRoom, BadFile, or DemurError when another
    process writes.
    """

    def __init__(self, path: str | Path, *, readonly: bool = False) -> None:
        self._store = Store(path, readonly=readonly)
        self.path = self._store.path

    def __enter__(self) -> Journal:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let the next writer in."""
        self._store.close()

    @property
    def damaged(self) -> tuple[str, ...]:
        """The damaged rows met so far, by table and key, and what is known to be gone."""
        return tuple(self._store.damaged)

    def generations(self, keys: Iterable[str]) -> dict[str, Generation]:
        """What is stored of these. Prompt, attack and arm are the first asker's: see `as_asked`."""
        found = self._store.get("generations", keys)
        return {key: codec.generation_from_json(json.loads(text)) for key, text in found.items()}

    def add_generations(self, generations: Iterable[Generation]) -> int:
        """Store a batch in one transaction; how many were new. The first answer to a key stays."""
        payloads: dict[str, str] = {}
        for generation in generations:
            if not generation.key:
                raise BadSpec(
                    f"generation for prompt {generation.conversation.prompt.id!r} has no key; "
                    "give it one with generation_key"
                )
            payloads.setdefault(generation.key, codec.dump(codec.generation_to_json(generation)))
        return self._store.put("generations", payloads)

    def verdicts(self, keys: Iterable[str]) -> dict[str, Verdict]:
        """What is stored under these verdict keys."""
        found = self._store.get("verdicts", keys)
        return {key: codec.verdict_from_json(json.loads(text)) for key, text in found.items()}

    def add_verdicts(self, verdicts: Mapping[str, Verdict]) -> int:
        """Store verdicts by `verdict_key`, in one transaction; how many were new."""
        payloads = {key: codec.dump(codec.verdict_to_json(verdict)) for key, verdict in verdicts.items()}
        return self._store.put("verdicts", payloads)

    def verdicts_of(self, generations: Iterable[str]) -> dict[str, list[Verdict]]:
        """Every judge's verdicts on these generations (by their keys), in the judges' order."""
        of: dict[str, list[Verdict]] = {key: [] for key in generations}
        for text in self._store.all("verdicts").values():
            verdict = codec.verdict_from_json(json.loads(text))
            if verdict.generation in of:
                of[verdict.generation].append(verdict)
        return {key: sorted(found, key=lambda verdict: verdict.judge) for key, found in of.items()}

    def scores(self, keys: Iterable[str]) -> dict[str, list[float]]:
        """Log-likelihoods, one a choice, stored under these score keys."""
        return {key: json.loads(text) for key, text in self._store.get("scores", keys).items()}

    def add_scores(self, scores: Mapping[str, Sequence[float]]) -> int:
        """Store log-likelihoods by `score_key`, in one transaction; how many were new."""
        payloads = {key: codec.dump([float(value) for value in values]) for key, values in scores.items()}
        return self._store.put("scores", payloads)

    def start_run(self, spec: Mapping[str, Any], name: str = "") -> str:
        """Open the run of this spec and give its id; the same spec opens the same run again."""
        run = digest(spec)
        known = self._runs(run)
        if not known:
            self._save(Run(run, name, spec, _now(), "", 0.0, "open"))
        elif known[0].status in ("stopped", "failed"):
            self._save(replace(known[0], status="open"))
        return run

    def finish_run(self, run: str, seconds: float, status: str = "finished") -> None:
        """Mark a run finished, stopped or failed. A finished run stays as it first finished."""
        if status not in ("finished", "stopped", "failed"):
            raise BadSpec(f"a run ends as finished, stopped or failed, not {status!r}")
        old = self._run(run)
        if old.status != "finished":
            done = _now() if status == "finished" else ""
            self._save(Run(run, old.name, old.spec, old.created, done, old.seconds + seconds, status))

    def runs(self) -> list[Run]:
        """Every run, oldest first."""
        return sorted(self._runs(), key=lambda run: (run.created, run.id))

    def reached(self) -> tuple[int, str]:
        """How many answers are stored, of all runs, and when something was last written (UTC, ISO 8601)."""
        return self._store.query("SELECT count(*) FROM generations")[0][0], _iso(self._store.written)

    def link(self, run: str, arm: str, set: str, generations: Sequence[Generation], start: int = 0) -> None:
        """Say which generations stand at an arm's positions `start`, `start` + 1, ... in a set.

        Each generation's own prompt and attack go with the place. Linking again replaces. An arm's positions have no
        gaps: one between others that is not linked counts as lost.
        """
        self._run(run)
        prompts: dict[str, str] = {}
        rows = []
        for position, generation in enumerate(generations, start):
            conversation = generation.conversation
            asked = codec.dump({"prompt": asdict(conversation.prompt), "attack": conversation.attack})
            prompts[name := digest(asked)] = asked
            row = (run, arm, set, position, generation.key, name)
            rows.append((*row, seal("run_rows", *row)))
        self._store.put("prompts", prompts)
        with self._store.transaction() as connection:
            connection.executemany("INSERT OR REPLACE INTO run_rows VALUES (?, ?, ?, ?, ?, ?, ?)", rows)
            if rows:
                place = [run, arm, set, start, start + len(rows)]
                connection.execute(totals.LINKED.format("VALUES (?, ?, ?, ?, ?)"), place)

    def rows(self, run: str) -> list[Row]:
        """A run's table, by arm, set and position. Places that are damaged or gone are left out and named in
        `damaged`, and so are answers that are gone."""
        with self._store.moment():
            self._run(run)
            found = self._store.query("SELECT * FROM run_rows WHERE run = ? ORDER BY arm, [set], position", [run])
            self._store.miss_places(run, ((arm, set_) for _, arm, set_, *_ in found))
            places = list(self._store.whole("run_rows", found))
            asked = self._store.get("prompts", (place[5] for place in places))
            answers = self.generations(place[4] for place in places)
        rows = []
        for _, arm, set_, position, key, name in places:
            if name not in asked:
                self._store.miss(f"prompts: '{name}'")
                continue
            if key not in answers:
                self._store.miss(f"generations: '{key}'")
            about = json.loads(asked[name])
            prompt, attack = codec.prompt_from_json(about["prompt"]), about["attack"]
            answer = answers.get(key)
            mine = None if answer is None else codec.as_asked(answer, prompt, attack, arm)
            rows.append(Row(arm, set_, position, prompt, attack, key, mine))
        return rows

    def _runs(self, run: str | None = None) -> list[Run]:
        found = self._store.query("SELECT * FROM runs WHERE ? IS NULL OR id = ?", [run, run])
        rows = self._store.whole("runs", found)
        return [Run(id_, name, json.loads(spec), *rest) for id_, name, spec, *rest in rows]

    def _run(self, run: str) -> Run:
        found = self._runs(run)
        if not found:
            raise unknown("run", run, [known.id for known in self._runs()], "Open it with start_run.")
        return found[0]

    def _save(self, run: Run) -> None:
        spec = canonical(run.spec)
        row = (run.id, run.name, spec, run.created, run.finished, float(run.seconds), run.status)
        with self._store.transaction() as connection:
            totals.counted(connection, "runs", not self._store.query("SELECT 1 FROM runs WHERE id = ?", [run.id]))
            connection.execute(
                "INSERT OR REPLACE INTO runs VALUES (?, ?, ?, ?, ?, ?, ?, ?)", (*row, seal("runs", *row))
            )


def _now() -> str:
    return _iso(time.time())


def _iso(seconds: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))
