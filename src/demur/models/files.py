"""Where the files of a model are, by short name, folder, .gguf file or hub id; and of the adapter on it."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path

from demur.errors import BadFile, UnknownName
from demur.models.adapters import CONFIG as ADAPTER
from demur.models.adapters import WEIGHTS, base_of
from demur.models.bundled import BUNDLED, adapter_folder, bundled_folder
from demur.models.gguf import gguf_folder
from demur.models.hub import snapshot
from demur.models.kept import cache
from demur.models.named import NAMED, named_folder


@dataclass(frozen=True)
class Files:
    """Where a model's files are."""

    folder: Path
    checked: bool = False
    """Whether the folder is of demur's cache, and was held against its manifest."""
    ours: Path | None = None
    """The folder of demur's own adapter on it."""
    theirs: Path | None = None
    """The folder of a PEFT adapter on it."""

    @property
    def added(self) -> tuple[Path, ...]:
        """The adapter's files that decide what it adds: of demur's own, the manifest fixes the config."""
        if self.theirs is not None:
            return self.theirs / WEIGHTS, self.theirs / ADAPTER
        return () if self.ours is None else (self.ours / WEIGHTS,)


def files_of(name: str, revision: str | None) -> Files:
    """Where a model's files are, and those of the adapter on it where `name` is one; fetched or converted if need be.

    Raises UnknownName, BadFile or OutOfRoom with the fix.
    """
    if name in BUNDLED:
        return Files(bundled_folder(), True, ours=adapter_folder(name))
    first = _folder(name, revision)
    folder = first.folder
    found = base_of(folder)
    if found is None:
        return first
    base, revision = found
    try:
        under = Files(bundled_folder(), True) if base == "smollm2" else _folder(base, revision)
    except UnknownName as error:
        raise BadFile(f"{folder / ADAPTER} names a base that is not there: {error}") from error
    if base_of(under.folder) is not None:
        raise BadFile(f"{folder / ADAPTER} names another adapter, {base!r}, as its base; merge that one first.")
    return replace(under, theirs=folder)


def _folder(name: str, revision: str | None = None) -> Files:
    """Where a model, or an adapter, is."""
    if name in NAMED:
        folder = named_folder(name)
        return Files(folder, folder.parent == cache() / "models")  # else: the hub's
    path = Path(os.path.expanduser(name))  # pathlib's own raises for a ~user that does not exist
    if path.suffix.lower() == ".gguf":
        return Files(gguf_folder(path), True)
    if os.path.isdir(path):  # False for names that no file can have, where pathlib raises
        if not any((path / file).exists() for file in ("config.json", ADAPTER)):
            raise BadFile(f"{path} has no config.json; give a folder written by save_pretrained.")
        return Files(path)
    if path.is_absolute() or name.startswith((".", "~")) or name.count("/") != 1:
        placed = "no folder there, and " if path.is_absolute() or name.startswith((".", "~")) else ""
        raise UnknownName(
            f"{placed}no model named {name!r}; known: {', '.join((*BUNDLED, *NAMED))}, a folder with config.json, "
            f"a .gguf file, or a hub id such as Qwen/Qwen2.5-0.5B-Instruct."
        )
    try:
        return Files(snapshot(name, revision))
    except Exception as error:  # the hub library's errors share no base class
        at = "" if revision is None else f" at {revision!r}"
        raise UnknownName(
            f"cannot fetch {name!r}{at} from the Hugging Face hub ({line_of(error)}); "
            f"check the id and the network, or give a local folder."
        ) from error


def line_of(error: BaseException) -> str:
    """The first line of what an error says."""
    text = str(error).strip().splitlines()
    return (text[0] if text else type(error).__name__)[:200]
