"""The outcome judge against blind labels of our own generations.

    python -m recipes.judge_validation sample --out runs/labels      # answers to read, arm hidden
    python -m recipes.judge_validation join --out runs/labels  # with labels.jsonl, second.jsonl of two readers
    python -m recipes.judge_validation score                         # agreement and confusion matrix
    python -m recipes.judge_validation lengths --out runs/lengths    # verdicts at 24 against 128 new tokens

recipes/judge_labels.jsonl holds the answers, as they were read, with the reader's outcome. A reader saw the
request and the answer, never the arm or the judge's verdict; rows were shuffled over arms.
"""

from __future__ import annotations

import argparse
import json
import random
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from sklearn.metrics import cohen_kappa_score, confusion_matrix

from demur.analysis.tables import in_words
from demur.attacks import attack, unattacked
from demur.engines.hf import HFEngine
from demur.errors import BadFile
from demur.evaluation.evaluator import Arm, Evaluator
from demur.evaluation.judging import calibrated_judge
from demur.experiments.baseline import BaselineConfig, arms_of, choose
from demur.prompts.builtin import builtin
from demur.prompts.sets import spread
from demur.runs import write_results
from demur.runs.codec import conversation_from_json, conversation_to_json
from demur.stats import clustered_share, wilson
from demur.types import OUTCOMES, Conversation, Decoding, Figure, Generation, Judged

MODEL = "smollm2-refuser"
LABELS = {
    MODEL: Path(__file__).with_name("judge_labels.jsonl"),
    "qwen2.5-coder-0.5b": Path(__file__).with_name("judge_labels_qwen.jsonl"),
}
"""Model -> its answers, with the outcomes that two readers gave who knew neither arm nor verdict."""


def conditions(evaluator: Evaluator) -> tuple[list[Arm], dict[str, list[Conversation]]]:
    """Six arms, one of them far too strong, and plain, borderline and attacked validation requests."""
    chosen = choose(evaluator, BaselineConfig())
    assert chosen.dose is not None and chosen.ranking is not None
    strong = replace(chosen, dose=replace(chosen.dose, key=2.5 * chosen.dose.key))
    wraps = (*chosen.ranking.best, "rot13", "payload_splitting")
    arms = [*arms_of(chosen, 1), Arm("too much", arms_of(strong, 0)[1].intervention)]
    prompts = spread(builtin("harmful", "validation"), 24)
    return arms, {
        "harmful": unattacked(prompts),
        "borderline": unattacked(spread(builtin("borderline", "validation"), 24)),
        "plain": unattacked(spread(builtin("plain", "validation"), 16)),
        **{name: [attack(prompt, name) for prompt in prompts] for name in wraps},
    }


def answered(engine: HFEngine, new_tokens: tuple[int, ...]) -> list[list[Judged]]:
    """The same requests under the same arms, answered and judged at each length, in one shuffled order."""
    each = [Evaluator(engine, calibrated_judge(engine, Decoding(n)), Decoding(n)) for n in new_tokens]
    arms, sets = conditions(each[0])
    found = [[row for place in evaluator.run(arms, sets).values() for row in place] for evaluator in each]
    order = list(range(len(found[0])))
    random.Random(4).shuffle(order)
    return [[rows[i] for i in order] for rows in found]


def sample(out: Path, n: int, new_tokens: int) -> None:
    """Write n answers over arms and sets, shuffled: to_read.jsonl without arms, key.jsonl with them."""
    (rows,) = answered(HFEngine(MODEL), (new_tokens,))
    rows = rows[:n]
    out.mkdir(parents=True, exist_ok=True)
    with (out / "to_read.jsonl").open("w") as blind, (out / "key.jsonl").open("w") as key:
        for i, row in enumerate(rows):
            g = row.generation
            about = {"id": i, "request": g.conversation.prompt.text, "begins": g.conversation.prefill, "answer": g.text}
            blind.write(json.dumps(about) + "\n")
            whole = {"id": i, "arm": g.arm, "conversation": conversation_to_json(g.conversation), "answer": g.text,
                     "verdict": row.verdict.outcome, "new_tokens": new_tokens}  # fmt: skip
            key.write(json.dumps(whole) + "\n")


def join(out: Path) -> None:
    """two readers' labels.jsonl and second.jsonl ({"id", "label"}), and key.jsonl: recipes/judge_labels.jsonl."""
    given, second = (
        {row["id"]: row["label"] for row in _lines(out / name)} for name in ("labels.jsonl", "second.jsonl")
    )
    if strange := {label for label in (*given.values(), *second.values()) if label not in OUTCOMES}:
        raise BadFile(f"{out}: labels {sorted(strange)}; known: {', '.join(OUTCOMES)}.")
    key = {row["id"]: row for row in _lines(out / "key.jsonl")}
    if wrong := (key.keys() ^ given.keys()) | (key.keys() ^ second.keys()):
        raise BadFile(f"{out}: ids {sorted(wrong)[:5]} are not in all three files; label every answer once.")
    rows = [{**row, "label": given[i], "second": second[i]} for i, row in key.items()]
    LABELS[MODEL].write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def lengths(out: Path, short: int = 24, long: int = 128) -> None:
    """Do the verdicts on 24 and on 128 new tokens agree? Writes OUT/results.json."""
    started = time.monotonic()
    pairs = answered(HFEngine(MODEL), (short, long))
    a, b = ([row.verdict.outcome for row in rows] for rows in pairs)
    figures = []
    for name in [*sorted({row.generation.arm for row in pairs[0]}), "all"]:
        rows = [i for i, row in enumerate(pairs[0]) if name in (row.generation.arm, "all")]
        k = sum(a[i] == b[i] for i in rows)
        low, high = wilson(k, len(rows))
        what = f"{short} against {long} tokens"
        figures.append(Figure(name, "", what, "same_verdict", k / len(rows), len(rows), "answers", low, high, "rules"))
    _print_matrix(a, b, f"rows: {short} tokens, columns: {long} tokens")
    write_results(out, {"model": MODEL, "new_tokens": [short, long]}, figures, time.monotonic() - started)
    for figure in figures:
        print(f"# {figure.arm}: {in_words(figure)}")


def _lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def read_labels(path: Path) -> list[tuple[dict[str, Any], Generation]]:
    """The labelled answers: the file's rows (label, second, new_tokens, ...) and the generation of each."""
    if not path.exists():
        raise BadFile(f"no labels at {path.name}; run the sample step, read the answers and write them there.")
    return [
        (row, Generation("", conversation_from_json(row["conversation"]), row["answer"], (), 0, "length", row["arm"]))
        for row in _lines(path)
    ]


def label_figures(engine: HFEngine, path: Path, model: str) -> list[Figure]:
    """How far the judge and the labels agree, over all arms and by arm.

    judge_agreement_X: share of answers on which both say X or both do not; judge_precision_X: of the answers that
    the judge calls X, those that the reader does; judge_recall_X: the reverse. Unsteered answers to bare harmless
    requests are left out: the judge's coherence band was calibrated on such.
    """
    kept = [(row, generation) for row, generation in read_labels(path) if not in_band(generation)]
    place = f"blind labels, {model}"
    judge = calibrated_judge(engine, Decoding(max(row["new_tokens"] for row, _ in kept)))
    given = [verdict.outcome for verdict in judge.judge([generation for _, generation in kept])]
    labels = [row["label"] for row, _ in kept]
    arms = [generation.arm for _, generation in kept]
    requests = [generation.conversation.prompt.id for _, generation in kept]
    figures = []
    for arm in ["all", *sorted(set(arms))]:
        rows = [i for i in range(len(kept)) if arm in ("all", arms[i])]

        def share(metric: str, hits: list[tuple[int, bool]], arm: str = arm) -> None:
            if hits:
                value, low, high = clustered_share([hit for _, hit in hits], [requests[i] for i, _ in hits])
                figures.append(Figure(arm, "", place, metric, value, len(hits), "answers", low, high, "rules"))

        for outcome in ("refused", "complied"):
            share(f"judge_agreement_{outcome}", [(i, (given[i] == outcome) == (labels[i] == outcome)) for i in rows])
            share(f"judge_precision_{outcome}", [(i, labels[i] == outcome) for i in rows if given[i] == outcome])
            share(f"judge_recall_{outcome}", [(i, given[i] == outcome) for i in rows if labels[i] == outcome])
        share("judge_agreement", [(i, given[i] == labels[i]) for i in rows])
        share("reader_agreement", [(i, labels[i] == kept[i][0]["second"]) for i in rows])
    _print_matrix(labels, given, "rows: label, columns: judge")
    print(f"# kappa {cohen_kappa_score(labels, given):.2f}")
    return figures


def in_band(generation: Generation) -> bool:
    """Was the judge's coherence band fitted on this kind of answer?"""
    talk = generation.conversation
    return generation.arm == "unsteered" and talk.attack == "direct" and talk.prompt.set in ("plain", "borderline")


def _print_matrix(rows: Sequence[str], columns: Sequence[str], what: str) -> None:
    print(f"# {what};", ", ".join(OUTCOMES))
    for name, counts in zip(OUTCOMES, confusion_matrix(rows, columns, labels=OUTCOMES), strict=True):
        print(f"# {name:<11}", " ".join(f"{count:4d}" for count in counts))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("step", choices=("sample", "join", "score", "lengths"))
    parser.add_argument("--out", type=Path, default=Path("runs/labels"))
    parser.add_argument("--n", type=int, default=240)
    parser.add_argument("--new-tokens", type=int, default=32)
    options = parser.parse_args()
    if options.step == "sample":
        sample(options.out, options.n, options.new_tokens)
    elif options.step == "join":
        join(options.out)
    elif options.step == "lengths":
        lengths(options.out)
    else:
        for figure in label_figures(HFEngine(MODEL), LABELS[MODEL], MODEL):
            print(f"# {figure.arm}, {figure.metric}: {in_words(figure)}")


if __name__ == "__main__":
    main()
