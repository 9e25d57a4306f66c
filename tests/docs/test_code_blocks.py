"""Every code block of README and docs runs: Python page by page in one namespace, commands in this process."""

import re
import sys
from importlib.util import find_spec
from types import ModuleType

import pytest
from tests.docs.blocks import CHECKED, NOT_RUN, ROOT, RUN, SHOWN, Block, blocks, commands, pages

from demur.cli.main import main

PAGES = [page for page in pages() if blocks(page)]
MOST_NOT_RUN = 2
"""Blocks that may be left out, in all pages together."""
TARGETS = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.M))


@pytest.mark.unchecked
@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_the_blocks_of_a_page_run_from_top_to_bottom(page, world, capsys, monkeypatch):
    # A module of its own, so that a dataclass of the page finds the names that its annotations use.
    module = ModuleType("page")
    monkeypatch.setitem(sys.modules, "page", module)
    said = ""
    for block in blocks(page):
        if block.note == CHECKED:
            assert block.text == said, f"{block} shows another output than the block before it prints"
        if block.language in RUN and not block.why_not_run:
            capsys.readouterr()
            run(block, module)
            said = capsys.readouterr().out


def run(block: Block, module: ModuleType) -> None:
    """Run one block; an error names its place on the page."""
    if block.language == "python":
        # The lines in front make a traceback's line numbers those of the page.
        exec(compile("\n" * block.line + block.text, str(block.page), "exec"), module.__dict__)
        return
    for words in commands(block):
        status = command(block, words)
        allowed = (0, 1) if "--fail-if" in words else (0,)
        assert status in allowed, f"{block}: `{' '.join(words)}` ended with {status}"


def command(block: Block, words: list[str]) -> int:
    """The status of `demur ...`; of other commands it is only checked that what they name is there."""
    match words:
        case ["demur", *rest]:
            try:
                return main(rest) or 0
            except SystemExit as end:
                assert isinstance(end.code, int)
                return end.code
        case ["make", target, *_] if target in TARGETS:
            return 0
        case ["python", "-m", module, *_] if find_spec(module):
            return 0
        case ["pip", "install", *_] | ["git", "clone", *_] | ["cd", _] | [".", ".venv/bin/activate"]:
            return 0
    raise AssertionError(f"{block}: `{' '.join(words)}` is no command that this test knows")


def test_every_block_says_what_it_is():
    for page in PAGES:
        for block in blocks(page):
            assert block.language in (*RUN, *SHOWN), f"{block} has no language of {RUN + SHOWN}"
            known = block.note in ("", CHECKED) or (block.note.startswith(NOT_RUN) and block.why_not_run)
            assert known, f"{block}: a fence ends in nothing, `{CHECKED}` or `{NOT_RUN} WHY`"
            assert block.note != CHECKED or block.language == "text", f"{block}: only text is compared"


def test_few_blocks_are_not_run():
    left_out = [f"{block}: {block.why_not_run}" for page in PAGES for block in blocks(page) if block.why_not_run]
    assert len(left_out) <= MOST_NOT_RUN, left_out


def test_a_failing_block_is_found(world):
    block = Block(ROOT / "README.md", 1, "python", "", "1 / 0\n")
    with pytest.raises(ZeroDivisionError):
        run(block, ModuleType("page"))
    with pytest.raises(AssertionError, match=r"README.md:1: `demur generate --nothing` ended with 2"):
        run(Block(ROOT / "README.md", 1, "console", "", "demur generate --nothing\n"), ModuleType("page"))
    with pytest.raises(AssertionError, match="no command that this test knows"):
        run(Block(ROOT / "README.md", 1, "console", "", "make nothing\n"), ModuleType("page"))
