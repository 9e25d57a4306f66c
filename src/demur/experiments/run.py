"""The one runner: an experiment's spec, clock, journal, results.json and report.

    with open_run(engine, "my experiment", out, spec, new_tokens=24) as run:
        table = run.evaluator.run(arms, sets)
        return Result(**run.finish("What it found", summary, table_figures(table)))

An experiment is one file: its config (a frozen dataclass), and a function (engine, config, out) -> Result that opens a
run, measures through `run.evaluator` and finishes. Run again with the same spec in the same folder, it makes no model
call; broken off, it goes on.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from demur.engines.base import Engine
from demur.evaluation.evaluator import Evaluator, Progress, silent
from demur.evaluation.judging import open_evaluator
from demur.prompts.sets import PromptSets, builtin_sets
from demur.reports import Answer, Example, Findings, html
from demur.reports.overview import Overview
from demur.runs import Journal, write_results, write_text
from demur.types import Decoding, Figure, Table
from demur.version import VERSION


@dataclass
class Run:
    """One experiment under way."""

    evaluator: Evaluator
    spec: dict[str, Any]
    out: Path
    started: float
    facts: dict[str, str] = field(default_factory=dict)

    def finish(
        self,
        title: str,
        summary: Sequence[str],
        figures: Sequence[Figure],
        overview: Overview | None = None,
        page: Mapping[str, Any] | None = None,
        chosen: Mapping[str, Any] | None = None,
    ) -> dict[str, Any]:
        """Write results.json and report.html; gives the fields of a `reports.Result`.

        overview: the table that answers first. page: more fields of `reports.Findings` (examples, notes, scatters).
        chosen: what the spec gains by the run: what was chosen on validation prompts, what was skipped.
        """
        seconds = self._seconds()
        shared = {
            "title": title,
            "summary": tuple(summary),
            "figures": tuple(figures),
            "spec": {**self.spec, **(chosen or {})},
            "seconds": seconds,
            "overview": overview,
        }
        write_results(self.out, shared["spec"], figures, seconds)
        findings = Findings(**shared, facts=self.facts, **(page or {}))
        write_text(self.out / "report.html", html.render(findings))
        return {**shared, "generated": self.evaluator.generated, "out": self.out, "report": self.out / "report.html"}

    def _seconds(self) -> float:
        """What this session took; a finished run that is only read again keeps its time."""
        assert self.evaluator.journal is not None
        known = next(run for run in self.evaluator.journal.runs() if run.id == self.evaluator.run_id)
        return known.seconds if known.status == "finished" else time.monotonic() - self.started


@contextmanager
def open_run(
    engine: Engine,
    kind: str,
    out: str | Path,
    spec: Mapping[str, Any],
    new_tokens: int = 24,
    progress: Progress = silent,
    prompts: PromptSets | None = None,
    started: float | None = None,
) -> Iterator[Run]:
    """A run of this kind in `out`'s journal, listed from the start and finished unless something is raised.

    spec: what decides it beside the model, the decoding and demur's version, which are added. prompts: the user's own;
    built-in ones when left out. started: when the work began (`time.monotonic`), where some of it was done before.
    """
    began = time.monotonic() if started is None else started
    out, decoding = Path(out), Decoding(max_new_tokens=new_tokens)
    whole = {
        "experiment": kind,
        "model": engine.name,
        "engine": asdict(engine.fingerprint),
        "prompts": (prompts or builtin_sets()).record(),
        **spec,
        "decoding": asdict(decoding),
        "version": VERSION,
    }
    with Journal(out / "journal.sqlite") as journal:
        run = journal.start_run(whole, kind)
    with open_evaluator(engine, decoding, out, progress, prompts) as evaluator:
        assert evaluator.journal is not None
        evaluator.run_id = run
        facts = {"model": engine.name, "dtype": engine.fingerprint.dtype, "new tokens": str(new_tokens)}
        yield Run(evaluator, whole, out, began, facts)
        evaluator.journal.finish_run(run, time.monotonic() - began)


def examples(table: Table, arms: Sequence[str], sets: Sequence[str], each: int = 3) -> list[Example]:
    """The first `each` requests of each set whose arms differ in outcome, then others, side by side."""
    found = []
    for name in sets:
        columns = [table[arm, name] for arm in arms if (arm, name) in table]
        rows = list(zip(*columns, strict=True))
        rows.sort(key=lambda row: len({judged.verdict.outcome for judged in row}) == 1)
        for row in rows[:each]:
            conversation = row[0].generation.conversation
            text = "\n\n".join(f"{m.role}: {m.content}" for m in conversation.messages if m.content)
            text = text.removeprefix("user: ") if len(conversation.messages) == 1 else text
            if conversation.prefill:
                text += f"\n\nanswer begins: {conversation.prefill}"
            answers = [Answer(j.generation.arm, j.generation.text, j.verdict.outcome) for j in row]
            found.append(Example(text, answers, name, conversation.attack))
    return found
