import pytest

from demur.reports import Answer, Column, Example, Findings, Overview, Row, Ruling, Scatter
from demur.types import OUTCOMES, Figure

SHARES = (0.5, 0.125, 0.25, 0.075, 0.05, 0.0)


def findings_with(word: str = "word") -> Findings:
    """One of everything, with `word` at each place where a stranger's text can stand."""
    shares = [
        Figure(arm, "", word, outcome, share, 160, word, share / 2, min(1, share * 1.5), word)
        for arm in ("unsteered", word)
        for outcome, share in zip(OUTCOMES, SHARES, strict=True)
    ]
    others = [
        Figure(word, "unsteered", word, "complied", 0.3, 160, word, 0.2, 0.4, word),
        Figure(word, word, word, word, -0.01, 160, word, -0.03, 0.01, word),
        Figure(word, "", word, word, 9.5, 100, word, 9.0, 10.0, word),
        Figure(word, "", word, f"judge_{word}", 0.95, 200, word, 0.9, 0.97, word),
        Figure(word, "", word, "judges_equal", 0.9, 10, word, 0.8, 0.95, word),
        Figure(word, "", word, "judges_kappa", 0.7, 10, word, 0.5, 0.9, word),
        Figure(word, "", word, "confusion_refused_to_off-topic", 0.1, 10, word, 0.0, 0.3, word),
        Figure(word, "", word, f"confusion_{word}_to_{word}", 0.9, 10, word, 0.8, 1.0, word),
    ]
    columns = [Column(word, word), Column(word, word, drawn=True), Column(word, word, drawn=True), Column(word)]
    rows = [
        Row(word, [Ruling(word, "bad"), others[0], others[1], word], word),
        Row(word, ["", "", shares[0], others[2]], word, control=True),
    ]
    example = Example(word, [Answer(word, word, word), Answer("unsteered", word, "refused")], word, word)
    return Findings(
        title=word,
        summary=[word, word],
        spec={word: [word, 1.5]},
        figures=[*shares, *others],
        examples=[example, example],
        seconds=95.2,
        notes=[word],
        facts={"model": word, word: "x"},
        scatters=[Scatter(word, word, word, [(word, 0.5, 1.0), (word, -0.5, -1.0)], (2.0, 0.0))],
        overview=Overview(word, columns, rows, word),
    )


@pytest.fixture
def make_findings():
    return findings_with
