"""The fenced blocks of a Markdown page, and what each one's fence says."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
FENCE = re.compile(
    r"^(?P<indent> *)```(?P<language>\w*)(?: (?P<note>[^\n]*))?\n(?P<text>.*?)^(?P=indent)```$", re.M | re.S
)
RUN, SHOWN = ("python", "console"), ("text", "diff", "json")
"""Languages of blocks that run, and of blocks that are only looked at."""
NOT_RUN, CHECKED = "no-run:", "checked"
"""`python no-run: WHY` is not run; a `text checked` block is what the block before it prints."""


@dataclass(frozen=True)
class Block:
    """One fenced block."""

    page: Path
    line: int
    """Of the fence, from 1."""
    language: str
    note: str
    text: str

    def __str__(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"

    @property
    def why_not_run(self) -> str:
        """The reason that its fence gives, or ""."""
        return self.note.removeprefix(NOT_RUN).strip() if self.note.startswith(NOT_RUN) else ""


def pages() -> list[Path]:
    """README.md, CONTRIBUTING.md and all pages of docs/."""
    return [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]


def blocks(page: Path) -> list[Block]:
    """The blocks of a page, in their order."""
    text = page.read_text(encoding="utf-8")
    assert text.count("```") == 2 * len(FENCE.findall(text)), f"{page}: a fence is not closed, or not on its own line"
    return [
        Block(page, text.count("\n", 0, found.start()) + 1, found["language"], found["note"] or "", found["text"])
        for found in FENCE.finditer(text)
    ]


def commands(block: Block) -> list[list[str]]:
    """The words of each command of a console block; comments are left out, lines that end in a backslash joined."""
    joined = block.text.replace("\\\n", " ")
    return [words for line in joined.splitlines() if (words := shlex.split(line, comments=True))]
