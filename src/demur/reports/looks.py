"""Latents on a page: the passages they are most active in, token by token, and what they write."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template

from demur.reports.html import POLICY, TEMPLATES
from demur.reports.layout import visible


@dataclass(frozen=True)
class Passage:
    """A stretch of text around a latent's most active token."""

    label: str
    tokens: tuple[str, ...]
    activations: tuple[float, ...]
    """The latent's, one a token."""


@dataclass(frozen=True)
class Look:
    """What there is to see of one latent."""

    site: str
    index: int
    density: float
    """Share of the tokens read on which it is active."""
    largest: float
    contexts: tuple[Passage, ...]
    """One a passage, most active first."""
    promoted: tuple[tuple[str, float], ...]
    """Tokens whose logits its decoder row raises most (logit lens), in logits of the unit row."""
    lowered: tuple[tuple[str, float], ...]
    cosine: float | None
    """Of its decoder row with the refusal direction, where one was given."""
    tokens: int
    """Tokens read."""


def looks_html(looks: Sequence[Look], title: str) -> str:
    """One self-contained page, to be written as UTF-8; nothing is fetched, everything is escaped."""
    return _template().render(looks=looks, title=title, policy=POLICY)


@cache
def _template() -> Template:
    environment = Environment(loader=FileSystemLoader(TEMPLATES), autoescape=True, undefined=StrictUndefined,
                              trim_blocks=True, lstrip_blocks=True)  # fmt: skip
    environment.filters["visible"] = visible
    return environment.get_template("looks.html.j2")
