"""One way in: `load("harmful", use="test")`, `load("jailbreakbench")`, `load("mine.csv:question")`."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from demur.errors import InputError, unknown
from demur.prompts.builtin import ITEMS, SETS, builtin, builtin_items
from demur.prompts.files import read_prompts
from demur.prompts.published import ITEMS as PUBLISHED_ITEMS
from demur.prompts.published import SETS as PUBLISHED
from demur.prompts.published import published, published_items
from demur.prompts.rows import SUFFIXES
from demur.types import USES, Item, Prompt, Use


def names() -> tuple[str, ...]:
    """Every prompt set that has a name: the built-in ones, then the published ones."""
    return (*SETS, *PUBLISHED)


def load(
    name: str | os.PathLike[str], use: Use | None = None, limit: int | None = None, uses: bool = False
) -> list[Prompt]:
    """A prompt set by name, or FILE[:COLUMN]; always in the same order.

    use: only the prompts that are reserved for it; a file says so in a column "use". uses: read that column, where
    there is one, also without `use`. limit: at most so many, chosen by a stable hash and
    kept in order, so that a small limit is spread over the topics, a larger one contains a smaller one,
    and a borderline prompt is chosen together with the harmful prompt it mirrors.

    Raises UnknownName, BadFile, and InputError when no prompt is reserved for `use`.
    """
    if use is not None and use not in USES:
        raise unknown("use", use, USES)
    if limit is not None and limit < 1:
        raise InputError(f"limit is {limit}; it must be 1 or more")
    name = os.fspath(name)
    if name in SETS:
        prompts = builtin(name, use)
    else:
        prompts = published(name) if name in PUBLISHED else _file(name, uses or use is not None)
        if use is not None and not any(prompt.use == use for prompt in prompts):
            held = {prompt.use for prompt in prompts}
            raise InputError(f"no prompt of {name!r} is reserved for {use!r} (its uses: {held}); leave `use` out")
        prompts = [prompt for prompt in prompts if use is None or prompt.use == use]
    return _spread(prompts, limit)


def load_items(name: str = ITEMS, use: Use | None = None, limit: int | None = None) -> list[Item]:
    """Capability items: the built-in set ("capability") or a published one ("arc-easy", "lambada" ...).

    Published items are reserved for no use, so `use` must be left out for them. limit: as in `load`.
    """
    if limit is not None and limit < 1:
        raise InputError(f"limit is {limit}; it must be 1 or more")
    if name == ITEMS:
        items = builtin_items(use)
    elif name in PUBLISHED_ITEMS:
        if use is not None:
            raise InputError(f"items of {name!r} are reserved for no use; leave `use` out")
        items = published_items(name)
    else:
        raise unknown("item set", name, (ITEMS, *PUBLISHED_ITEMS))
    kept = {item.id for item in sorted(items, key=lambda item: _rank(item.id))[:limit]}
    return [item for item in items if item.id in kept]


def _file(name: str, uses: bool) -> list[Prompt]:
    path, column = name, None
    if not os.path.isfile(name):
        cuts = [i for i, letter in enumerate(name) if letter == ":" and Path(name[:i]).suffix.lower() in SUFFIXES]
        if cuts:  # a column's name may hold a colon too
            cut = next((i for i in cuts if os.path.isfile(name[:i])), cuts[-1])
            path, column = name[:cut], name[cut + 1 :] or None
    if Path(path).suffix.lower() in SUFFIXES or os.sep in path or os.path.isfile(path):
        return read_prompts(path, column, uses=uses)
    if name.startswith("caa:"):
        raise InputError(f"{name!r} is a set of contrast pairs, not of prompts; read it with caa_pairs({name!r})")
    raise unknown("prompt set", name, names(), "A file is named FILE or FILE:COLUMN.")


def _spread(prompts: list[Prompt], limit: int | None) -> list[Prompt]:
    chosen = {prompt.id for prompt in sorted(prompts, key=lambda prompt: _rank(prompt.match or prompt.id))[:limit]}
    return [prompt for prompt in prompts if prompt.id in chosen]


def _rank(key: str) -> str:
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()
