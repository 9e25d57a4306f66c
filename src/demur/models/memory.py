"""Memory that runs out: told from other errors, and said with what takes less."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from demur.errors import DemurError, OutOfRoom


def out_of_memory(error: BaseException | None) -> bool:
    """Whether an error, or the one behind it, says that memory ran out.

    Torch has a class for it on GPUs; the CPU's allocator, and maps of files, have it in their text alone.
    """
    while error is not None:
        said = str(error).lower()
        if isinstance(error, (torch.OutOfMemoryError, MemoryError)) or "allocate memory" in said:
            return True
        error = error.__cause__ or error.__context__
    return False


@contextmanager
def memory_for(name: str, dtype: str, device: str | None) -> Iterator[None]:
    """OutOfRoom for memory that runs out while a model is loaded, with what to change."""
    try:
        yield
    except DemurError:
        raise
    except Exception as error:
        if not out_of_memory(error):
            raise
        where = "" if device is None else f" on {device}"
        less = "" if dtype == "bf16" else "--dtype bf16 takes half of it; "
        raise OutOfRoom(
            f"memory ran out while {name} was loaded in {dtype}{where}; {less}choose another place with --device, "
            f"split it with --device-map auto (load(..., dtype=, device=, device_map=)), or take a smaller model."
        ) from error
