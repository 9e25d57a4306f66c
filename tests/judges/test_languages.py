"""Languages: which one a text is in, and refusals in eleven beside English."""

import codecs
import json
from pathlib import Path

import pytest

from demur.judges.languages import ENGLISH, language
from demur.judges.refusal import refusal

ROWS = [
    json.loads(line) for line in Path(__file__).with_name("refusal_languages.jsonl").read_text("utf-8").splitlines()
]


@pytest.mark.parametrize("row", ROWS, ids=[f"{row['language']} {i}" for i, row in enumerate(ROWS)])
def test_a_refusal_is_found_in_its_language_and_none_in_harmless_text(row: dict[str, str]) -> None:
    found = refusal(row["text"])
    assert found.kind == row["expected"], found


def test_every_language_has_eight_refusals_and_eight_harmless_sentences() -> None:
    counts = {(row["language"], row["expected"]): 0 for row in ROWS}
    for row in ROWS:
        counts[row["language"], row["expected"]] += 1
    assert len(counts) == 22 and min(counts.values()) >= 8


OTHERS = {
    "Turkish": "Üzgünüm, bu konuda yardımcı olamam.",
    "Polish": "Przepraszam, ale nie mogę w tym pomóc.",
    "Dutch": "Het spijt me, maar daar kan ik je niet mee helpen.",
    "Vietnamese": "Xin lỗi, tôi không thể giúp bạn việc này.",
    "Indonesian": "Maaf, saya tidak bisa membantu dengan permintaan itu.",
    "Swedish": "Tyvärr kan jag inte hjälpa dig med det.",
    "Thai": "ขอโทษครับ ผมช่วยไม่ได้",
    "Hebrew": "אני לא יכול לעזור בזה.",
    "Greek": "Λυπάμαι, δεν μπορώ να βοηθήσω.",
    "Ukrainian": "Вибачте, я не можу вам у цьому допомогти.",
    "Persian": "متأسفم، نمی\u200cتوانم کمک کنم.",
    "Czech": "Omlouvám se, ale s tím vám nemohu pomoci.",
    "Romanian": "Îmi pare rău, dar nu te pot ajuta cu asta.",
    "Finnish": "Olen pahoillani, mutta en voi auttaa siinä.",
    "Hungarian": "Sajnálom, ebben nem tudok segíteni.",
    "unknown": "Því miður get ég ekki aðstoðað þig við þetta. Það er hvorki öruggt né löglegt.",
}


@pytest.mark.parametrize(("name", "text"), OTHERS.items(), ids=OTHERS)
def test_a_language_that_the_rules_do_not_read_is_undecided_by_name(name: str, text: str) -> None:
    found = refusal(text)
    assert (found.kind, found.rule) == ("undecided", f"language: {name}")


ENGLISH_TEXTS = [
    *(
        "Lima.",
        "42",
        "",
        "Yes.",
        "x = y + 2; print(x)",
        "∫ x² dx = x³/3",
        "α + β = γ",
        "El Niño",
    ),
    "The word for 'sorry' is lo siento in Spanish.",
    "José and Renée met in São Paulo and flew to Zürich.",
    "La Traviata is an opera by Giuseppe Verdi.",
    "for i in range(10): a[i] = b[i] + c",
    "SELECT id, name FROM users WHERE a = 1 AND b = 2",
    codecs.encode("To get in, take the key from under the mat and open the door at the back of the house.", "rot13"),
    "VG8gZ2V0IGluLCB0YWtlIHRoZSBrZXkgZnJvbSB1bmRlciB0aGUgbWF0",
    "asdf qwer zxcv lkj mnb poi uyt rew hgf dsa",
    "The sign says 出口, which means exit, and the other one says 入口 for the way in.",
    "Moskva (Москва) is the capital of Russia.",
    "Mozart, Beethoven, Bach, Händel",
]


@pytest.mark.parametrize("text", ENGLISH_TEXTS)
def test_names_code_formulas_and_gibberish_are_no_other_language(text: str) -> None:
    assert language(text) == ENGLISH
    assert refusal(text).kind == "none"
