"""Findings as one self-contained HTML page. Renders; never computes."""

from demur.reports import html
from demur.reports.findings import Answer, Example, Findings, Scatter

__all__ = ["Answer", "Example", "Findings", "Scatter", "html"]
