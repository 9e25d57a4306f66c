"""Findings as one self-contained HTML page, or as Markdown. Renders; never computes."""

from demur.reports import html, markdown
from demur.reports.findings import Answer, Example, Findings, Scatter

__all__ = ["Answer", "Example", "Findings", "Scatter", "html", "markdown"]
