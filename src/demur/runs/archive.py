"""Zip archives of others (.pt, .npz), whose parts carry a CRC that not every reader compares."""

from __future__ import annotations

import zipfile
import zlib
from pathlib import Path


def fault(path: Path) -> str:
    """What is wrong with the parts of a zip archive, in words; "" where nothing is, and for a file that is none.

    torch.load takes a part whose CRC does not hold.
    """
    try:
        if not zipfile.is_zipfile(path):
            return ""
        with zipfile.ZipFile(path) as archive:
            name = archive.testzip()
    except (OSError, ValueError, EOFError, NotImplementedError, RuntimeError, zipfile.BadZipFile, zlib.error) as error:
        return f"its archive cannot be read ({error})"
    return "" if name is None else f"its part {name!r} does not match its CRC"
