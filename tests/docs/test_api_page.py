"""docs/api.md is the public API: all of it, and nothing else."""

import re

from tests.docs.blocks import ROOT

import demur

PAGE = (ROOT / "docs/api.md").read_text(encoding="utf-8")
NAMED = set(re.findall(r"\bdemur\.(\w+)", PAGE))


def test_every_public_name_is_on_the_page():
    assert set(demur.__all__) <= NAMED


def test_every_name_on_the_page_is_public():
    assert set(demur.__all__) >= NAMED
