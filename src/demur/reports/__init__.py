"""Findings as one self-contained HTML page, as pictures and tables, in words. Renders; never computes."""

from demur.reports import html
from demur.reports.findings import Answer, Example, Findings, Scatter
from demur.reports.overview import Column, Overview, Row, Ruling
from demur.reports.result import Result

__all__ = [
    "Answer",
    "Column",
    "Example",
    "Findings",
    "Overview",
    "Result",
    "Row",
    "Ruling",
    "Scatter",
    "html",
]
