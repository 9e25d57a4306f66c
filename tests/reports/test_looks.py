from demur.reports.looks import Look, Passage, looks_html


def test_tokens_and_titles_are_escaped_and_shaded_by_activation():
    passage = Passage("p", ("a", "<b>", "c"), (0.0, 2.0, 1.0))
    look = Look("19.post", 7, 0.0123, 2.0, (passage,), (("<i>", 1.5),), (("no", -1.0),), -0.25, 1000)
    page = looks_html([look], "<script>alert(1)</script>")
    assert "<script" not in page
    assert "&lt;b&gt;" in page
    assert "&lt;i&gt;" in page
    assert page.count("rgba(214, 120, 30") == 2
    assert "1.23%" in page
    assert "-0.25" in page
