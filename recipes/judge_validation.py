"""The outcome judge against blind labels of our own generations.

    python -m recipes.judge_validation sample --out runs/labels      # answers to read, arm hidden
    python -m recipes.judge_validation score                         # agreement and confusion matrix

recipes/judge_labels.jsonl holds the answers, as they were read, with the reader's outcome. A reader saw the
request and the answer, never the arm or the judge's verdict; rows were shuffled over arms.
"""

from __future__ import annotations

import argparse
import json
import random
from collections import Counter
from pathlib import Path

from demur.attacks import attack
from demur.audit.judging import fitted_judge
from demur.audit.measure import Arm, Bench
from demur.audit.study import arms_of, choose_dose, fit_refusal, plainly, rank_attacks, size_for, spread
from demur.engines.hf import HFEngine
from demur.errors import BadFile
from demur.prompts.builtin import builtin
from demur.runs.codec import conversation_from_json, conversation_to_json
from demur.stats import cohen_kappa, confusion_matrix, wilson
from demur.types import OUTCOMES, Decoding, Figure, Generation

LABELS = Path(__file__).with_name("judge_labels.jsonl")


def sample(out: Path, n: int, new_tokens: int) -> None:
    """Write n answers over arms and sets, shuffled: to_read.jsonl without arms, key.jsonl with them."""
    engine, decoding = HFEngine("smollm2-refuser"), Decoding(new_tokens)
    bench = Bench(engine, fitted_judge(engine, decoding), decoding)
    size = size_for("smollm2-refuser")
    fit = fit_refusal(engine, size)
    attacks, _, _ = rank_attacks(bench, size, "")
    dose, _ = choose_dose(bench, fit, attacks, size, "")
    arms = arms_of(fit.direction, dose, engine.n_layers, 1)
    arms.append(Arm("too much", arms_of(fit.direction, 2.5 * dose, engine.n_layers, 0)[1].intervention))
    prompts = spread(builtin("harmful", "validation"), 24)
    sets = {
        "harmful": plainly(prompts),
        "borderline": plainly(spread(builtin("borderline", "validation"), 24)),
        "plain": plainly(spread(builtin("plain", "validation"), 16)),
        **{name: [attack(prompt, name) for prompt in prompts] for name in (*attacks, "rot13", "payload_splitting")},
    }
    table = bench.run(arms, sets)
    rows = [row for place in table.values() for row in place]
    random.Random(4).shuffle(rows)
    rows = rows[:n]
    out.mkdir(parents=True, exist_ok=True)
    with (out / "to_read.jsonl").open("w") as blind, (out / "key.jsonl").open("w") as key:
        for i, row in enumerate(rows):
            g = row.generation
            about = {"id": i, "request": g.conversation.prompt.text, "answer": g.text}
            blind.write(json.dumps(about) + "\n")
            whole = {"id": i, "arm": g.arm, "conversation": conversation_to_json(g.conversation), "answer": g.text,
                     "verdict": row.verdict.outcome, "new_tokens": new_tokens}  # fmt: skip
            key.write(json.dumps(whole) + "\n")


def read_labels() -> list[tuple[Generation, str]]:
    """The labelled answers."""
    if not LABELS.exists():
        raise BadFile(f"no labels at {LABELS.name}; run the sample step, read the answers and write them there.")
    found = []
    for line in LABELS.read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        conversation = conversation_from_json(row["conversation"])
        found.append((Generation("", conversation, row["answer"], (), 0, "length", row["arm"]), row["label"]))
    return found


def label_figures(engine: HFEngine) -> list[Figure]:
    """Agreement of the judge with the labels: on each of refused and complied (yes or no), and overall."""
    rows = read_labels()
    judge = fitted_judge(engine, Decoding(32))
    given = [verdict.outcome for verdict in judge.judge([generation for generation, _ in rows])]
    labels = [label for _, label in rows]
    figures = []
    for outcome in ("refused", "complied"):
        k = sum((g == outcome) == (label == outcome) for g, label in zip(given, labels, strict=True))
        figures.append(_agreement(f"judge_agreement_{outcome}", k, len(rows)))
    k = sum(g == label for g, label in zip(given, labels, strict=True))
    figures.append(_agreement("judge_agreement", k, len(rows)))
    print("# rows: label, columns: judge;", ", ".join(OUTCOMES))
    for name, row in zip(OUTCOMES, confusion_matrix(labels, given, OUTCOMES), strict=True):
        print(f"# {name:<11}", " ".join(f"{count:4d}" for count in row))
    print(f"# kappa {cohen_kappa(labels, given):.2f}; labels {dict(Counter(labels))}")
    return figures


def _agreement(metric: str, k: int, n: int) -> Figure:
    low, high = wilson(k, n)
    return Figure("all", "", "blind labels", metric, k / n, n, "answers", low, high, "rules")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("step", choices=("sample", "score"))
    parser.add_argument("--out", type=Path, default=Path("runs/labels"))
    parser.add_argument("--n", type=int, default=240)
    parser.add_argument("--new-tokens", type=int, default=32)
    options = parser.parse_args()
    if options.step == "sample":
        sample(options.out, options.n, options.new_tokens)
    else:
        for figure in label_figures(HFEngine("smollm2-refuser")):
            print(figure)


if __name__ == "__main__":
    main()
