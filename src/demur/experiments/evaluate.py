"""One prompt set under attacks, unsteered and steered, as a resumable run."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from demur.analysis.tables import examples, find, in_words, table_figures
from demur.attacks import Attack
from demur.engines.base import Engine
from demur.errors import InputError
from demur.evaluation.evaluator import Arm
from demur.evaluation.judging import kept_bench
from demur.interventions import Intervention
from demur.reports import Findings, html
from demur.runs import digest, read_results, write_results, write_text
from demur.types import Conversation, Decoding, Figure, Prompt


def evaluate(
    engine: Engine,
    prompts: Sequence[Prompt],
    attacks: Mapping[str, Attack],
    steer: Intervention | None,
    spec: Mapping[str, Any],
    out: Path,
    progress: Callable[[str, int, int], None] = lambda _phase, _done, _total: None,
) -> tuple[list[Figure], float, int]:
    """Figures, seconds, and how many answers this session generated. Writes everything under `out`.

    spec: what `demur runs resume` needs to run it again; it names the run together with the engine and a hash
    of what was sent. Raises InputError when spec is a run's own and the model or the inputs are others now.
    """
    if not prompts:
        raise InputError("there are no prompts to evaluate.")
    started = time.monotonic()
    decoding = Decoding(max_new_tokens=spec["max_new_tokens"])
    arms = [Arm("unsteered")] + ([Arm("steered", steer)] if steer is not None else [])
    sets, skipped = _wrapped(prompts, attacks)
    spec = _named(spec, engine, {"sets": sets, "steer": None if steer is None else steer.spec()})
    _same_place(spec, out)
    with kept_bench(engine, decoding, out, progress, "evaluate", spec) as (bench, run):
        table = bench.run(arms, sets, run)
    seconds = time.monotonic() - started
    figures = table_figures(table)
    whole = {**spec, "decoding": asdict(decoding), "skipped": skipped}
    if steer is not None:
        whole["intervention"] = steer.spec()
    write_results(out, whole, figures, seconds)
    summary = [
        f"{name}: refuses {in_words(find(figures, 'unsteered', name, 'refusal_rate'))}"
        + (
            f"; steering changes that by {in_words(find(figures, 'steered', name, 'refusal_rate', 'unsteered'))}."
            if steer is not None
            else "."
        )
        for name in sets
    ]
    page = Findings(
        title=f"{spec['model']} on {spec['prompts']}",
        summary=summary,
        spec=whole,
        figures=figures,
        examples=examples(table, [arm.name for arm in arms], list(sets)),
        seconds=seconds,
        notes=[f"{name}: {len(left)} of {len(prompts)} prompts have no such attack." for name, left in skipped.items()],
        facts={"model": str(spec["model"]), "dtype": engine.fingerprint.dtype},
    )
    write_text(out / "report.html", html.render(page))
    return figures, seconds, bench.generated


def _wrapped(
    prompts: Sequence[Prompt], attacks: Mapping[str, Attack]
) -> tuple[dict[str, list[Conversation]], dict[str, list[str]]]:
    """The prompts under each attack, and the ids of those that an attack has nothing for."""
    sets: dict[str, list[Conversation]] = {}
    skipped: dict[str, list[str]] = {}
    for name, wrap in attacks.items():
        reasons = {prompt.id: reason for prompt in prompts if (reason := wrap.why_not(prompt))}
        if len(reasons) == len(prompts):
            raise InputError(
                f"attack {name!r} has nothing for any of the {len(prompts)} prompts: {min(reasons.values())}."
            )
        if reasons:
            skipped[name] = list(reasons)
        sets[name] = [wrap.apply(prompt) for prompt in prompts if prompt.id not in reasons]
    return sets, skipped


def _same_place(spec: Mapping[str, Any], out: Path) -> None:
    """InputError when `out` has the report of another evaluation, which this one would replace."""
    if not (out / "results.json").exists():
        return
    there = read_results(out).spec
    if other := sorted(name for name, value in json.loads(json.dumps(spec)).items() if there.get(name) != value):
        raise InputError(
            f"{out} has the results of another evaluation (its {', '.join(other)} differ); give another folder, or "
            f"remove its results.json to replace them (the journal keeps both)."
        )


def _named(spec: Mapping[str, Any], engine: Engine, inputs: Mapping[str, Any]) -> dict[str, Any]:
    """The spec with what its names stood for: an edited prompt file or another model is another run."""
    now = {"engine": asdict(engine.fingerprint), "inputs": digest(inputs)}
    for name, what in (("engine", "model"), ("inputs", "prompts, attacks or steering")):
        if name in spec and spec[name] != now[name]:
            raise InputError(
                f"the {what} changed since this run began ({name}: {spec[name]} then, {now[name]} now); "
                f"put it back, or start a new run with `demur evaluate`."
            )
    return {**spec, **now}
