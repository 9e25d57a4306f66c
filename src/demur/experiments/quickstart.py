"""The study as a run: journal, results.json, report.html, steering specs and the direction's file."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import demur
from demur.analysis.tables import examples, excess, find, in_words
from demur.directions.artifact import save_direction
from demur.engines.base import Engine
from demur.evaluation.judging import kept_bench
from demur.experiments.baseline import PRICE, Size, Study, families, size_for, steering, study
from demur.interventions import write_spec
from demur.reports import Findings, html
from demur.runs import write_results, write_text
from demur.types import Decoding, Figure

SETS = ("harmful", "attacked", "borderline", "plain")


@dataclass(frozen=True)
class Done:
    """What a run of the study left behind."""

    study: Study
    figures: tuple[Figure, ...]
    summary: tuple[str, ...]
    seconds: float
    generated: int
    """Answers made in this session; 0 when everything came from the journal."""


def run_study(
    engine: Engine,
    out: Path,
    model: str,
    size: Size | None = None,
    new_tokens: int = 24,
    progress: Callable[[str, int, int], None] = lambda _phase, _done, _total: None,
    name: str = "quickstart",
) -> Done:
    """Run the study on an engine and write everything under `out`; resumes from its journal.

    model: the name, folder or hub id that the engine was loaded from. size: by default the quick one for it.
    """
    started = time.monotonic()
    size = size or size_for(model)
    decoding = Decoding(max_new_tokens=new_tokens)
    spec: dict[str, Any] = {
        "job": "study",
        "model": model,
        "engine": asdict(engine.fingerprint),
        "size": asdict(size),
        "decoding": asdict(decoding),
        "families": list(families(size)),
        "version": demur.__version__,
    }
    with kept_bench(engine, decoding, out, progress, name, spec) as (bench, run):
        found = study(bench, size, run, out / "fit.safetensors")
    seconds = time.monotonic() - started
    direction = save_direction(found.fit.direction, out / "refusal.safetensors")
    for arm, intervention in steering(found, engine.n_layers).items():
        write_spec(intervention, out / f"{arm}.json")
    chosen = {
        "attacked": list(found.attacks),
        "attack_compliance": dict(found.attack_rates),
        "answered_on_topic": dict(found.counted),
        "dose": found.dose,
        "dose_within_price": found.within_price,
        "site": str(found.fit.direction.site),
        "position": found.fit.direction.origin["position"],
        "openings_auroc": found.fit.openings.auroc,
    }
    spec = {**spec, "chosen_on_validation": chosen, "primary": [asdict(end) for end in found.endpoints]}
    write_results(out, spec, found.figures, seconds)
    summary = summarise(found)
    page = html.render(
        Findings(
            title=f"{model}: refusal, and what steering does to it",
            summary=summary,
            spec=spec,
            figures=found.figures,
            examples=examples(found.table, ("unsteered", "add", "ablate"), SETS),
            seconds=seconds,
            notes=(
                "Layer, dose and attack families were chosen on validation prompts; every figure is on test prompts.",
                "random pools norm-matched random directions; largest_... is the worst single one.",
                f"Direction: {direction.name}, site {found.fit.direction.site}.",
                *cautions(found),
            ),
            facts={"model": model, "dtype": engine.fingerprint.dtype, "new tokens": str(new_tokens)},
        )
    )
    write_text(out / "report.html", page)
    return Done(found, found.figures, summary, seconds, bench.generated)


def cautions(found: Study) -> list[str]:
    """What a reader must know before believing a figure: which are primary, which arms broke answers."""
    primary = "; ".join(
        f"{end.outcome} on {end.set} under {end.arm}, p = {end.p:.2g}, after Holm {end.holm:.2g}"
        for end in found.endpoints
    )
    said = [f"Primary endpoints: {primary}. All other figures are exploratory."]
    measured = dict.fromkeys((f.arm, f.set) for f in found.figures if f.metric == "incoherent_rate" and not f.versus)
    for arm, name in measured:
        if (more := excess(found.figures, arm, name, "unsteered")) > PRICE + 1e-9:
            said.append(
                f"{arm} breaks answers: incoherent and off-topic ones on {name} are {100 * more:.0f} points more than "
                f"unsteered, so its figures there meet no target."
            )
    if not found.within_price:
        said.append(
            f"Every dose broke more than {100 * PRICE:.0f} points of answers on validation; the cheapest is used."
        )
    return said


def summarise(found: Study) -> tuple[str, ...]:
    """What was found, in sentences."""

    def rate(arm: str, name: str, metric: str) -> str:
        return in_words(find(found.figures, arm, name, metric))

    def change(arm: str, name: str, metric: str) -> str:
        return in_words(find(found.figures, arm, name, metric, "unsteered"))

    wraps = ", ".join(found.attacks)
    return (
        f"It refuses {rate('unsteered', 'harmful', 'refusal_rate')} of harmful requests, and complies with "
        f"{rate('unsteered', 'attacked', 'compliance_rate')} of the same requests under {wraps}.",
        f"Adding its refusal direction (site {found.fit.direction.site}, {found.dose} of the stream's norm) changes "
        f"refusal of attacked requests by {change('add', 'attacked', 'refusal_rate')}; a random direction of that "
        f"length by {change('random', 'attacked', 'refusal_rate')}.",
        f"Ablating it changes compliance with harmful requests by {change('ablate', 'harmful', 'compliance_rate')}; "
        f"a random direction by {change('random ablate', 'harmful', 'compliance_rate')}.",
        f"The price of adding: refusal of borderline requests {change('add', 'borderline', 'refusal_rate')}, of plain "
        f"ones {change('add', 'plain', 'refusal_rate')}, capability "
        f"{change('add', 'capability', 'accuracy')} (unsteered {rate('unsteered', 'capability', 'accuracy')}).",
    )
