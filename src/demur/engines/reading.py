"""Reading text that exists already: plain text in windows of tokens.

What SAEs are trained and measured on. A passage is a `Row` of tokens; nothing is generated.
"""

from __future__ import annotations

from collections.abc import Iterator

from torch import Tensor

from demur.activations.store import Activations
from demur.engines.base import Row, WhiteBoxEngine
from demur.errors import InputError
from demur.types import Site

WINDOW = 128
"""Tokens of plain text read at once."""
SHORTEST = 16
"""Windows of fewer tokens are left out: little can be predicted in them."""


def text_rows(
    engine: WhiteBoxEngine, text: str, label: str, window: int = WINDOW, begin: str | None = None
) -> list[Row]:
    """Plain text cut into windows of `window` tokens, each begun with `begin` (None: as the tokenizer begins a text).

    A model that has no token of its own to begin with gives its massive activations to an early token of the window,
    now this one, now that (Sun et al. 2402.17762), and few such tokens outweigh all others in a mean square. `begin`
    keeps them on the first token, which everything here leaves out. Raises InputError when there is not one window of
    at least `SHORTEST` tokens.
    """
    if window < SHORTEST:
        raise InputError(f"a window of {window} tokens is too short to read; give at least {SHORTEST}.")
    first = engine.encode("", begin=True) if begin is None else engine.encode(begin)
    width = window - len(first)
    if width < SHORTEST:
        raise InputError(f"{begin!r} has {len(first)} tokens and leaves {width} of {window}; begin with less.")
    tokens = [token for part in _paragraphs(text) for token in engine.encode(part)]
    cuts = [tokens[at : at + width] for at in range(0, len(tokens), width)]
    rows = [Row((*first, *cut), 0, f"{label}, window {i}") for i, cut in enumerate(cuts) if len(cut) >= SHORTEST]
    if not rows:
        raise InputError(f"{label} has {len(tokens)} tokens; give a text of at least {SHORTEST}.")
    return rows


def _paragraphs(text: str, size: int = 20_000) -> Iterator[str]:
    """Pieces that end at a line's end: tokenizers are slow on megabytes at once."""
    piece: list[str] = []
    length = 0
    for line in text.splitlines(keepends=True):
        piece.append(line)
        length += len(line)
        if length >= size:
            yield "".join(piece)
            piece, length = [], 0
    if piece:
        yield "".join(piece)


def tokens_of(batch: Activations, site: Site, skip: int = 1) -> Tensor:
    """The stream of all real tokens of a batch [tokens, d_model], the first `skip` of each passage left out."""
    keep = batch.mask.clone()
    keep[:, :skip] = False
    return batch.tensors[site][keep]
