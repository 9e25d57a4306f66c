"""Tables in docs/ from a committed results.json: `python -m recipes.results_page [PAGE ...] [--check]`.

A page holds `<!-- results: NAME -->` and `<!-- end of results -->`; what stands between them is
replaced by the tables of results/NAME.json (or of a path in the repository that ends in .json), or by a note that there
is none yet. Pages: by default all of README.md and docs/. With --check nothing is written, and a page that differs ends
with status 1.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from demur.analysis.tables import METRICS
from demur.runs import Results, read_results
from demur.types import Figure

ROOT = Path(__file__).parent.parent
MARK = re.compile(r"(<!-- results: (?P<name>\S+) -->\n).*?(<!-- end of results -->)", re.S)
SHOWN = ("refusal_rate", "compliance_rate")
"""Outcomes with an interval in the table; the others are given as shares alone."""


def pages(root: Path = ROOT) -> list[Path]:
    """Every page of the repository that holds the marks."""
    found = [root / "README.md", *sorted((root / "docs").rglob("*.md"))]
    return [page for page in found if MARK.search(page.read_text(encoding="utf-8"))]


def render(page: str, root: Path = ROOT) -> str:
    """The page's text with every marked part made anew. Raises BadFile for a file that is no results.json."""
    return MARK.sub(lambda found: found[1] + _tables_of(found["name"], root) + found[3], page)


def tables(results: Results) -> str:
    """What was run, in a line, then the tables: shares of outcomes, their changes, all else that was measured."""
    held_out = [figure for figure in results.figures if not figure.set.startswith("validation")]
    outcomes = [figure for figure in held_out if figure.metric in METRICS.values()]
    rest = [figure for figure in held_out if figure.metric not in METRICS.values()]
    parts = [
        _origin(results),
        _outcome_table([figure for figure in outcomes if not figure.versus], _share, "share"),
        _outcome_table([figure for figure in outcomes if figure.versus], _points, "change in points"),
        _rest_table(rest),
    ]
    return "\n".join(part for part in parts if part)


def _tables_of(name: str, root: Path) -> str:
    path = root / name if name.endswith(".json") else root / "results" / f"{name}.json"
    if not path.exists():
        return f"(No {path.relative_to(root)} is committed yet.)\n"
    return tables(read_results(path))


def _origin(results: Results) -> str:
    """The command, commit, model and seconds, as far as the spec holds them."""
    spec = results.spec
    said = [f"`{spec['command']}`"] if spec.get("command") else []
    said += [f"{key} {spec[key]}" for key in ("commit", "model", "version") if isinstance(spec.get(key), str | int)]
    return ", ".join([*said, f"{results.seconds:.0f} s"]) + ".\n"


def _outcome_table(figures: Sequence[Figure], number: Callable[[Figure, bool], str], what: str) -> str:
    """One row for each set and arm, one column for each outcome that any row has."""
    rows: dict[tuple[str, str, str], dict[str, Figure]] = {}
    for figure in figures:
        rows.setdefault((figure.set, figure.arm, figure.versus), {})[figure.metric] = figure
    used = [(outcome, metric) for outcome, metric in METRICS.items()
            if metric in SHOWN or any(metric in row and row[metric].value for row in rows.values())]  # fmt: skip
    if not rows:
        return ""
    versus = any(key[2] for key in rows)
    head = ["set", "arm", *(["versus"] if versus else []), "n", *(outcome for outcome, _ in used)]
    body = []
    for (name, arm, other), row in rows.items():
        n = next(iter(row.values())).n
        cells = [number(row[metric], metric in SHOWN) if metric in row else "" for _, metric in used]
        body.append([name, arm, *([other] if versus else []), str(n), *cells])
    return f"Outcomes, {what} [95% interval]:\n\n" + _table(head, body)


def _rest_table(figures: Sequence[Figure]) -> str:
    head = ["set", "arm", "versus", "metric", "value", "n"]
    rows = [[f.set, f.arm, f.versus, f.metric.replace("_", " "), _plain(f), f"{f.n} {f.denominator}"] for f in figures]
    return "Other figures:\n\n" + _table(head, rows) if rows else ""


def _share(figure: Figure, interval: bool) -> str:
    value = f"{100 * figure.value:.0f}%"
    return f"{value} [{100 * figure.low:.0f}, {100 * figure.high:.0f}]" if interval else value


def _points(figure: Figure, interval: bool) -> str:
    value = f"{100 * figure.value:+.0f}"
    return f"{value} [{100 * figure.low:+.0f}, {100 * figure.high:+.0f}]" if interval else value


def _plain(figure: Figure) -> str:
    if figure.low == figure.high == figure.value:
        return f"{figure.value:.3g}"
    return f"{figure.value:.3g} [{figure.low:.3g}, {figure.high:.3g}]"


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |\n" for line in lines)


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("pages", nargs="*", type=Path)
    parser.add_argument("--check", action="store_true")
    options = parser.parse_args(argv)
    changed: Mapping[Path, str] = {
        page: new
        for page in options.pages or pages()
        if (new := render(old := page.read_text(encoding="utf-8"))) != old
    }
    for page, text in changed.items():
        if not options.check:
            page.write_text(text, encoding="utf-8")
        print(f"{page}: {'differs from its results.json' if options.check else 'rendered'}")
    return int(options.check and bool(changed))


if __name__ == "__main__":
    sys.exit(main())
