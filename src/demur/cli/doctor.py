"""`demur doctor`: versions, CPU features, caches."""

from __future__ import annotations

import os
import platform
import re
import shutil
from importlib.metadata import PackageNotFoundError, requires, version

from rich.table import Table

from demur.cli.show import console, seen

PACKAGES = ("demur", "torch", "transformers", "tokenizers", "safetensors", "huggingface_hub", "gguf", "scipy")
INNER = ("dev",)
"""Extras that only demur's own developers need."""


def doctor() -> None:
    """Say what demur finds on this machine, and what is missing."""
    import torch

    from demur.models.bundled import FOLDER, INSTALL
    from demur.models.kept import cache
    from demur.models.load import best_dtype

    table = Table("what", "found", show_header=False)
    table.add_row("python", platform.python_version())
    for name in PACKAGES:
        table.add_row(name, _version(name) or "not installed")
    for extra, names in extras().items():
        there = {name: _version(name) for name in names}
        said = ", ".join(f"{name} {found or 'not installed'}" for name, found in there.items())
        table.add_row(f"extra {extra}", seen(said if all(there.values()) else f"{said}: pip install 'demur[{extra}]'"))
    table.add_row("cpu", f"{platform.machine()}, {os.cpu_count()} cores, {torch.get_num_threads()} threads used")
    table.add_row("cpu features", torch.backends.cpu.get_cpu_capability())
    table.add_row("gpu", seen(torch.cuda.get_device_name() if torch.cuda.is_available() else "none"))
    table.add_row("dtype for auto", best_dtype())
    free = shutil.disk_usage(next(p for p in (cache(), *cache().parents) if p.exists())).free / 1e9
    table.add_row("cache (DEMUR_CACHE)", seen(f"{cache()}, {free:.0f} GB free"))
    converted = (cache() / "models" / FOLDER).is_dir()
    table.add_row("bundled model", seen("converted" if converted else f"made at first use (needs: {INSTALL})"))
    data = os.environ.get("DEMUR_DATA")
    table.add_row("public data sets (DEMUR_DATA)", seen(data or "not set: published sets come from the hub"))
    console.print(table)


def extras() -> dict[str, list[str]]:
    """Each extra of demur's, and the packages that it brings."""
    found: dict[str, list[str]] = {}
    for line in requires("demur") or []:
        package, marker = re.match(r"[\w.-]+", line), re.search(r"extra == ['\"]([\w-]+)['\"]", line)
        if package and marker and marker[1] not in INNER:
            found.setdefault(marker[1], []).append(package[0])
    return found


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
