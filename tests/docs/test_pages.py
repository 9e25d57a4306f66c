"""What the pages promise is there: short enough, no dead link, no path or section that does not exist."""

import re

import pytest
from tests.docs.blocks import FENCE, ROOT, pages

LINK = re.compile(r"\]\((?!https?:)([^)#\s]*)(?:#([^)\s]*))?\)")
PATH = re.compile(r"(?<![\w/.-])((?:src|tests|docs|recipes|benchmarks|examples)/[\w./-]*\w)(?![\w*{/<])")
MOST_WORDS = 700


def anchors(page):
    """The anchors that a page's headings have on GitHub."""
    heads = re.findall(r"^#+ (.+)$", FENCE.sub("", page.read_text(encoding="utf-8")), re.M)
    return {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}


def test_the_readme_is_short():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert len(text.split()) <= MOST_WORDS


@pytest.mark.parametrize("page", pages(), ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page):
    for target, anchor in LINK.findall(page.read_text(encoding="utf-8")):
        there = (page.parent / target).resolve() if target else page
        assert there.exists(), f"{page.name} links to {target}"
        assert not anchor or anchor in anchors(there), f"{page.name} links to {target}#{anchor}"


@pytest.mark.parametrize("page", pages(), ids=lambda page: str(page.relative_to(ROOT)))
def test_paths_that_a_page_names_exist(page):
    text = FENCE.sub("", page.read_text(encoding="utf-8"))
    # A decision may be named by its number alone.
    missing = [path for path in PATH.findall(text) if not (ROOT / path).exists() and not [*ROOT.glob(f"{path}-*")]]
    assert not missing


def test_every_section_of_the_protocol_that_the_code_names_is_there():
    sections = set(re.findall(r"^## (.+)$", (ROOT / "docs/protocol.md").read_text(encoding="utf-8"), re.M))
    named = {
        name.strip()
        for source in (ROOT / "src").rglob("*.py")
        for part in re.findall(r"\(protocol:\s+([^)]+?)[;)]", source.read_text(encoding="utf-8"))
        for name in " ".join(part.split()).split(", ")
    }
    assert {"Outcomes", "Splits", "Statistics", "Numerics and keys", "Steering semantics", "Results"} <= named
    assert named <= sections
