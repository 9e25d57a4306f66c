"""Hashes of demur's own code, by which a key knows when what it stands for may have changed.

Only what runs counts: docstrings, comments and formatting do not, so that mending a sentence voids no journal.
"""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Iterable
from functools import cache
from pathlib import Path

from demur.version import PACKAGE

SOURCE_ROOMS = ("models", "engines", "interventions", "saes")
"""The packages whose code can change a generation."""


@cache
def source_hash(rooms: tuple[str, ...] = SOURCE_ROOMS, root: Path | None = None) -> str:
    """sha256 over the code of the .py files of these rooms, with their paths, in the installed package.

    A room that is not there is skipped.
    """
    package = PACKAGE if root is None else root
    return _total((file.relative_to(package).as_posix(), file) for room in set(rooms)
                  for file in (package / room).rglob("*.py"))  # fmt: skip


@cache
def code_hash(*files: Path) -> str:
    """sha256 over the code of these .py files, with their names."""
    return _total((file.name, file) for file in files)


def code_of(source: bytes) -> str:
    """What a source file does: its syntax tree, without docstrings, comments and layout.

    Of a file that does not parse it is the text, with lines ending in LF.
    """
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError):
        return source.replace(b"\r\n", b"\n").decode("latin-1")
    parts: list[str] = []
    _write(tree, parts)
    return " ".join(parts)


def _total(files: Iterable[tuple[str, Path]]) -> str:
    total = hashlib.sha256()
    for name, file in sorted(files):
        content = hashlib.sha256(code_of(file.read_bytes()).encode("utf-8", "surrogatepass")).hexdigest()
        total.update(f"{name}\n{content}\n".encode())
    return total.hexdigest()


def _write(node: object, parts: list[str]) -> None:
    """A node as text. Absent fields are left out: which there are differs by Python's version."""
    if isinstance(node, ast.AST):
        parts.append(f"{type(node).__name__}(")
        for name in node._fields:
            field = getattr(node, name, None)
            if field is not None and field != [] and name not in ("ctx", "kind"):
                parts.append(name)
                _write(field, parts)
        parts.append(")")
    elif isinstance(node, list):
        parts.append("[")
        for part in node:
            if not _is_docstring(part):
                _write(part, parts)
        parts.append("]")
    else:
        parts.append(repr(node))


def _is_docstring(node: object) -> bool:
    """Is it a statement that is nothing but a string? Below a constant or a field it documents that."""
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
