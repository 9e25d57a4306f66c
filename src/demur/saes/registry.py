"""SAEs by the names that the field has for them: SAELens' RELEASE/ID and Neuronpedia's MODEL/SOURCE.

gpt2-small-res-jb/blocks.8.hook_resid_pre        a release of SAELens, and an id in it
gemma-2-2b/20-gemmascope-res-16k                 a source of Neuronpedia, as in its addresses

Both are looked up in the registry that sae-lens brings (extra `train`), which says where on the hub the files lie.
"""

from __future__ import annotations

import difflib
import re
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.util import find_spec
from typing import Any

from demur.errors import InputError, MissingExtra, UnknownName

READ = {
    "sae_lens": "SAELens",
    "gemma_2": "Gemma Scope",
    "gemma_3": "Gemma Scope 2",
    "llama_scope": "Llama Scope",
    "llama_scope_r1_distill": "Llama Scope R1-Distill",
    "dictionary_learning_1": "dictionary_learning",
}
"""SAELens' name of a way to convert files -> the format that demur reads them as."""
NO_SAE = re.compile(r"(^|[-_/])(transcoders?|clt|crosscoders?)([-_/]|$)")
"""In a release or a folder: what reads one site and writes another."""
_MEANT = re.compile(r"[^/\s]+/(\d+-[^/\s]+|blocks\.\d+\.\S+|\S+/\S+)")
"""What can only be a name of the registry: nothing on the hub is called so."""


@dataclass(frozen=True)
class Listed:
    """An SAE as the registry has it."""

    release: str
    id: str
    repo: str
    folder: str
    format: str
    """As in `demur.saes.load.FORMATS`."""
    model: str
    """The model it was trained on."""
    neuronpedia: str = ""
    """MODEL/SOURCE; "" where Neuronpedia has none."""
    scale: float | None = None
    """What the stream was multiplied by in training, where SAELens' file leaves it out."""
    overrides: Mapping[str, Any] = field(default_factory=dict)
    """Entries of SAELens' config that replace the file's."""

    @property
    def name(self) -> str:
        """RELEASE/ID."""
        return f"{self.release}/{self.id}"


def listed(name: str) -> Listed | None:
    """The registry's SAE of that name, RELEASE/ID or MODEL/SOURCE; None for a name that it knows nothing of.

    Raises UnknownName for another id of a release, or another source of a model, that it does know, with the nearest;
    InputError for an SAE that demur does not read, with the reason; MissingExtra where only sae-lens could tell.
    """
    if find_spec("sae_lens") is None:
        if _MEANT.fullmatch(name):
            raise MissingExtra(
                f"no folder {name}; as a name of SAELens (RELEASE/ID) or of Neuronpedia (MODEL/SOURCE) it is looked up "
                "in the registry of sae-lens: pip install 'demur[train]'."
            )
        return None
    directory = _directory()
    head, _, rest = name.partition("/")
    if head in directory:
        if rest in directory[head].saes_map:
            return _listed(directory[head], rest)
        raise _unknown(f"release {head!r} of SAELens", rest, directory[head].saes_map, head)
    if name in _sources():
        release, id = _sources()[name]
        return _listed(directory[release], id)
    if others := [source.partition("/")[2] for source in _sources() if source.partition("/")[0] == head]:
        raise _unknown(f"Neuronpedia's {head!r}", rest, others, head)
    return None


def _listed(release: Any, id: str) -> Listed:
    folder = release.saes_map[id]
    how = release.conversion_func or "sae_lens"
    name = f"{release.release}/{id}"
    if NO_SAE.search(release.release) or NO_SAE.search(folder):
        raise InputError(f"{name} reads one site and writes another (a transcoder); demur takes SAEs of one site.")
    if how not in READ:
        raise InputError(
            f"{name} lies on the hub ({release.repo_id}) in a format of its own, {how}, that demur does not read; it "
            f"reads {', '.join(READ.values())}. Convert it with sae-lens: SAE.from_pretrained({release.release!r}, "
            f"{id!r}).save_model(FOLDER), and give that folder."
        )
    return Listed(
        release=release.release,
        id=id,
        repo=release.repo_id,
        folder=folder,
        format=READ[how],
        model=release.model,
        neuronpedia=release.neuronpedia_id.get(id) or "",
        scale=release.norm_scaling_factor.get(id) if how == "sae_lens" else None,
        overrides=dict(release.config_overrides or {}) if how == "sae_lens" else {},
    )


def _unknown(where: str, id: str, known: Iterable[str], head: str) -> UnknownName:
    """An error for a registry of hundreds: the nearest few, not all."""
    names = sorted(known)
    near = difflib.get_close_matches(id, names, n=3, cutoff=0.5) or names[:3]
    what = f"no SAE {id!r} among" if id else f"{head} alone is"
    return UnknownName(f"{what} the {len(names)} of {where}; give one, as {', '.join(f'{head}/{x}' for x in near)}.")


@cache
def _directory() -> Mapping[str, Any]:
    """Release -> its entry (sae_lens' PretrainedSAELookup)."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # its imports warn of each other
        from sae_lens.loading.pretrained_saes_directory import get_pretrained_saes_directory
    return get_pretrained_saes_directory()


@cache
def _sources() -> dict[str, tuple[str, str]]:
    """Neuronpedia's MODEL/SOURCE -> release and id."""
    entries = ((release, id, source) for release in _directory().values()
               for id, source in release.neuronpedia_id.items() if source)  # fmt: skip
    return {source: (release.release, id) for release, id, source in entries}
