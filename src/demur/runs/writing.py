"""Files appear whole or not at all: written beside their place, then renamed over it."""

from __future__ import annotations

import errno
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from demur.errors import BadFile, OutOfRoom

FULL = (errno.ENOSPC, errno.EDQUOT)


@contextmanager
def atomic(path: str | Path) -> Iterator[Path]:
    """A temporary path to write; on leaving it is flushed to disk and renamed to `path`.

    After an exception the temporary file is gone and what stood at `path` is untouched.
    Raises OutOfRoom when the disk is full, BadFile when the folder cannot be written.
    """
    path = Path(path)
    temporary = path.parent / f".{secrets.token_hex(8)}.tmp"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        _flush(temporary)
        os.replace(temporary, path)
    except OSError as error:
        if error.errno in FULL:
            raise OutOfRoom(f"no room to write {path}; what was there is intact: free space, run again") from error
        raise BadFile(f"cannot write {path}: {error.strerror or error}; choose a folder you may write") from error
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def check_place(path: str | Path, folder: bool = False) -> None:
    """BadFile unless a file could be written to `path` (folder: files into it), before there is anything to write."""
    path = Path(path)
    above = path.absolute() if folder else path.absolute().parent
    try:
        if path.exists() and path.is_dir() != folder:
            raise BadFile(f"{path} is a {'file; give a folder' if folder else 'folder; give a file in it'}.")
        there = next(place for place in (above, *above.parents) if place.exists())
    except OSError as error:
        raise BadFile(f"cannot write {path}: {error.strerror or error}; choose another name.") from error
    if not there.is_dir():
        raise BadFile(f"cannot write {path}: {there} is a file; choose another folder.")
    if not os.access(there, os.W_OK | os.X_OK):
        raise BadFile(f"cannot write {path}: {there} is read-only; choose a folder you may write.")


def write_text(path: str | Path, text: str) -> Path:
    """Write `text` as UTF-8, atomically. A lone surrogate is written as its \\udXXX escape."""
    with atomic(path) as temporary:
        temporary.write_bytes(text.encode("utf-8", "backslashreplace"))
    return Path(path)


def _flush(path: Path) -> None:
    handle = os.open(path, os.O_RDWR)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
