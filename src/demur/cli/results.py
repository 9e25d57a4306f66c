"""What an experiment's command prints: the table that answers first, the sentences, and where the rest is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from demur.cli.show import agreement_table, answer_table, console, outcome_table, seen

if TYPE_CHECKING:
    from demur.reports import Result

SENTENCES = 4
"""How many of the summary are printed; the report has them all."""


def print_result(result: Result, verbose: bool = False, generates: bool = True) -> None:
    """The answer first; verbose: all sentences, and the outcomes of every arm and set. generates: whether it is said
    what was generated."""
    if result.overview is not None:
        console.print(answer_table(result.overview))
    for line in result.summary if verbose else result.summary[:SENTENCES]:
        console.print("- ", seen(line), sep="")
    if (agreed := agreement_table(result.figures)) is not None:
        console.print(agreed)
    from demur.analysis.groups import of_groups

    if (by := result.spec.get("by")) and (parts := of_groups(result.figures, by)):
        console.print(outcome_table(parts, f"By {by}"))
    if verbose:
        held_out = [figure for figure in result.figures if not figure.set.startswith("validation")]
        console.print(outcome_table(held_out, result.title))
    if generates:
        console.print(made(result.generated, result.seconds))
    say(f"Report: {result.report}")


def say(text: str) -> None:
    """A line with a path or a command: never broken, so that it can be copied."""
    console.print(seen(text), soft_wrap=True)


def about(seconds: float) -> str:
    """A time to come, as it is known: `about 40 s`, `about 12 min`, `about 3.5 h`."""
    if seconds < 90:
        return f"about {max(1, round(seconds))} s"
    return f"about {round(seconds / 60)} min" if seconds < 5400 else f"about {seconds / 3600:.1f} h"


def told(origin: Mapping[str, Any]) -> dict[str, Any]:
    """An artifact's origin for people: the prompts that it was fitted on by name, without their texts."""
    made: dict[str, Any] = {key: told(value) if isinstance(value, Mapping) else value for key, value in origin.items()}
    if isinstance(made.get("fitted_on"), list):
        made["fitted_on"] = ", ".join(str(one.get("name")) for one in made["fitted_on"])
    return made


def made(generated: int, seconds: float) -> str:
    """What the answers cost; a rerun takes them from the journal."""
    if not generated:
        return "Nothing was generated: every answer came from the journal."
    return f"{generated} answers generated in {seconds:.0f} s."
