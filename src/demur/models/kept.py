"""Model folders that demur makes once and keeps in its cache, sealed by a manifest that is checked on every load."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from filelock import FileLock

from demur.errors import BadFile, OutOfRoom
from demur.runs.writing import is_full

MANIFEST = "manifest.json"
UNLISTED = (MANIFEST, "README.md")
"""Files that the manifest leaves out: itself, and what nothing loads."""


def cache() -> Path:
    """demur's cache: `DEMUR_CACHE`, or ~/.cache/demur."""
    return Path(os.path.expanduser(os.environ.get("DEMUR_CACHE") or "~/.cache/demur"))


def kept(name: str, make: Callable[[Path], None], room: Callable[[], int], what: str) -> Path:
    """The folder models/`name` of the cache; `make` fills a new one (and writes its manifest) where it is lacking.

    A folder that is not what its manifest says is made again, with a warning. One that a killed process left half done
    is never taken, and removed. room: the bytes it takes, asked for when it is made; OutOfRoom says them when the disk
    is full. what: the model. Raises whatever `make` does, and BadFile for a file that cannot be read or written.
    """
    folder = cache() / "models" / name
    if folder.is_dir() and not fault(folder):
        return folder
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(folder.with_suffix(".lock")):
            return _made(folder, make, room, what)
    except Exception as error:  # tokenizers and safetensors have errors of their own for a full disk
        if is_full(error):
            raise _full(folder.parent, room(), what) from error
        if not isinstance(error, OSError):
            raise
        if _elsewhere(error, folder.parent.absolute()):
            raise BadFile(f"cannot read {error.filename}: {error.strerror}; check the file.") from error
        raise BadFile(
            f"cannot write {what} to {folder.parent}: {error.strerror or error}; "
            f"set DEMUR_CACHE to a folder that you may write"
        ) from error


def check_room(folder: Path, room: int, what: str) -> None:
    """OutOfRoom unless `folder`'s disk has `room` bytes left for `what`."""
    there = next(path for path in (folder, *folder.parents) if path.exists())
    if shutil.disk_usage(there).free < room:
        raise _full(folder, room, what)


def size(n: int) -> str:
    """Bytes in words: 491 MB, 3.6 GB."""
    return f"{n / 1e9:.1f} GB" if n >= 1e9 else f"{n / 1e6:.0f} MB"


def write_manifest(folder: Path, **facts: str) -> Path:
    """Write manifest.json: `facts`, and the sha256 of every other file in the folder."""
    files = {p.name: sha256(p) for p in sorted(folder.iterdir()) if p.is_file() and p.name not in UNLISTED}
    path = folder / MANIFEST
    path.write_text(json.dumps({**facts, "files": files}, indent=1) + "\n", encoding="utf-8")
    return path


def sha256(path: Path) -> str:
    """Of a file's bytes."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def listed(folder: Path) -> Mapping[str, str]:
    """What a folder's manifest lists: file -> sha256. It says what is there once `fault` found nothing wrong."""
    return json.loads((folder / MANIFEST).read_text(encoding="utf-8"))["files"]


def fault(folder: Path) -> str:
    """What is wrong with a folder against its manifest, naming the file; "" when nothing is."""
    try:
        files: Any = listed(folder)
        if not isinstance(files, Mapping) or not files:
            raise ValueError("it lists no files")
        for name, expected in files.items():
            if Path(name).name != name:
                raise ValueError(f"{name!r} is not a file name")
            if not (folder / name).is_file():
                return f"{folder / name} is missing"
            if sha256(folder / name) != expected:
                return f"{folder / name} is not what {MANIFEST} says (sha256)"
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        return f"{folder / MANIFEST} cannot be read ({error})"
    unlisted = sorted(p.name for p in folder.iterdir() if p.is_file() and p.name not in {*files, *UNLISTED})
    return f"{folder / unlisted[0]} is not in {MANIFEST}" if unlisted else ""


def _elsewhere(error: OSError, folder: Path) -> bool:
    """Whether an error names a file that is neither in a folder nor above it."""
    if error.filename is None:
        return False
    place = Path(os.path.abspath(str(error.filename)))
    return not place.is_relative_to(folder) and not folder.is_relative_to(place)


def _full(folder: Path, room: int, what: str) -> OutOfRoom:
    return OutOfRoom(f"no room for {what} in {folder} ({size(room)}); free space, run again")


def _made(folder: Path, make: Callable[[Path], None], room: Callable[[], int], what: str) -> Path:
    """Make beside `folder`, then rename. The caller holds the lock."""
    for left in folder.parent.glob(f".{folder.name}-*"):  # one that was killed
        shutil.rmtree(left, ignore_errors=True)
    wrong = fault(folder) if folder.exists() else ""
    if folder.exists() and not wrong:
        return folder  # another process was first
    check_room(folder.parent, room(), what)
    if wrong:
        warnings.warn(f"{wrong}; {what} is converted again", RuntimeWarning, stacklevel=4)
    temporary = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        make(temporary)
        for file in temporary.iterdir():
            with file.open("rb+") as stream:
                os.fsync(stream.fileno())
        if folder.exists():
            folder.rename(temporary / "replaced")
            (new := temporary.with_name(temporary.name + "-new")).mkdir()
            for file in temporary.iterdir():
                if file.name != "replaced":
                    file.rename(new / file.name)
            new.rename(folder)
        else:
            temporary.chmod(0o755)
            temporary.rename(folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return folder
