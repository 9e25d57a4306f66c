"""Ways of finding features, one file each: its name, with dashes, is what `demur features find --method` takes.

A file holds a `FINDER` (`finders.search.Finder`). Listing the names imports none of them.
"""

from importlib import import_module
from pkgutil import iter_modules
from typing import TYPE_CHECKING

from demur.errors import unknown

if TYPE_CHECKING:
    from demur.fitting.finders.search import Finder

METHODS: tuple[str, ...] = tuple(
    sorted(module.name.replace("_", "-") for module in iter_modules(__path__) if module.name != "search")
)


def finder(method: str) -> "Finder":
    """The way of this name; UnknownName for another."""
    if method not in METHODS:
        raise unknown("way of finding features", method, METHODS)
    return import_module(f"{__name__}.{method.replace('-', '_')}").FINDER
