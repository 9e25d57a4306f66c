"""Finding the latents that cause refusal, by one method or another: what `demur features find` and `pick` call."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path

from demur.directions.anything import DirectionSource
from demur.engines.base import WhiteBoxEngine
from demur.errors import BadSpec, InputError, check_sizes, unknown
from demur.evaluation.evaluator import Progress, silent
from demur.features.record import hashes, origin_of
from demur.fitting.doses import norms_of
from demur.fitting.finders import finder
from demur.fitting.finders.search import Search
from demur.fitting.refusal import given_direction
from demur.interventions import parse_site
from demur.prompts import uses
from demur.prompts.sets import PromptSets, builtin_sets
from demur.saes import SAE, check_model, load_sae
from demur.saes.bundled import bundled_saes
from demur.types import Feature, FeatureSet, Site


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

    def __post_init__(self) -> None:
        check_sizes(k=self.k, n=self.n)

    def settled(self, method: str, direction: object = None) -> FindConfig:
        """The config with the method's defaults. Raises UnknownName, and InputError for a setting that it ignores."""
        way = finder(method)
        given = {f.name for f in fields(self) if getattr(self, f.name) is not None}
        given |= {"direction"} if direction is not None else set()
        for name in sorted(given - way.reads - {"k"}):
            reads = " and ".join([", ".join(sorted(way.reads)), "k"]) if way.reads else "k"
            raise InputError(f"--{name.replace('_', '-')} says nothing to {method}; it reads {reads}.")
        usual = {"k": way.k, "n": 64, "per_site": 10, "value": 0.3}
        return FindConfig(**{name: value if getattr(self, name) is None else getattr(self, name)
                             for name, value in usual.items()})  # fmt: skip


def saes_for(
    engine: WhiteBoxEngine, saes: Sequence[SAE | str | os.PathLike[str]] = (), other_model: bool = False
) -> dict[Site, SAE]:
    """SAEs by site: the given or named ones, else those bundled with the model. InputError when there are none,
    BadFile for one of another model, unless `other_model` says that it may be (`check_model`)."""
    chosen = list(saes) or list(bundled_saes(engine.name))
    if not chosen:
        late = Site(engine.n_layers * 2 // 3, "post")
        raise InputError(
            f"demur ships no SAE of {engine.name}; name one with --sae, or train it: demur sae train {engine.name} "
            f"--site {late} --out saes --chats harmful,plain,borderline (better with a lot of --text FILE too)."
        )
    found: dict[Site, SAE] = {}
    for one in chosen:
        sae = one if isinstance(one, SAE) else load_sae(one if isinstance(one, str) else Path(one))
        check_model(sae, engine.name, engine.d_model, engine.n_layers, other_model, engine.fingerprint.weights)
        if sae.site in found:
            raise InputError(
                f"{sae.source} and {found[sae.site].source} both stand at {sae.site}; give one SAE a site."
            )
        found[sae.site] = sae
    return found


def find_features(
    engine: WhiteBoxEngine,
    saes: Mapping[Site, SAE] | str | os.PathLike[str] | Sequence[SAE | str | os.PathLike[str]] = (),
    method: str = "attribution",
    config: FindConfig | None = None,
    direction: DirectionSource | None = None,
    prompts: PromptSets | None = None,
    progress: Progress = silent,
    *,
    other_model: bool = False,
) -> FeatureSet:
    """Latents that cause refusal, found on fitting prompts (one-prompt tries its candidates on validation ones).

    saes: SAEs by site, or folders and names (`load_sae`) of one or several; (): those bundled with the model.
    direction: a value or a file, for attribution and cosine; fitted when left out. prompts: the user's own; built-in
    ones when left out. other_model: take named SAEs of a model with another name, which this one is a copy of or made
    from.
    origin["norms"] of the set are the streams' (`norms_of`), of which a clamp of 1r is made.
    """
    how = (config or FindConfig()).settled(method, direction)
    given = None if direction is None else given_direction(engine, direction)
    saes = [saes] if isinstance(saes, (str, os.PathLike)) else saes
    here = dict(saes) if isinstance(saes, Mapping) else saes_for(engine, saes, other_model)
    assert how.k is not None and how.value is not None
    prompts = builtin_sets() if prompts is None else prompts
    search = Search(engine, here, how.k, how.n, how.per_site or None, how.value, given, prompts, progress)
    found = finder(method).find(search)
    # A way of finding is free to look at all that are not for the test, so all are named.
    on, toward = [prompts.fitted_on()], search.direction.origin if "direction" in finder(method).reads else {}
    on += [dict(record) for record in uses.fitted_on(toward) if record.get("sha256") != prompts.sha256]
    return replace(found, origin={**found.origin, "fitted_on": on, "norms": norms_of(engine, found)})


def pick(engine: WhiteBoxEngine, saes: Mapping[Site, SAE], names: Sequence[str]) -> FeatureSet:
    """The named latents, SITE/INDEX each, as 19.post/4068. BadSpec for one that is not there."""
    chosen = []
    for name in names:
        site, index = latent(name)
        if site not in saes:
            known = [str(place) for place in saes]
            raise unknown("site with an SAE", str(site), known, "Or name another SAE with --sae.")
        if index >= saes[site].d_sae:
            raise BadSpec(f"{name!r}: the SAE at {site} has latents 0 to {saes[site].d_sae - 1}.")
        chosen.append(Feature(site, index))
    here = {feature.site: saes[feature.site] for feature in chosen}
    found = FeatureSet(tuple(dict.fromkeys(chosen)), hashes(here), origin_of("picked", engine, [], here))
    return replace(found, origin={**found.origin, "norms": norms_of(engine, found)})


def latent(name: str) -> tuple[Site, int]:
    """The site and the index of SITE/INDEX, as 19.post/4068. BadSpec for anything else."""
    where, _, index = name.partition("/")
    if not re.fullmatch("[0-9]{1,9}", index):
        raise BadSpec(f"{name!r} is no latent; write SITE/INDEX, as 19.post/4068.")
    return parse_site(where), int(index)
