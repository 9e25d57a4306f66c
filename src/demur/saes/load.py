"""`load_sae`: an SAE of any known format, from a folder or the Hugging Face hub, told by its files; or by name."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

from demur.errors import BadFile, InputError
from demur.saes import dictionary_learning, gemma_scope, llama_scope, saelens, sparsify
from demur.saes.bundled import bundled_sae
from demur.saes.registry import Listed, listed
from demur.saes.sae import SAE

LISTED = re.compile(r"[^/\s]+/(\d+-|blocks\.\d)")
"""How names of Neuronpedia and SAELens begin, also where a folder here, as the model's, is called as what is before the
slash."""
_GEMMA_2 = ("config.json", gemma_scope.SAFETENSORS)

FORMATS: dict[str, tuple[tuple[str, ...], Callable[[Path], SAE]]] = {
    "SAELens": (saelens.FILES, saelens.read),
    "sparsify": (sparsify.FILES, sparsify.read),
    "Gemma Scope": ((gemma_scope.NPZ,), gemma_scope.read),
    "Gemma Scope 2": (_GEMMA_2, gemma_scope.read_2),
    "Llama Scope": (llama_scope.FILES, llama_scope.read),
    "Llama Scope R1-Distill": (llama_scope.FILES_R1, llama_scope.read_r1),
    "dictionary_learning": (dictionary_learning.FILES, dictionary_learning.read),
}
"""Format -> the files that mark it, and its reader."""


def load_sae(
    path_or_id: str | Path, subfolder: str = "", *, scale: float | None = None, revision: str | None = None
) -> SAE:
    """Read a bundled SAE by name (smollm2-refuser/19.post), the one in a folder, or in `subfolder` on the hub; with
    sae-lens also by SAELens' release and id (gpt2-small-res-jb/blocks.8.hook_resid_pre) and by Neuronpedia's source
    (gemma-2-2b/20-gemmascope-res-16k), which `saes.registry` looks up.

    scale: for SAELens' normalize_activations 'expected_average_only_in' alone, whose files leave out what the stream
    was multiplied by in training (sqrt(d_in) / mean activation norm). revision: the hub's commit or branch.

    Raises BadFile when nothing there is an SAE (with what was looked for), or a file is missing or damaged;
    UnknownName for an architecture, activation or hook that demur does not have, and for an id that the registry does
    not; BadVector for wrong shapes and NaN; InputError when the hub cannot be reached; MissingExtra for a name that
    only sae-lens knows.
    """
    if (shipped := bundled_sae(str(path_or_id))) is not None:
        return replace(_read(shipped, scale), source=str(path_or_id))
    root = Path(os.path.expanduser(path_or_id)).absolute()
    # isdir is False for names that no file can have, where pathlib raises.
    if os.path.isdir(root) or str(path_or_id).startswith(("/", ".", "~")):
        return _read(root / subfolder, scale)
    if isinstance(path_or_id, str):
        on_hub = re.fullmatch(r"[\w.-]+/[\w.-]+", path_or_id) is not None
        # A name in a folder that is here is a mistyped path: to look it up means to import sae-lens, for seconds.
        beside = "/" in path_or_id and os.path.isdir(root.parent) and not LISTED.match(path_or_id)
        if on_hub and subfolder:
            return _read(_download(path_or_id, subfolder, revision) / subfolder, scale)
        name = f"{path_or_id}/{subfolder}" if subfolder else path_or_id
        if not beside and (known := listed(name)) is not None:
            return _read_listed(known, scale, revision)
        if on_hub:
            return _read(_download(path_or_id, "", revision), scale)
        if beside:
            return _read(root, scale)
    raise BadFile(
        f"no folder {path_or_id}; give an SAE's folder, or a hub id as OWNER/NAME with its subfolder; or a name that "
        "sae-lens' registry has: SAELens' RELEASE/ID, Neuronpedia's MODEL/SOURCE."
    )


@lru_cache(maxsize=4)
def reload_sae(source: str, sha256: str) -> SAE:
    """The SAE that `source` gave when its hash was `sha256`; the last few are kept.

    source: `SAE.source`, a folder or a name. Raises as `load_sae`, and BadFile when it gives another SAE now.
    """
    sae = load_sae(source)
    if sae.sha256 != sha256:
        raise BadFile(
            f"{source} holds an SAE with sha256 {sae.sha256[:12]}..., not {sha256[:12]}...: the file changed; "
            "give the folder of the right one."
        )
    return sae


def _read_listed(known: Listed, scale: float | None, revision: str | None) -> SAE:
    """The registry's SAE: its files from the hub, read as the registry says; `source` is its name."""
    folder = _download(known.repo, known.folder, revision) / known.folder
    if known.format == "SAELens":
        found = saelens.read(folder, known.scale if scale is None else scale, known.overrides)
    elif scale is not None:
        raise InputError(f"{known.name} is a {known.format} SAE, which needs no scale (got {scale}); leave it out.")
    else:
        found = FORMATS[known.format][1](folder)
    said = {"model_name": known.model, "neuronpedia_id": known.neuronpedia}
    added = {key: value for key, value in said.items() if value and not found.metadata.get(key)}
    return replace(found, metadata={**found.metadata, **added}, source=known.name)


def _read(folder: Path, scale: float | None) -> SAE:
    if not os.path.isdir(folder):
        raise BadFile(f"no folder {folder}{_nearby(folder.parent)}; give an SAE's folder.")
    fits = _formats(folder)
    if not fits:
        looked = "; ".join(f"{name}: {' + '.join(files)}" for name, (files, _) in FORMATS.items())
        raise BadFile(f"{folder} holds no whole SAE{_nearby(folder)}; looked for {looked}.")
    if fits[0] == "SAELens":
        return saelens.read(folder, scale)
    if scale is not None:
        raise InputError(f"{folder} is a {fits[0]} SAE, which needs no scale (got {scale}); leave it out.")
    return FORMATS[fits[0]][1](folder)


def _formats(folder: Path) -> list[str]:
    return [name for name, (files, _) in FORMATS.items() if all((folder / file).is_file() for file in files)]


def _nearby(folder: Path) -> str:
    """A hint: what stands there, and the first SAE in the folders just below."""
    if not os.path.isdir(folder):
        return ""
    there = sorted(entry.name for entry in folder.iterdir())
    below = [name for name in there if _formats(folder / name)]
    hint = f", but {below[0]}/ does" if below else ""
    return f" (it has {', '.join(there[:8]) or 'nothing'}{', ...' if len(there) > 8 else ''}{hint})"


def _download(repo: str, subfolder: str, revision: str | None) -> Path:
    """The local snapshot of one SAE's files. Without a subfolder the top level alone is fetched: repositories of
    SAEs run to hundreds of gigabytes. `config.json` at the top is where sparsify names the model."""
    from huggingface_hub import snapshot_download

    only, never = ([f"{subfolder}/*", "config.json"], None) if subfolder else (None, ["*/*"])
    try:
        return Path(snapshot_download(repo, revision=revision, allow_patterns=only, ignore_patterns=never))
    except Exception as problem:  # the hub's own, HTTP's and the disk's errors share no base class
        line = str(problem).splitlines()[0] if str(problem) else "no message"
        raise InputError(
            f"{' '.join((repo, subfolder)).strip()} is no folder here and could not be had from the hub "
            f"({type(problem).__name__}: {line}); give a local folder, or log in if the repository is gated."
        ) from problem
