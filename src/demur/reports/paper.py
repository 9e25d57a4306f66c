"""Figures with their intervals as a picture for a paper, in matplotlib and the report's colours."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from demur.errors import MissingExtra
from demur.reports.layout import one_line
from demur.reports.metrics import hundredfold, metric, outcome_of, unit_of
from demur.types import Figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes

CSS = Path(__file__).parent / "templates" / "page.css"
WIDTH, ROW, AROUND = 5.5, 0.3, 0.7
"""Inches: the picture's width, the height of a row, and of what is above and below all rows."""


@cache
def colours() -> dict[str, str]:
    """The report's colours in its light dress: name -> #rrggbb."""
    light = CSS.read_text(encoding="utf-8").split("}", 1)[0]
    return dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6})", light))


def draw(figures: Sequence[Figure], ax: Axes | None = None) -> Axes:
    """Figures of one metric, a row each from the top, with their intervals; changes beside a line at zero.

    Controls (unsteered, null and random arms) are grey. ax: where to draw; a new picture without one. Nothing global is
    set. Raises MissingExtra (`plots`).
    """
    try:
        import matplotlib.pyplot as plt
    except ImportError as error:
        raise MissingExtra("a picture for a paper needs matplotlib: pip install 'demur[plots]'") from error
    if ax is None:
        size = (WIDTH, AROUND + ROW * len(figures))
        ax = plt.subplots(figsize=size, layout="constrained")[1]
    colour = colours()
    sets = list(dict.fromkeys(figure.set for figure in figures))
    names = [one_line(f.arm if len(sets) == 1 else f"{f.arm}, {f.set}") for f in figures]
    if any(figure.versus for figure in figures):
        ax.axvline(0, color=colour["faint"], linewidth=0.8, zorder=0)
    for row, figure in enumerate(figures):
        scale = 100 if hundredfold(figure) else 1
        ink = colour["soft" if _control(figure) else outcome_of(figure) or "accent"]
        ax.plot([scale * figure.low, scale * figure.high], [row, row], color=ink, linewidth=1.6,
                solid_capstyle="butt")  # fmt: skip
        ax.plot([scale * figure.value], [row], "o", color=ink, markersize=5)
    # parse_math=False: a name with two $ in it is a name, not mathematics.
    ax.set_yticks(range(len(figures)), names, parse_math=False)
    ax.set_ylim(len(figures) - 0.5, -0.5)
    ax.set_xlabel(_axis(figures[0], sets), parse_math=False)
    ax.spines[["top", "right", "left"]].set_visible(False)
    ax.tick_params(axis="y", length=0)
    return ax


def _control(figure: Figure) -> bool:
    return figure.arm in ("unsteered", "null") or figure.arm.startswith("random")


def _axis(figure: Figure, sets: Sequence[str]) -> str:
    label = metric(figure.metric).label
    what = f"change of {label}" if figure.versus and unit_of(figure) == "points" else label
    where = f" on {sets[0]}" if len(sets) == 1 else ""
    unit = f" ({unit_of(figure)})" if unit_of(figure) else ""
    return one_line(f"{what}{where}{unit}")
