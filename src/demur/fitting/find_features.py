"""Finding the latents that cause refusal, by one method or another: what `demur features find` and `pick` call."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path

from demur.attacks import plainly
from demur.engines.base import Request, WhiteBoxEngine, white_box
from demur.errors import BadSpec, InputError, unknown
from demur.evaluation.evaluator import Evaluator, Progress, silent
from demur.evaluation.judging import calibrated_judge
from demur.features import attribute, contrast, cosine
from demur.features.one_prompt import Screen, one_prompt
from demur.features.record import hashes, origin_of
from demur.fitting.doses import likelihoods, norms_of, refusals
from demur.fitting.refusal import refusal_direction
from demur.interventions import parse_site
from demur.judges.refusal import refusal
from demur.prompts.sets import PromptSets, builtin_sets
from demur.saes import SAE, check_model, load_sae
from demur.saes.bundled import bundled_saes
from demur.types import Conversation, Decoding, Direction, Feature, FeatureSet, Site

READS: dict[str, frozenset[str]] = {
    "attribution": frozenset({"n", "per_site", "direction"}),
    "contrast": frozenset({"n"}),
    "cosine": frozenset({"direction"}),
    "one-prompt": frozenset({"n", "value"}),
}
"""Methods, and the settings beside `k` that each reads."""
METHODS = tuple(READS)
DEFAULT_ATTACKS = ("prefill", "fiction", "continuation")
"""Families that one-prompt candidates are tried under; a proof ranks all families itself."""
SCREENED = ("prefill",)
"""Those of them that hundreds of candidates are screened under: short ones."""
NEW_TOKENS = 24


@dataclass(frozen=True)
class FindConfig:
    """How features are looked for. A setting that the method does not read is refused."""

    k: int | None = None
    """Latents to keep; None: 20, one-prompt 1."""
    n: int | None = None
    """Harmful fitting prompts (and as many harmless ones); None: 64."""
    per_site: int | None = None
    """attribution: candidates of each site by cosine; None: 10; 0: all latents."""
    value: float | None = None
    """one-prompt: the clamp that candidates are tried at, in units of the median activation norm; None: 0.3."""

    def settled(self, method: str, direction: object = None) -> FindConfig:
        """The config with the method's defaults. Raises UnknownName, and InputError for a setting that it ignores."""
        if method not in READS:
            raise unknown("way of finding features", method, READS)
        given = {f.name for f in fields(self) if getattr(self, f.name) is not None}
        given |= {"direction"} if direction is not None else set()
        for name in sorted(given - READS[method] - {"k"}):
            reads = ", ".join(sorted(READS[method]))
            raise InputError(f"--{name.replace('_', '-')} says nothing to {method}; it reads {reads} and k.")
        defaults = {"k": 1 if method == "one-prompt" else 20, "n": 64, "per_site": 10, "value": 0.3}
        return FindConfig(**{name: usual if getattr(self, name) is None else getattr(self, name)
                             for name, usual in defaults.items()})  # fmt: skip


def saes_for(engine: WhiteBoxEngine, names: Sequence[str] = (), other_model: bool = False) -> dict[Site, SAE]:
    """SAEs by site: the named ones, else those bundled with the model. InputError when there are none, BadFile for one
    of another model."""
    chosen = list(names) or list(bundled_saes(engine.name))
    if not chosen:
        late = Site(engine.n_layers * 2 // 3, "post")
        raise InputError(
            f"demur ships no SAE of {engine.name}; name one with --sae, or train it: demur sae train {engine.name} "
            f"--site {late} --out saes --chats harmful,plain,borderline (better with a lot of --text FILE too)."
        )
    saes: dict[Site, SAE] = {}
    for name in chosen:
        sae = load_sae(name)
        check_model(sae, engine.name, engine.d_model, engine.n_layers, other_model)
        if sae.site in saes:
            raise InputError(f"{name} and {saes[sae.site].source} both stand at {sae.site}; give one SAE a site.")
        saes[sae.site] = sae
    return saes


def find_features(
    engine: WhiteBoxEngine,
    saes: Mapping[Site, SAE] | Sequence[str] = (),
    method: str = "attribution",
    config: FindConfig | None = None,
    direction: Direction | str | Path | None = None,
    prompts: PromptSets | None = None,
    progress: Progress = silent,
) -> FeatureSet:
    """Latents that cause refusal, found on fitting prompts (one-prompt tries its candidates on validation ones).

    saes: SAEs by site, or their folders and names; (): those bundled with the model. direction: a value or a file, for
    attribution and cosine; fitted when left out. prompts: the user's own; built-in ones when left out.
    origin["norms"] of the set are the streams' (`norms_of`), of which a clamp of 1r is made.
    """
    how, prompts = (config or FindConfig()).settled(method, direction), prompts or builtin_sets()
    here = dict(saes) if isinstance(saes, Mapping) else saes_for(engine, saes)
    assert how.k is not None and how.value is not None
    harmful = plainly(prompts.take("harmful", "fit", how.n))
    if method == "contrast":
        found = contrast(engine, harmful, plainly(prompts.take("plain", "fit", how.n)), here).feature_set(how.k)
    elif method == "one-prompt":
        judge = calibrated_judge(engine, Decoding(NEW_TOKENS))
        evaluator = Evaluator(engine, judge, Decoding(NEW_TOKENS), progress=progress, prompts=prompts)
        found = from_one_prompt(evaluator, here, harmful, 0, how.k, how.value)
    else:
        toward = refusal_direction(engine, direction, prompts, None, progress)
        if method == "cosine":
            found = cosine(here, toward, how.k, per_site=False)
        else:
            found = attribute(engine, harmful, here, toward, per_site=how.per_site or None,
                              progress=lambda done, total: progress("attributing", done, total))  # fmt: skip
            found = found.feature_set(how.k)
    return replace(found, origin={**found.origin, "norms": norms_of(engine, found)})


def from_one_prompt(
    evaluator: Evaluator,
    saes: dict[Site, SAE],
    harmful: Sequence[Conversation],
    which: int = 0,
    k: int = 1,
    value: float = 0.3,
) -> FeatureSet:
    """The one-prompt method from the `which`-th of some fitting prompts that the model refuses.

    value: the clamp that candidates are tried at, in units of the median activation norm.
    """
    engine, prompts = white_box(evaluator.engine), evaluator.prompts
    answers = engine.generate([Request(c) for c in harmful], Decoding(32))
    refused = [a for a in answers if refusal(a.text).kind == "refused"]
    if which >= len(refused):
        raise InputError(f"{engine.name} refuses {len(refused)} of {len(harmful)} fitting prompts, so there is no "
                         f"refusal number {which} to start from; use a model that refuses.")  # fmt: skip
    one = refused[which]
    lengths = engine.activations(plainly(builtin_sets().take("plain", "fit")), sorted(saes))
    values = {site: value * lengths.median_norm(site) for site in saes}
    return one_prompt(engine, one.conversation, one.text, saes, values, refusals(evaluator, DEFAULT_ATTACKS, 8), k,
                      screen=Screen(likelihoods(engine, prompts, one.text, SCREENED)))  # fmt: skip


def pick(engine: WhiteBoxEngine, saes: Mapping[Site, SAE], names: Sequence[str]) -> FeatureSet:
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
