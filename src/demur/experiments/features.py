"""Finding and proving features on the built-in prompts, as resumable runs: what `demur features` calls."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import demur
from demur.analysis.tables import examples, find, in_words
from demur.directions.artifact import load_direction
from demur.engines.base import Request
from demur.engines.hf import HFEngine
from demur.engines.reading import text_rows
from demur.errors import BadSpec, InputError, unknown
from demur.evaluation.evaluator import Bench, Progress, silent
from demur.evaluation.judging import fitted_judge, kept_bench
from demur.experiments.baseline import fit_refusal, plainly, rank_attacks, size_for, spread
from demur.experiments.proof import prove
from demur.features import attribute, contrast, cosine, minimal
from demur.features.look import look
from demur.features.minimal import KEPT
from demur.features.one_prompt import one_prompt
from demur.features.record import hashes, origin_of
from demur.fitting.doses import choose_doses, choose_factor, effects, likelihoods, norms_of, refusals, unlikely
from demur.interventions import parse_site
from demur.judges.refusal import refusal
from demur.prompts.builtin import builtin
from demur.reports import Findings, html
from demur.reports.looks import Look
from demur.runs import digest, write_results, write_text
from demur.sae_training.data import chats, read_text
from demur.saes import SAE, check_model, load_sae, load_saes, save_features
from demur.saes.bundled import bundled_saes
from demur.types import Conversation, Decoding, Direction, Feature, FeatureSet, Figure, Site

READS: dict[str, frozenset[str]] = {
    "attribution": frozenset({"n", "per_site", "direction"}),
    "contrast": frozenset({"n"}),
    "cosine": frozenset({"direction"}),
    "one-prompt": frozenset({"n", "value"}),
}
"""Ways of finding features, and the settings beside `k` that each reads."""
DEFAULT_ATTACKS = ("prefill", "fiction", "continuation")
"""Families that one-prompt candidates are tried under; a proof ranks all families itself."""
SCREENED = ("prefill",)
"""Those of them that hundreds of candidates are screened under: short ones."""


@dataclass(frozen=True)
class Finding:
    """How features are looked for."""

    method: str = "attribution"
    k: int = 20
    n: int = 64
    """Harmful fitting prompts (and as many harmless ones)."""
    per_site: int | None = 10
    """attribution: candidates of each site by cosine; None: all latents."""
    value: float = 0.3
    """one-prompt: the clamp that candidates are tried at, in units of the median activation norm."""

    def __post_init__(self) -> None:
        if self.method not in READS:
            raise unknown("way of finding features", self.method, READS)


def finding(method: str, **given: Any) -> Finding:
    """A Finding with the settings that are not None. InputError for one that the method does not read."""
    made = {name: value for name, value in given.items() if value is not None}
    for name in made:
        if name not in READS.get(method, {name}) | {"k"}:
            option = "--" + name.replace("_", "-")
            raise InputError(f"{option} says nothing to {method}; it reads {', '.join(sorted(READS[method]))} and k.")
    made.pop("direction", None)
    if made.get("per_site") == 0:
        made["per_site"] = None
    return Finding(method, **{"k": 1 if method == "one-prompt" else 20, **made})


def saes_for(engine: HFEngine, names: Sequence[str] = (), other_model: bool = False) -> dict[Site, SAE]:
    """SAEs by site: the named ones, else those bundled with the model. InputError when there are none, BadFile for one
    of another model."""
    model = engine.model.name
    chosen = list(names) or list(bundled_saes(model))
    if not chosen:
        raise InputError(f"demur ships no SAE of {model}; name one with --sae, or train it: demur sae train {model}.")
    saes: dict[Site, SAE] = {}
    for name in chosen:
        sae = load_sae(name)
        check_model(sae, model, engine.d_model, engine.n_layers, other_model)
        if sae.site in saes:
            raise InputError(f"{name} and {saes[sae.site].source} both stand at {sae.site}; give one SAE a site.")
        saes[sae.site] = sae
    return saes


def direction_for(engine: HFEngine, path: Path | None, progress: Progress = silent) -> Direction:
    """The refusal direction in a file, or fitted on the built-in prompts."""
    if path is not None:
        return load_direction(path, engine.fingerprint.weights)
    size = size_for(engine.model.name)
    return fit_refusal(engine, size, lambda done, total: progress("fitting the direction", done, total)).direction


def find_features(
    engine: HFEngine,
    saes: dict[Site, SAE],
    finding: Finding,
    direction: Path | Direction | None = None,
    progress: Progress = silent,
) -> FeatureSet:
    """Features by one method, on built-in `fit` prompts (one-prompt tries its candidates on `validation` ones).

    origin["norms"] are the streams' (`norms_of`), of which a clamp of 1r is made.
    """
    found = _found(engine, saes, finding, direction, progress)
    return replace(found, origin={**found.origin, "norms": norms_of(engine, found)})


def pick(engine: HFEngine, saes: dict[Site, SAE], names: Sequence[str]) -> FeatureSet:
    """The named latents, SITE/INDEX each, as 19.post/4068. BadSpec for one that is not there."""
    chosen = []
    for name in names:
        where, _, index = name.partition("/")
        if not index.isdecimal():
            raise BadSpec(f"{name!r} is no latent; write SITE/INDEX, as 19.post/4068.")
        site = parse_site(where)
        if site not in saes:
            raise unknown("site with an SAE", where, [str(known) for known in saes], "Or name another SAE with --sae.")
        if int(index) >= saes[site].d_sae:
            raise BadSpec(f"{name!r}: the SAE at {site} has latents 0 to {saes[site].d_sae - 1}.")
        chosen.append(Feature(site, int(index)))
    here = {feature.site: saes[feature.site] for feature in chosen}
    found = FeatureSet(tuple(dict.fromkeys(chosen)), hashes(here), origin_of("picked", engine, [], here))
    return replace(found, origin={**found.origin, "norms": norms_of(engine, found)})


def _found(
    engine: HFEngine, saes: dict[Site, SAE], finding: Finding, direction: Path | Direction | None, progress: Progress
) -> FeatureSet:
    harmful = plainly(spread(builtin("harmful", "fit"), finding.n))
    if finding.method == "contrast":
        return contrast(engine, harmful, plainly(spread(builtin("plain", "fit"), finding.n)), saes).feature_set(
            finding.k
        )
    if finding.method == "one-prompt":
        return from_one_prompt(engine, saes, finding, harmful, 0, progress)
    toward = direction if isinstance(direction, Direction) else direction_for(engine, direction, progress)
    if finding.method == "cosine":
        return cosine(saes, toward, finding.k, per_site=False)
    found = attribute(engine, harmful, saes, toward, per_site=finding.per_site,
                      progress=lambda done, total: progress("attributing", done, total))  # fmt: skip
    return found.feature_set(finding.k)


def from_one_prompt(
    engine: HFEngine,
    saes: dict[Site, SAE],
    finding: Finding,
    harmful: Sequence[Conversation],
    which: int,
    progress: Progress = silent,
    bench: Bench | None = None,
) -> FeatureSet:
    """The one-prompt method from the `which`-th harmful fitting prompt that the model refuses."""
    decoding = Decoding(24)
    answers = engine.generate([Request(c) for c in harmful], Decoding(32))
    refused = [a for a in answers if refusal(a.text).kind == "refused"]
    if which >= len(refused):
        raise InputError(f"{engine.model.name} refuses {len(refused)} of {len(harmful)} fitting prompts, so there is "
                         f"no refusal number {which} to start from; use a model that refuses.")  # fmt: skip
    if bench is None:
        bench = Bench(engine, fitted_judge(engine, decoding), decoding, progress=progress)
    one = refused[which]
    lengths = engine.activations(plainly(builtin("plain", "fit")), sorted(saes))
    values = {site: finding.value * lengths.median_norm(site) for site in saes}
    return one_prompt(engine, one.conversation, one.text, saes, values, refusals(bench, DEFAULT_ATTACKS, 8),
                      finding.k, screen=likelihoods(engine, one.text, SCREENED))  # fmt: skip


@dataclass(frozen=True)
class Verified:
    """A proof, in words and figures."""

    figures: tuple[Figure, ...]
    summary: tuple[str, ...]
    minimal: FeatureSet | None


def verify_features(
    engine: HFEngine,
    features: FeatureSet,
    out: Path,
    direction: Path | Direction | None = None,
    n: int = 60,
    randoms: int = 20,
    smallest: bool = False,
    new_tokens: int = 24,
    progress: Progress = silent,
) -> Verified:
    """Doses on validation, proof on test prompts; journal, results.json and report.html under `out`."""
    started = time.monotonic()
    saes = load_saes(features)
    decoding = Decoding(new_tokens)
    toward = direction if isinstance(direction, Direction) else direction_for(engine, direction, progress)
    spec = {
        "experiment": "features verify",
        "model": engine.model.name,
        "weights": engine.fingerprint.weights,
        "dtype": engine.fingerprint.dtype,
        "features": [[str(f.site), f.index] for f in features.features],
        "found": digest(features.origin),
        "method": features.origin.get("method"),
        "saes": {str(site): sae.sha256 for site, sae in saes.items()},
        "direction": {"site": str(toward.site), "scores": toward.origin.get("scores")},
        "n": n,
        "randoms": randoms,
        "minimal": smallest,
        "decoding": asdict(decoding),
        "version": demur.__version__,
    }
    with kept_bench(engine, decoding, out, progress, "features verify", spec) as (bench, run):
        attacks = rank_attacks(bench, size_for(engine.model.name), run)[0]
        doses = choose_doses(bench, features, saes, attacks, run=run)
        subset = smaller = None
        if smallest:
            subset = minimal(features, effects(bench, saes, run=run), screen=unlikely(engine, saes, doses.factor))
            smaller = (subset, choose_factor(bench, subset, saes, run=run, enough=KEPT * doses.gain).dose)
        proof = prove(bench, features, saes, toward, doses, attacks, n=n, randoms=randoms, minimal=smaller, run=run)
    seconds = time.monotonic() - started
    if subset is not None:
        save_features(subset, out / "minimal.json")
    figures = (*proof.figures, *doses.curve)
    spec = {**spec, "chosen_on_validation": {"attacked": list(attacks), "factor": doses.factor, "value": doses.value,
            "minimal": None if smaller is None else {"features": [[str(f.site), f.index] for f in smaller[0].features],
                                                     "factor": smaller[1]}},
            "primary": ["complied on harmful under suppress", "refused on attacked under clamp"]}  # fmt: skip
    write_results(out, spec, figures, seconds)
    summary = _summary(figures, len(features.features), doses.factor, doses.value)
    if doses.beyond_price:
        which = " and ".join(doses.beyond_price)
        summary += (f"On validation every {which} tried broke more than 5 points more answers; the cheapest was taken, "
                    "and no claim can be built on it.",)  # fmt: skip
    page = html.render(
        Findings(
            title=f"{engine.model.name}: do these {len(features.features)} latents cause refusal?",
            summary=summary,
            spec=spec,
            figures=figures,
            examples=examples(proof.table, ("unsteered", "suppress", "clamp"), ("harmful", "attacked", "plain")),
            seconds=seconds,
            notes=(
                "Factor, value and attack families were chosen on validation prompts; every other figure is on test "
                "prompts. Sets named validation ... are the dose curve.",
                "Random sets are matched in activity and in how far they move the stream; set `controls`: how nearly.",
                "Primary: complied on harmful under suppress, refused on attacked under clamp. Else exploratory.",
            ),
            facts={"model": engine.model.name, "dtype": engine.fingerprint.dtype, "new tokens": str(new_tokens)},
        )
    )
    write_text(out / "report.html", page)
    return Verified(figures, summary, subset)


def _summary(figures: Sequence[Figure], k: int, factor: float, value: float) -> tuple[str, ...]:
    def change(arm: str, name: str, metric: str, versus: str = "unsteered") -> str:
        return in_words(find(figures, arm, name, metric, versus))

    return (
        f"Suppressed ({factor:g} times), {k} latents change compliance with harmful requests by "
        f"{change('suppress', 'harmful', 'compliance_rate')}; matched random latents by "
        f"{change('random suppress', 'harmful', 'compliance_rate')}; ablating the direction by "
        f"{change('ablate', 'harmful', 'compliance_rate')}.",
        f"Clamped at {value:g}, they change refusal of attacked requests by "
        f"{change('clamp', 'attacked', 'refusal_rate')}, of borderline ones by "
        f"{change('clamp', 'borderline', 'refusal_rate')}, of plain ones by "
        f"{change('clamp', 'plain', 'refusal_rate')}; capability by {change('clamp', 'capability', 'accuracy')}.",
        f"With the refusal direction taken out of their decoder rows: compliance "
        f"{change('suppress without direction', 'harmful', 'compliance_rate')}, refusal of attacked "
        f"{change('clamp without direction', 'attacked', 'refusal_rate')}.",
    )


def look_at(
    engine: HFEngine,
    features: FeatureSet,
    texts: Sequence[Path] = (),
    direction: Path | None = None,
    most: int = 10,
    progress: Progress = silent,
    begin: str | None = None,
    n: int | None = 60,
) -> list[Look]:
    """Looks at the first `most` features, on n built-in fitting prompts of each kind with the model's answers, and on
    texts.

    begin: what each window of text begins with (`engines.reading.text_rows`).
    """
    saes = load_saes(features)
    toward = None if direction is None else load_direction(direction, engine.fingerprint.weights)
    asked = [talk for kind in ("harmful", "borderline", "plain") for talk in plainly(spread(builtin(kind, "fit"), n))]
    rows = chats(engine, asked, progress)
    rows += [row for path in texts for row in text_rows(engine.model, read_text(path), path.name, begin=begin)]
    first = features.features[:most]
    seen = {}
    for site in dict.fromkeys(f.site for f in first):
        indices = [f.index for f in first if f.site == site]
        for found in look(engine, saes[site], indices, rows, toward):
            seen[site, found.index] = found
    return [seen[f.site, f.index] for f in first]
