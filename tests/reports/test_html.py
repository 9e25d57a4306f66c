import re
from dataclasses import replace
from html.parser import HTMLParser
from typing import Any

import pytest

from demur.reports import Answer, Example, Findings, html
from demur.reports.layout import visible

SCRIPT = "<script>alert(1)</script>"
HOSTILE = [
    SCRIPT,
    f"</script>{SCRIPT}",
    f"</style>{SCRIPT}",
    f"</title>{SCRIPT}",
    f"</pre>{SCRIPT}",
    f"</svg>{SCRIPT}",
    f"</textarea>{SCRIPT}",
    f"</noscript>{SCRIPT}",
    f"--><!-- -->{SCRIPT}",
    f"<![CDATA[{SCRIPT}]]>",
    f"]]>{SCRIPT}",
    f"<?php {SCRIPT} ?>",
    f'">{SCRIPT}',
    f"'>{SCRIPT}",
    f"`>{SCRIPT}",
    '" onload="alert(1)',
    "' onmouseover='alert(1)",
    '" style="background:url(https://example.org/x)',
    '"><img src=x onerror=alert(1)>',
    "<img src='data:text/html,x'>",
    "<IMG SRC=javascript:alert(1)>",
    "<svg/onload=alert(1)>",
    "<svg><animate onbegin=alert(1) attributeName=x dur=1s>",
    "<math><mtext><table><mglyph><style><img src=x onerror=alert(1)>",
    "<iframe srcdoc='<script>alert(1)</script>'></iframe>",
    "<object data=javascript:alert(1)>",
    "<embed src=https://example.org/x>",
    "<link rel=stylesheet href=https://example.org/x.css>",
    "<meta http-equiv=refresh content='0;url=https://example.org'>",
    "<meta http-equiv=Content-Security-Policy content='script-src *'>",
    "<base href=https://example.org/>",
    "<form action=https://example.org><input autofocus onfocus=alert(1)>",
    "<body onload=alert(1)>",
    "<details open ontoggle=alert(1)>",
    "<a href='javascript:alert(1)'>x</a>",
    "<style>*{background:url(https://example.org/x)}</style>",
    "{{ 7 * 7 }}{% raw %}",
    "{{ ''.__class__.__mro__ }}",
    "{% include '/etc/passwd' %}",
    "${alert(1)}",
    "&lt;script&gt;alert(1)&lt;/script&gt;",
    "&#60;script&#62;alert(1)",
    "\x00<scr\x00ipt>alert(1)</scr\x00ipt>",
    "\x1b[31mred\x1b]8;;https://example.org\x07link\x1b]8;;\x07",
    "\u202egnp.exe\u202c <b>",
    "\ud800<b>\udfff",
    "+ADw-script+AD4-alert(1)",
    "\uff1cscript\uff1ealert(1)",
    "%3Cscript%3Ealert(1)%3C/script%3E",
    "<" * 500 + ">" * 500,
]


class Skeleton(HTMLParser):
    """The tags of a page with their attributes' names, and its text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[Any] = []
        self.text = ""
        self.attributes: list[tuple[str, str | None]] = []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, [name for name, _ in attrs]))
        self.attributes += attrs

    def handle_endtag(self, tag):
        self.tags.append(f"/{tag}")

    def handle_data(self, data):
        self.text += data

    def handle_comment(self, data):
        self.tags.append("comment")

    def handle_decl(self, decl):
        self.tags.append(decl)

    def handle_pi(self, data):
        self.tags.append("pi")

    def unknown_decl(self, data):
        self.tags.append("cdata")


def test_there_are_fifty_hostile_strings():
    assert len(set(HOSTILE)) == 50


@pytest.mark.parametrize("word", HOSTILE, ids=range(len(HOSTILE)))
def test_no_text_ever_becomes_a_tag_or_an_attribute(make_findings, word):
    page, calm = Skeleton(html.render(make_findings(word))), Skeleton(html.render(make_findings("word")))
    assert page.tags == calm.tags
    assert visible(word) in page.text
    for (name, value), (_, expected) in zip(page.attributes, calm.attributes, strict=True):
        assert value == expected, f"{name} takes a stranger's text"


@pytest.mark.parametrize("word", HOSTILE, ids=range(len(HOSTILE)))
def test_no_text_becomes_a_tag_in_a_notebook(make_findings, word):
    parts = [make_findings(some) for some in (word, "word")]
    part, calm = (Skeleton(html.render_part(some.title, some.summary, some.overview)) for some in parts)
    assert (part.tags, part.attributes) == (calm.tags, calm.attributes)
    assert part.text.count(visible(word)) >= 5


def test_a_page_has_no_script_and_fetches_nothing(make_findings):
    page = html.render(make_findings())
    skeleton = Skeleton(page)
    assert not {"script", "link", "img", "iframe", "a", "form"} & {tag[0] for tag in skeleton.tags}
    assert not {name for name, _ in skeleton.attributes if name.startswith("on") or name in ("src", "href")}
    assert not re.search(r"url\(|@import|https?:", page)


def test_the_policy_forbids_everything_but_style(make_findings):
    skeleton = Skeleton(html.render(make_findings()))
    policy = skeleton.attributes[skeleton.attributes.index(("http-equiv", "Content-Security-Policy")) + 1][1]
    assert policy and policy.startswith("default-src 'none'; style-src 'unsafe-inline'; img-src data:")
    assert "script-src" not in policy


def test_every_section_is_there_when_it_has_something_to_say(make_findings):
    text = Skeleton(html.render(make_findings())).text
    for heading in (
        "Outcomes",
        "Paired differences",
        "Geometry",
        "Capability",
        "Examples",
        "judge gets wrong",
        "run it again",
    ):
        assert heading in text
    assert "1 min 35 s" in text and "+30.0" in text and "+20.0 to +40.0" in text


def test_the_answer_comes_first_then_pictures_then_folded_tables(make_findings):
    page = html.render(make_findings())
    order = [
        '<p class="lead"',
        '<table class="overview">',
        "The answer, drawn",
        '<p class="found"',
        '<figure class="bars"',
        "<h2>Do the judges agree?",
        "<h2>Examples",
        "<h2>Notes",
        "<summary>Outcomes in numbers",
        '<table class="shares">',
        "<summary>Paired differences",
        "<summary>Capability",
        "<summary>What the judge gets wrong",
        "<summary>To run it again",
    ]
    assert sorted(order, key=page.index) == order


def test_long_tables_are_closed_until_they_are_printed(make_findings):
    page = html.render(make_findings())
    assert page.count("<details>") == 6 and "<details open" not in page
    assert page.rindex("</details>") > page.index('<pre class="spec">') > page.rindex("<details>")
    printed = page[page.index("@media print") :]
    assert "details::details-content { display: block; content-visibility: visible; }" in printed


def test_a_cell_is_a_figure_a_verdict_words_or_nothing(make_findings):
    page = html.render(make_findings())
    table = page[page.index('<table class="overview">') : page.index("<caption>")]
    assert '<span class="ruling bad">word</span>' in table
    assert "<b>+30</b><small>+20 to +40</small>" in table
    assert "<b>50</b><small>25 to 75</small>" in table
    assert '<td class="num"><b>word</b></td>' in table
    assert "<td></td>" in table and '<td class="num none">&middot;</td>' in table
    assert '<tr class="control">' in table


def test_what_the_overview_marks_is_drawn_below_it(make_findings):
    page = html.render(make_findings())
    drawn = page[page.index("The answer, drawn") : page.index("<h2>Outcomes")]
    assert drawn.count('<figure class="plot">') == 3
    assert '<abbr title="complied: Share of answers that do what was asked' in drawn
    without = html.render(replace(make_findings(), overview=None))
    assert "The answer, drawn" not in without and "<h2>In words" not in without
    assert without.count('<p class="found"') == page.count('<p class="found"') == 1
    assert '<figure class="bars"' in without


def test_bars_are_drawn_for_the_overviews_arms_and_all_shares_are_in_the_table(make_findings):
    findings = make_findings()
    other = [replace(figure, arm="other") for figure in findings.figures if not figure.versus and figure.arm == "word"]
    page = html.render(replace(findings, figures=[*findings.figures, *other]))
    bars = page[page.index('<figure class="bars"') : page.index("</section>", page.index('<figure class="bars"'))]
    assert "<bdi>unsteered</bdi>" in bars and "<bdi>other</bdi>" not in bars
    assert "<bdi>other</bdi>" in page[page.index('<table class="shares">') :]


def test_empty_findings_are_a_page_too():
    page = html.render(Findings("Nothing", [], {}))
    assert "<h2>Outcomes" not in page and "<h1><bdi>Nothing</bdi></h1>" in page


def test_an_outcome_chip_has_its_colour(make_findings):
    example = Example("p", [Answer("a", "t", "off-topic"), Answer("b", "t")])
    page = html.render(replace(make_findings(), examples=[example]))
    assert '<i class="o-off-topic"></i>off-topic' in page and '<i class="o-none"></i>not judged' in page


def test_a_very_long_answer_is_cut_and_says_so(make_findings):
    example = Example("p", [Answer("a", "x" * 1_000_000, "incoherent")])
    page = html.render(replace(make_findings(), examples=[example]))
    assert len(page) < 100_000 and "998000 more characters" in page


def test_a_page_can_be_written_as_utf8(make_findings):
    page = html.render(make_findings("\ud800 \u00e9")).encode("utf-8")
    assert "\u00e9".encode() in page


def test_numbers_are_rendered_as_given_and_not_computed():
    import demur.reports.layout
    import demur.reports.plots

    for module in (demur.reports.layout, demur.reports.plots, html):
        assert not {"numpy", "scipy", "torch"} & set(vars(module))
