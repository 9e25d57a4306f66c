"""Judge answers that are there already, of any model: `demur judge FILE`.

Whose likelihood should tell whether such an answer is coherent? Another model's answers are unlikely text to the
bundled one, whole refusals among them. So the text alone decides, unless a scorer is named: a model whose perplexity,
calibrated on its own answers, and whose ranking of requests are to be taken.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, final

from demur.analysis.agreement import agreement_figures, agreement_line, label_figures
from demur.analysis.groups import check_groups, group_figures
from demur.analysis.tables import find, in_words, table_figures
from demur.engines.base import Engine
from demur.engines.reasoning import apart
from demur.errors import InputError
from demur.evaluation.evaluator import Progress, silent
from demur.evaluation.judging import calibrated_judge
from demur.evaluation.verdicts import Beside, judged
from demur.experiments.beside import told_of
from demur.experiments.run import JUDGES, Setup, begin, judge_facts, judge_records, listed, published, seconds_of
from demur.judges.base import Judge, Resident
from demur.judges.named import Judges, judges_of
from demur.judges.outcome import OutcomeJudge
from demur.judges.text import MEANS, TextJudge
from demur.prompts.answers import Answers, Given, read_answers
from demur.reports import Answer, Example, Result
from demur.reports.overview import evaluation_overview
from demur.runs import Journal, digest, read_results
from demur.runs.columns import with_columns
from demur.types import Conversation, Decoding, Figure, Generation, Judged, Message, Table, Verdict
from demur.version import VERSION

ARM = "given"
"""The arm of answers from a file."""
CALIBRATED = 48
"""New tokens of the answers that a scorer's band is fitted on."""


@dataclass(frozen=True)
class JudgeConfig:
    """Which columns of the file are what. None: guessed by their names (`prompts.answers`)."""

    prompt_column: str | None = None
    answer_column: str | None = None
    label_column: str | None = None
    """What a reader said of each answer, to measure the judge against; None: nothing is compared."""
    by: str = ""
    """A column of the file, by which the rates are given too. "": none."""


@final
@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class JudgeResult(Result):
    """Judged answers, and where they were written."""

    table: Table
    judged: Path
    """The file with the outcome beside every row."""


def judge_file(
    file: str | os.PathLike[str],
    config: JudgeConfig | None = None,
    out: str | Path = "runs/judge",
    scorer: Engine | None = None,
    judge: Judges = None,
    progress: Progress = silent,
) -> JudgeResult:
    """Outcomes of a file's answers: CSV, JSON, JSONL or Parquet with a column of requests and one of answers.

    scorer: the model by whose likelihood broken and off-topic answers are told; None: by the text alone. judge: your
    own, or names (`judges.named`), of which the first decides; "rules" are the text rules, or the scorer's. Under
    `out`: judged.EXT with the file's own columns and the outcomes, results.json, report.html and the journal, from
    which it resumes. No judge sees a reasoning block. A row without an answer is undecided, and so is one whose
    reasoning never closes, and one without a request to a judge that reads it. Raises BadFile for a file that cannot be
    read, InputError for what is no judge and for a scorer without the rules, UnknownName for a column `by` that is not
    there; InputError for `out` with the results of other answers.
    """
    config, out, begun = config or JudgeConfig(), Path(out), begin(scorer)
    if scorer is not None:
        check_scored(judge)
    setup = Setup(None, judge, progress).checked(choosing=False)
    given = read_answers(file, config.prompt_column, config.answer_column, config.label_column)
    check_groups([row.prompt for row in given.rows], config.by)
    spec = {
        "experiment": "judge",
        "model": "answers from a file" if scorer is None else scorer.name,
        "file": given.path.name,
        "answers": _digest(given),
        "columns": {"request": given.prompt_column, "answer": given.answer_column, "label": given.label_column},
        "scorer": None if scorer is None else asdict(scorer.fingerprint),
        "judge": setup.judged_by,
        **({"judges_beside": setup.judged_beside} if setup.judged_beside else {}),
        **({"by": config.by} if config.by else {}),
        "version": VERSION,
    }
    check_place(given, out)
    with listed(out, spec, "judge", begun) as run, Journal(out / "journal.sqlite") as journal:
        judges = [_ready(one, scorer, journal, progress) for one in setup.judges]
        rows = [_generation(row) for row in given.rows]
        journal.add_generations(rows)
        journal.link(run, ARM, given.path.stem, rows)
        said = {one.name: _verdicts(one, given, rows, journal, progress) for one in judges}
        tables: list[Table] = [
            {(ARM, given.path.stem): [Judged(g, v) for g, v in zip(rows, said[one.name], strict=True)]}
            for one in judges
        ]
        figures = table_figures(tables[0])
        others = [Beside(one, table) for one, table in zip(judges[1:], tables[1:], strict=True)]
        told = told_of(judges[0], lambda _: others, tables[0], figures)
        labels, compared = _labels(given, tables)
        figures = [*figures, *told.figures, *compared, *group_figures(tables[0], config.by)]
        written = out / f"judged{given.path.suffix.lower()}"
        with_columns(given.path, given.cells, _columns(judges[0], said), written)
        alone = isinstance(judges[0], TextJudge)
        # The text alone shows no answer to be off its topic.
        overview = evaluation_overview([f for f in figures[:6] if not alone or f.metric != "off_topic_rate"])
        caption = f"{overview.caption} By the text alone: {MEANS}." if alone else overview.caption
        records = judge_records(judges)
        shared = {
            "title": f"{given.path.name}: {len(rows)} answers judged by {judges[0].name}",
            "summary": (*told.among(_summary(figures, given, scorer, judges)), *labels),
            "figures": tuple(figures),
            "spec": {**spec, JUDGES: records},
            "seconds": seconds_of(journal, run, begun),
            "overview": replace(overview, caption=caption),
        }
        page = {
            "examples": _examples(given, tables[0]),
            "notes": told.notes,
            "facts": {
                "file": given.path.name,
                "scorer": "none" if scorer is None else scorer.name,
                **setup.facts,
                **judge_facts(records),
            },
        }
        result = JudgeResult(**published(out, shared, page, begun), table=tables[0], judged=written)
        journal.finish_run(run, begun.seconds)
    return result


def check_place(given: Answers, out: Path) -> None:
    """InputError where `out` has the results of something else than these answers, which these would replace."""
    if not os.path.exists(out / "results.json"):  # False for a name that no file can have
        return
    there = read_results(out).spec
    if there.get("experiment") != "judge" or there.get("answers") != _digest(given):
        raise InputError(
            f"{out} has the results of {there.get('file') or there.get('experiment')}, and of other answers than "
            f"these; give another folder, or remove its results.json to replace them (the journal keeps both)."
        )


def _digest(given: Answers) -> str:
    return digest([[row.prompt.text, row.answer, row.label] for row in given.rows])


def check_scored(judge: Judges) -> None:
    """InputError where no rules are among the judges: only they take a scorer's likelihood."""
    if None not in judges_of(judge):
        raise InputError(
            "a scorer's likelihood is for the rules, and they are not among the judges; add them (--judge rules, or "
            "'rules' in judge=), or leave the scorer out."
        )


def _ready(judge: Judge | None, scorer: Engine | None, journal: Journal, progress: Progress) -> Judge:
    """The judge; for the rules those of the text, or the scorer's."""
    if judge is not None:
        return judge
    if scorer is None:
        return TextJudge()
    return calibrated_judge(scorer, Decoding(CALIBRATED), journal, progress)


def _generation(row: Given) -> Generation:
    """A row as an answer of nobody's, its reasoning apart: its key is that of the two texts."""
    key = digest({"kind": "given answer", "request": row.prompt.text, "answer": row.answer})
    talk = Conversation(row.prompt, (Message("user", row.prompt.text),))
    return apart(Generation(key, talk, row.answer or "", (), 0, "end", ARM))


def _verdicts(
    judge: Judge, given: Answers, rows: Sequence[Generation], journal: Journal, progress: Progress
) -> list[Verdict]:
    """One a row. What is not there is not judged: no answer, and no request for a judge that reads it."""
    reads = not isinstance(judge, TextJudge)
    why = [_missing(row, generation, reads) for row, generation in zip(given.rows, rows, strict=True)]
    said = iter(judged(judge, [g for g, reason in zip(rows, why, strict=True) if not reason], journal, progress))
    if isinstance(judge, Resident):
        judge.release()
    missing = partial(Verdict, judge=judge.name, outcome="undecided")
    return [
        missing(g.key, detail={"reason": reason, "harmful": None}) if reason else next(said)
        for g, reason in zip(rows, why, strict=True)
    ]


def _missing(row: Given, generation: Generation, reads: bool) -> str:
    """What a row lacks to be judged; reads: whether the judge reads the request too."""
    if row.answer is None:
        return "no answer in the file"
    if generation.reasoning and not generation.text.strip():
        return "reasoning not closed"
    return "no request in the file" if reads and not row.prompt.text.strip() else ""


def _columns(first: Judge, said: Mapping[str, Sequence[Verdict]]) -> dict[str, list[Any]]:
    """What the file gains: each judge's outcome and, where it gives one, its reason and whether it calls it harmful.
    The columns of judges that do not decide have their names."""
    found: dict[str, list[Any]] = {}
    for name, verdicts in said.items():
        end = "" if name == first.name else f" ({name})"
        found[f"outcome{end}"] = [verdict.outcome for verdict in verdicts]
        for key in ("reason", "harmful"):
            if any(verdict.detail.get(key) is not None for verdict in verdicts):
                found[f"{key}{end}"] = [verdict.detail.get(key) for verdict in verdicts]
    return found


def _labelled(generation: Generation, row: Given, name: str) -> Judged:
    assert row.label is not None
    return Judged(generation, Verdict(generation.key, name, row.label))


def _labels(given: Answers, tables: Sequence[Table]) -> tuple[list[str], list[Figure]]:
    """How far each judge agrees with the file's labels, in sentences and figures."""
    held = [i for i, row in enumerate(given.rows) if row.label is not None]
    if not held:
        return [], []
    lines: list[str] = []
    figures: list[Figure] = []
    name = f"labels ({given.label_column})"
    for table in tables:
        ((place, rows),) = table.items()
        own = {place: [rows[i] for i in held]}
        read = {place: [_labelled(rows[i].generation, given.rows[i], name) for i in held]}
        agreed = agreement_figures(read, own)
        figures += [*agreed, *label_figures(read[place], own[place])]
        lines.append(agreement_line(agreed))
    return lines, figures


def _summary(figures: Sequence[Figure], given: Answers, scorer: Engine | None, judges: Sequence[Judge]) -> list[str]:
    name = given.path.stem
    refused, complied = (find(figures, ARM, name, metric) for metric in ("refusal_rate", "compliance_rate"))
    lines = [f"{name}: refused {in_words(refused)}, complied {in_words(complied)}."]
    for judge in judges:
        if isinstance(judge, TextJudge):
            lines.append(f"The {judge.name} read the text alone, without a scorer: {MEANS}.")
        elif isinstance(judge, OutcomeJudge) and scorer is not None:
            lines.append(f"The rules told broken and off-topic answers by the likelihood of {scorer.name}.")
    for what, missing in (
        ("no answer", [row.where for row in given.rows if row.answer is None]),
        ("a blank request", [row.where for row in given.rows if not row.prompt.text.strip()]),
    ):
        if missing:
            more = " ..." if len(missing) > 3 else ""
            rows = "row has" if len(missing) == 1 else "rows have"
            lines.append(f"{len(missing)} {rows} {what}: {', '.join(missing[:3])}{more}.")
    return lines


def _examples(given: Answers, table: Table) -> list[Example]:
    """The first answer of each outcome."""
    ((_, rows),) = table.items()
    first: dict[str, int] = {}
    for i, row in enumerate(rows):
        first.setdefault(row.verdict.outcome, i)
    return [
        Example(
            rows[i].generation.conversation.prompt.text,
            [Answer(f"{ARM}, {given.rows[i].where}", rows[i].generation.text, rows[i].verdict.outcome)],
            given.path.stem,
        )
        for i in first.values()
    ]
