"""Figures as a pandas table."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import fields
from typing import TYPE_CHECKING

from demur.errors import MissingExtra
from demur.types import Figure

if TYPE_CHECKING:
    from pandas import DataFrame


def to_pandas(figures: Iterable[Figure]) -> DataFrame:
    """One row a figure, one column a field, in the order of `results.json`. Raises MissingExtra (`notebook`)."""
    try:
        import pandas as pd
    except ImportError as error:
        raise MissingExtra("a table of figures needs pandas: pip install 'demur[notebook]'") from error
    return pd.DataFrame([figure.row() for figure in figures], columns=[field.name for field in fields(Figure)])
