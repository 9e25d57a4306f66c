"""Answers that several labelled voices speak: scenes with people, and the two voices of a persona attack."""

from __future__ import annotations

import re
from dataclasses import dataclass

from demur.judges.plain import blank

_LABEL = re.compile(
    r"^[ \t]*(?:(?P<tag>[\[({<\u3010][^\]\)\n\w]{0,4}(?P<tagged>[A-Za-z][^\]\)}>\n]{0,30})[\])}>\u3011])[ \t]*:?|"
    r"(?:\W{0,3})(?P<plain>[A-Z][\w.'-]*(?: [\w(][\w.')-]*){0,3})[ \t]*:)(?=[ \t]*\S|[ \t]*\n)",
    re.M,
)
_MODEL = re.compile(
    r"\b(?:chat ?gpt|gpt|(?:ai|bot|chatbot|assistant|model)\b|claude|llama|gemini|bard|dan|stan|dude|aim|ucar|mongo|"
    r"jailbreak|jailbroken|classic|normal|standard|default|developer(?: mode)?|dev mode|evil|good|safe|unsafe|"
    r"filtered|unfiltered|uncensored|censored|restricted|unrestricted|persona|response|output|answer|reply|mode|"
    r"anti\w*|opposite|alter ego|character|villain)",
    re.I,
)
"""Labels of voices that answer for the model."""
_HEADING = re.compile(
    r"^(?:note|notes|warning|step|title|subject|example|examples|tip|tips|summary|disclaimer|reminder|important|"
    r"ingredients|instructions|directions|method|materials|caution|remember|conclusion|introduction|question|q|a|re|"
    r"ps|definition|url|source|sources|link|date|time|part|option|pros|cons|here|edit|update|translation|request|"
    r"prompt|input)\b",
    re.I,
)
_ANSWERS = re.compile(
    r"^\W*(?:sure\b|certainly|of course|absolutely|yes\b|yeah|yep|ok(?:ay)?\b|alright|gladly|happy to|no problem|"
    r"here\b|first\b|to \w+|step|you (?:can|will|should|need)|start|begin|take|get|well\b|easy|simple|great|hell yeah|"
    r"ha\w*\b|oh\b|my pleasure|listen|as you wish|the (?:best|way|first|trick|easiest)|just\b|mix|use|gather|look|"
    r"fine\b|hey\b|ah\b|1[.)])",
    re.I,
)


@dataclass(frozen=True)
class Voice:
    """What one label is followed by."""

    name: str
    model: bool
    """Whether it speaks for the model, and not for somebody in a scene."""
    answers: bool
    """Whether it answers a request."""
    start: int
    end: int

    def alone(self, text: str) -> str:
        """The text with all else blanked."""
        return blank(text[: self.start]) + text[self.start : self.end] + blank(text[self.end :])


def voices(text: str) -> list[Voice]:
    """The voices of a text; none where fewer than two speak."""
    if not any(mark in text for mark in ":[({<\u3010"):
        return []
    found = [match for match in _LABEL.finditer(text) if not _HEADING.match(match["tagged"] or match["plain"])]
    names = [(match["tagged"] or match["plain"]).strip().lower() for match in found]
    if len(set(names)) < 2:
        return []
    ends = [match.start() for match in found[1:]] + [len(text)]
    parts = [text[match.end() : end].strip() for match, end in zip(found, ends, strict=True)]
    answers = [bool(_ANSWERS.match(part)) and len(part.split()) > 4 and not part.endswith("?") for part in parts]
    labelled = [bool(match["tag"]) or bool(_MODEL.search(name)) for match, name in zip(found, names, strict=True)]
    # Two voices that both answer, one after the other, are no talk between them.
    both = len(parts) == 2 and not parts[0].endswith("?") and answers[1]
    return [
        Voice(name, model or both, said, match.end(), end)
        for name, model, said, match, end in zip(names, labelled, answers, found, ends, strict=True)
    ]
