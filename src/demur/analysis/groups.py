"""Outcome rates by a column of the prompts' file: `--by COLUMN`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from demur.analysis.tables import table_figures
from demur.errors import InputError, unknown
from demur.types import Figure, Judged, Prompt, Table

MOST = 40
"""Groups at most: beyond that a column tells prompts apart and puts none together."""
LONGEST = 60
"""Characters of a cell that are shown."""
NONE = "none"
"""The group of prompts whose cell is empty, or whose file has no such column."""


def group_of(prompt: Prompt, by: str) -> str:
    """The prompt's group: its cell in the column, cut to LONGEST characters."""
    cell = (prompt.cell(by) or "").strip() or NONE
    return cell if len(cell) <= LONGEST else f"{cell[: LONGEST - 3]}..."


def check_groups(prompts: Iterable[Prompt], by: str) -> None:
    """UnknownName where no prompt has the column, InputError where it makes more than MOST groups; "" is no column."""
    if not by:
        return
    prompts = list(prompts)
    if all(prompt.cell(by) is None for prompt in prompts):
        there = dict.fromkeys(name for prompt in prompts for name, _ in prompt.columns)
        own = [name for name in ("kind", "category", "topic") if any(prompt.cell(name) for prompt in prompts)]
        raise unknown("column of the prompts", by, dict.fromkeys([*there, *own]))
    groups = {group_of(prompt, by) for prompt in prompts}
    if len(groups) > MOST:
        raise InputError(
            f"column {by!r} makes {len(groups)} groups of {len(prompts)} prompts; group by a column of at most {MOST}."
        )


def grouped(table: Table, by: str) -> dict[tuple[str, str], list[Judged]]:
    """The table with each set cut into groups: (arm, `harmful [topic: law]`) -> its answers, in the set's order."""
    parts: dict[tuple[str, str], list[Judged]] = {}
    for (arm, name), rows in table.items():
        for group in sorted({group_of(row.generation.conversation.prompt, by) for row in rows}):
            parts[arm, _name(name, by, group)] = [
                row for row in rows if group_of(row.generation.conversation.prompt, by) == group
            ]
    return parts


def group_figures(table: Table, by: str, leave: Sequence[str] = ()) -> list[Figure]:
    """The six rates of every arm on every group, and each arm's paired differences from the unsteered one there.

    leave: arms left out whose names begin so. Nothing for no column.
    """
    kept = {place: rows for place, rows in table.items() if not place[0].startswith(tuple(leave))} if by else {}
    return table_figures(grouped(kept, by))


def of_groups(figures: Iterable[Figure], by: str) -> list[Figure]:
    """Those of the figures that are of a group."""
    return [figure for figure in figures if figure.set.endswith("]") and f" [{by}: " in figure.set]


def _name(set: str, by: str, group: str) -> str:
    return f"{set} [{by}: {group}]"
