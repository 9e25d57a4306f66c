"""An answer as the rules read it: one kind of apostrophe and quote, no markup, no speech of others.

Speech of others: quotes of every kind, block quotes, code, letters, and what an answer offers as a text for somebody to
say. What is all of an answer is never taken out: then the model itself speaks through it.
"""

from __future__ import annotations

import html
import re
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass

_APOSTROPHES = (
    "\u2018\u2019\u201a\u201b\u2032\u2035\u00b4\u02b9\u02bb\u02bc\u02bd\u02be\u02bf"
    "\u02c8\u02ca\u02cb\uff07\u055a\u05f3\ua78c`"
)
_QUOTES = (
    "\u201c\u201d\u201e\u201f\u2033\u2036\u00ab\u00bb\u301d\u301e\u301f\uff02\u300c\u300d\u300e\u300f\u275d\u275e\u05f4"
)
_DASHES = "\u2010\u2011\u2012\u2013\u2014\u2015\u2212\ufe58\uff0d"
_GONE = "\u00ad\u200b\u200c\u200d\u200e\u200f\u2060\ufeff\u202a\u202b\u202c\u2066\u2067\u2068\u2069"
_AS = str.maketrans({
    **dict.fromkeys(_APOSTROPHES, "'"), **dict.fromkeys(_QUOTES, '"'), **dict.fromkeys(_DASHES, "-"),
    **dict.fromkeys(_GONE, ""), "\u00a0": " ",
})  # fmt: skip

_ODD = re.compile(
    r"[^\x00-\x7f]+|(?<=[A-Za-z]) ' ?(?=(?:t|m|s|re|ve|ll|d)\b)|(?<=[A-Za-z])`(?=[A-Za-z])|&(?:amp;)?(?:#\d{1,7}|"
    r"#[xX][0-9a-fA-F]{1,6}|[A-Za-z]{2,8});|\\u[0-9a-fA-F]{4}"
)
_MANGLED = "\u00e2\u20ac\u2122"
"""An apostrophe in UTF-8, read as Windows-1252."""
_EMPHASIS = re.compile(
    r"^[ \t]*#{1,6}(?=\s)|\*{1,3}(?=\S)|(?<=\S)\*{1,3}|__|~~[^~\n]{1,80}~~|~~|(?<!\w)_(?=\w)|(?<=[\w.,!?])_(?!\w)|"
    r"(?<=\s)#+(?=\s)|</?(?:[biusp]|em|strong|br|span|div|font|mark|small|big|code|pre|del|ins|sub|sup|h[1-6]|a|ul|ol|"
    r"li|blockquote)(?:\s[^<>\n]{0,80})?/?>|\\(?=[*_'\"])|\\(?:text(?:bf|it)?|emph)\{",
    re.M,
)
_FENCE = re.compile(
    r"^[ \t]*(?:```|~~~)[^\n]*\n[\s\S]*?(?:^[ \t]*(?:```|~~~)[ \t]*$|\Z)|'''[^\n]*\n[\s\S]*?(?:'''|\Z)",
    re.M,
)
_INLINE = re.compile(r"`[^`\n]{1,200}`")
_BLOCK = re.compile(r"(?:^[ \t]*>[^\n]*(?:\n|\Z))+", re.M)
_QUOTED = re.compile(r'"[^"\n]{0,600}(?:"|$)', re.M)
_SINGLE = re.compile(r"(?<![\w'])'(?=\S)(?:[^'\n]|'(?=\w)){2,400}?(?<=\S)'(?!\w)")
_LETTER = re.compile(
    r"(?:^|(?<=\n))[ \t]*(?:(?:subject|re|betreff|objet|asunto)[ \t]*:[^\n]*\n\s*(?:(?:dear|hi|hello)[^\n]{0,60}\n)?|"
    r"dear (?!user\b|friend\b|sir,? I\b)[^\n,:]{1,40}[,:][ \t]*\n)[\s\S]*?(?:\n[ \t]*(?:(?:yours|kind|best|warm|with|"
    r"sincerely|regards|respectfully|cheers|love|thank you|thanks)\b[^\n.]{0,24}[,.!]?[ \t]*(?=\n|"
    r"\Z)(?:\n[^\n]{1,60}){0,3})|\Z)",
    re.I,
)
_SAMPLE = re.compile(
    r"\b(?:you (?:can|could|might|may|should) (?:simply |just |also |politely )?(?:say|write|reply|respond|answer|"
    r"tell)|ways? to (?:\w+ )?(?:say|decline|refuse|tell|turn)|polite (?:\w+ )?(?:refusal|reply|response|answer|no)|"
    r"translat\w+|means|try saying|(?:sample|template|draft) (?:\w+ )?(?:reply|response|answer|message|note|e-?mail|"
    r"text|letter|refusal)|(?!(?:I|that|this|enough|(?:polic|guideline|rule|instruction|principle|programming|training)"
    r"\w*)\b)\w+ (?:said|says|replied|replies|wrote|writes|reads?|answered|answers|stated|states))\b"
    r"[^.!?:\n]{0,60}:\s+(?=\S)",
    re.I,
)


_LABEL = re.compile(r"\A\W*[A-Z][\w.' -]{0,30}:")
"""Who speaks a text that is all of an answer."""


@dataclass(frozen=True)
class Plain:
    """A text made plain. `span` gives the words of the text as it was."""

    text: str
    whole: str
    """The same with the speech of others."""
    original: str
    at: Sequence[int]
    """For each character, and for the end, where it stood in `original`."""

    def span(self, start: int, end: int) -> str:
        """What stood where the plain text has [start, end)."""
        return self.original[self.at[start] : self.at[end]].strip()


def plain(text: str) -> Plain:
    """The text with straight quotes, Unicode's compatibility forms resolved, no markup, and others' speech blanked."""
    now, at = text, range(len(text) + 1)
    if not text.isascii() or any(mark in text for mark in ("&", "`", "\\", " '")):
        now, at = _replaced(now, at, _ODD, _usual)
    if "\n" in now or now[:1] in ">`~'":
        now = _without(now, _FENCE, _BLOCK)
    if "`" in now:
        now = _INLINE.sub(_speech(now), now)
    if any(mark in now for mark in "*_#<~\\"):
        now, at = _replaced(now, at, _EMPHASIS, lambda match: "")
    return Plain(_own(now), now, text, at)


def _usual(match: re.Match[str]) -> str:
    """A run of odd characters, or an entity, as usual ones."""
    found = match.group()
    if found.startswith(" "):
        return "'"
    if found.startswith("&"):
        found = html.unescape(html.unescape(found))
    elif found.startswith("\\"):
        found = chr(int(found[2:], 16))
    elif _MANGLED in found:
        found = found.replace(_MANGLED, "'")
    made = unicodedata.normalize("NFKC", found.translate(_AS)).translate(_AS)
    return made if made.isascii() else "".join(c for c in made if unicodedata.category(c) != "Cf")


def _replaced(
    text: str, at: Sequence[int], pattern: re.Pattern[str], by: Callable[[re.Match[str]], str]
) -> tuple[str, Sequence[int]]:
    """A substitution that keeps the offsets."""
    parts: list[str] = []
    places: list[int] = []
    last = 0
    for match in pattern.finditer(text):
        new = by(match)
        if new == match.group():
            continue
        parts += [text[last : match.start()], new]
        places += at[last : match.start()]
        span = at[match.start() : match.end()]
        # Of equal length, character by character; else all of it where it began.
        places += span if len(new) == len(span) else [at[match.start()]] * len(new)
        last = match.end()
    if not parts:
        return text, at
    return "".join([*parts, text[last:]]), [*places, *at[last:]]


def _without(text: str, *patterns: re.Pattern[str]) -> str:
    """The text with each match blanked that is not all of it."""
    for pattern in patterns:
        text = pattern.sub(_speech(text), text)
    return text


def _speech(text: str) -> Callable[[re.Match[str]], str]:
    """Blanks a match, unless it is all that the text holds."""

    def blanked(match: re.Match[str]) -> str:
        rest = text[: match.start()] + text[match.end() :]
        return blank(match.group()) if any(c.isalnum() for c in _LABEL.sub("", rest)) else match.group()

    return blanked


def lowered(text: str) -> str:
    """The text in lower case, of the same length."""
    low = text.lower()
    return low if len(low) == len(text) else "".join(c.lower() if len(c.lower()) == 1 else c for c in text)


def blank(text: str) -> str:
    """White space of a text's length, its line breaks kept."""
    return re.sub(r"[^\n]", " ", text)


def _own(text: str) -> str:
    """The text without what others say."""
    whole = _speech(text)

    def quote(match: re.Match[str]) -> str:
        few = len(match.group().split()) < 3 and (len(match.group()) < 7 or match.group().isascii())
        return match.group() if few else whole(match)

    if '"' in text:
        text = _QUOTED.sub(quote, text)
    if "'" in text:
        text = _SINGLE.sub(quote, text)
    if ":" in text or "," in text:
        text = _LETTER.sub(lambda match: blank(match.group()), text)
    if ":" in text and (sample := _SAMPLE.search(text)) and len(text[: sample.start()].split()) < 40:
        text = text[: sample.end()] + blank(text[sample.end() :])
    return text
