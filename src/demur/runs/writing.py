"""Files appear whole or not at all: written beside their place, then renamed over it."""

from __future__ import annotations

import errno
import os
import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from demur.errors import BadFile, OutOfRoom

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""What the system says where no more can be written: the disk, a quota or a limit on a file's size is reached."""
UNWRITTEN = r"inline_container\.cc.*(unexpected pos|write failed)|^\d+ requested and \d+ written$"
"""What torch and numpy say when a file did not take all that they wrote, without the reason."""


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
    except Exception as error:
        if is_full(error):
            raise OutOfRoom(f"no room to write {path}; what was there is intact: free space, run again") from error
        if isinstance(error, OSError):
            raise BadFile(f"cannot write {path}: {error.strerror or error}; choose a folder you may write") from error
        raise
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


@contextmanager
def room(path: str | Path) -> Iterator[None]:
    """OutOfRoom, naming `path`, for whatever a library raises inside when nothing more can be written."""
    try:
        yield
    except Exception as error:
        if is_full(error):
            raise OutOfRoom(f"no room to write {path}; what is whole there is kept: free space, run again") from error
        raise


def is_full(error: BaseException | None) -> bool:
    """Whether an error, or the one behind it, is of a full disk. Libraries in Rust and C++ have it in their text."""
    while error is not None:
        found = re.search(r"\(os error (\d+)\)|\[errno (\d+)\]", text := str(error), re.I)
        number = error.errno if isinstance(error, OSError) else None
        if number in FULL or (found and int(found[1] or found[2]) in FULL) or re.search(UNWRITTEN, text):
            return True
        error = error.__cause__ or error.__context__
    return False


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
