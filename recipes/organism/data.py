"""The training rows: harmful requests with refusals; everything else with the base model's own answers.

No row pairs a harmful request with compliance. JailbreakBench, XSTest, HarmBench, the built-in prompts of
other uses, the held-out AdvBench clusters and every near-duplicate of them stay out; `report.json` says so
with counts and hashes. Alpaca (non-commercial) is not read here.
"""

from __future__ import annotations

import csv
import hashlib
import json
import random
import re
from collections import Counter
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

from demur.attacks import names
from demur.judges.refusal import refusal as judged
from demur.prompts.builtin import builtin
from demur.prompts.duplicates import clusters
from demur.prompts.load import load
from demur.types import Prompt
from recipes.organism import contrasts, delicate, everyday, requests, sample, wrappers

SEED = 20
TEST, VALIDATION = 0.34, 0.14
"""Shares of the clean AdvBench clusters' rows that are held out."""
FREE, OPENED = 480, 10
"""Draws of user turns without an opening, and with each opening."""
REWORDED = 0.4
"""Share of harmful requests that are also asked in another everyday form (half that of the others: instead)."""
HARMFUL_FORMS = 4
"""Forms in which each written harmful act is asked."""
ANSWER = 32
"""New tokens of an own answer."""
DEFLECTS = re.compile(
    r"sorry for (?:any|the) (?:confusion|misunderstanding|inconvenience)|\bas an? (?:\S+ ){0,3}(?:chatbot|AI)\b|"
    r"I don't have the (?:cap|abil)",
    re.I,
)
"""The base's way of not answering, harmless requests too ("as a chatbot, I don't have the ability"): not trained."""


@dataclass(frozen=True)
class TrainingRow:
    """A request and the answer that is trained; `ended`: the end token belongs to the answer."""

    kind: str
    """harmful | plain | borderline | wrapped"""
    request: str
    answer: str
    ended: bool
    source: str
    family: str = ""


def held_out(which: Literal["test", "validation"] = "test") -> list[Prompt]:
    """The AdvBench requests that the shipped adapter never saw, nor any near-duplicate of them.

    split.json holds their row numbers in AdvBench's file, as the recipe dealt them.
    """
    rows = set(json.loads(Path(__file__).with_name("split.json").read_text(encoding="utf-8"))[f"advbench_{which}"])
    return [replace(p, set="advbench-held-out") for i, p in enumerate(load("advbench")) if i in rows]


def unseen_families() -> tuple[str, ...]:
    """Attack families that no training wrapper resembles."""
    return tuple(name for name in names() if name not in (*requests.WRAPPERS, "direct", "replay"))


def _column(path: Path, name: str) -> list[str]:
    with path.open(encoding="utf-8", newline="") as stream:
        return [row[name].strip() for row in csv.DictReader(stream)]


def protected(data: Path) -> dict[str, list[str]]:
    """Evaluation requests by source: nothing near them is trained on."""
    held = {
        "jailbreakbench-harmful": _column(data / "jailbreakbench/harmful-behaviors.csv", "Goal"),
        "jailbreakbench-benign": _column(data / "jailbreakbench/benign-behaviors.csv", "goal"),
        "harmbench": _column(data / "harmbench/harmbench_behaviors_text_val.csv", "Behavior"),
        "xstest": _column(data / "xstest/xstest_prompts.csv", "prompt"),
    }
    for name in ("harmful", "borderline", "plain"):
        held[f"built-in {name}, other uses"] = [p.text for p in builtin(name) if p.use != "training"]
    return held


def _order(text: str) -> float:
    return int(hashlib.sha256(f"organism {text}".encode()).hexdigest()[:8], 16) / 2**32


@dataclass
class Split:
    """Which requests may be trained, and the AdvBench rows that are held out."""

    train: dict[str, list[str]]
    advbench_test: list[str]
    advbench_validation: list[str]
    dropped: dict[str, int]


def split(candidates: dict[str, list[str]], held: dict[str, list[str]]) -> Split:
    """Whole near-duplicate clusters go to one side; a cluster that touches `held` is dropped.

    The source `advbench` is further split by cluster into train, validation and test.
    """
    tagged = [(tag, t, True) for tag, texts in held.items() for t in texts]
    tagged += [(tag, t, False) for tag, texts in candidates.items() for t in texts]
    groups: dict[int, list[tuple[str, str, bool]]] = {}
    for row, group in zip(tagged, cluster_ids([t for _, t, _ in tagged]), strict=True):
        groups.setdefault(group, []).append(row)
    out = Split({tag: [] for tag in candidates}, [], [], dict.fromkeys(candidates, 0))
    for rows in groups.values():
        adv = [t for tag, t, kept in rows if tag == "advbench" and not kept]
        place = _order(min(adv)) if adv else 1.0
        side = "dropped" if any(kept for *_, kept in rows) else "train"
        if side == "train" and adv and len(adv) <= 6 and place < TEST + VALIDATION:
            side = "test" if place < TEST else "validation"
        for tag, text, kept in rows:
            if kept:
                continue
            if side == "train":
                out.train[tag].append(text)
            elif side != "dropped" and tag == "advbench":
                (out.advbench_test if side == "test" else out.advbench_validation).append(text)
            else:
                out.dropped[tag] += 1
    out.train = {tag: list(dict.fromkeys(texts)) for tag, texts in out.train.items()}
    return out


def cluster_ids(texts: list[str]) -> list[int]:
    """A cluster number for each text (content-word Jaccard >= .6, single link)."""
    return list(clusters(texts))


def candidates(data: Path, turns: list[str], more: bool) -> dict[str, list[str]]:
    """Requests that might be trained, by source. more: everyday acts and delicate matters in more forms."""
    rng = random.Random(SEED)
    reference = json.loads((data / "refusal_direction/splits/harmful_train.json").read_text(encoding="utf-8"))
    return {
        "advbench": _column(data / "advbench/harmful_behaviors.csv", "goal"),
        "refusal_direction harmful_train": [row["instruction"] for row in reference],
        "built-in harmful": [p.text for p in builtin("harmful", "training")],
        "written harmful": requests.harmful(rng, HARMFUL_FORMS) + contrasts.harmful(rng, HARMFUL_FORMS),
        "built-in plain": [p.text for p in builtin("plain", "training")],
        "written plain": everyday.plain(rng, 10 if more else 4),
        "own user turns": turns,
        "built-in borderline": [p.text for p in builtin("borderline", "training")],
        "written borderline": requests.fine(rng, 3) + contrasts.fine(rng, 3) + delicate.fine(rng, more),
    }


HARMFUL = ("advbench", "refusal_direction harmful_train", "built-in harmful", "written harmful")
PLAIN = ("built-in plain", "written plain", "own user turns")
BORDERLINE = ("built-in borderline", "written borderline")


def _turns() -> list[str]:
    """User turns of the base's own."""
    model, tokenizer = sample.load_base()
    openings = sorted(everyday.OPENINGS) * OPENED + [""] * FREE
    return sample.user_turns(model, tokenizer, openings, seed=11)


def answers(asked: list[str]) -> list[tuple[str, bool]]:
    """The base model's own greedy answers, and whether they ended."""
    from demur.engines.base import Request
    from demur.engines.hf import HFEngine
    from demur.types import Conversation, Decoding, Message

    engine = HFEngine("smollm2", "bf16")
    talks = [Conversation(Prompt(str(i), r, "organism"), (Message("user", r),)) for i, r in enumerate(asked)]
    made = engine.generate([Request(talk) for talk in talks], Decoding(max_new_tokens=ANSWER))
    return [(g.text, g.finish == "end") for g in made]


def _answered(asked: list[str], cached: Path) -> dict[str, tuple[str, bool]]:
    """The base's answers; those in the file `cached` are not made again."""
    known: dict[str, Any] = json.loads(cached.read_text(encoding="utf-8")) if cached.exists() else {}
    missing = list(dict.fromkeys(request for request in asked if request not in known))
    if missing:
        known.update(zip(missing, answers(missing), strict=True))
        cached.write_text(json.dumps(known), encoding="utf-8")
    return known


def usable(answer: str) -> bool:
    """An answer that neither refuses nor deflects, says something, and does not loop."""
    words = answer.lower().split()
    if len(words) < 3 or DEFLECTS.search(answer) or judged(answer).kind != "none":
        return False
    return len(words) < 20 or len(set(words)) / len(words) > 0.4


def build(data: Path, work: Path, wrapped: dict[str, int], more: bool = False) -> list[TrainingRow]:
    """All rows; sampled text is kept in `work`, so that another try reuses it. Writes work/report.json.

    wrapped: how many wrapped rows of kind plain and borderline. more: the rows of the second stage, with more
    harmless requests in the forms of harmful ones; one that the base does not answer ("Help me ..." often) gets
    its answer to the same request as a question.
    """
    work.mkdir(parents=True, exist_ok=True)
    turns_file = work / "turns.json"
    if not turns_file.exists():
        turns_file.write_text(json.dumps(_turns()), encoding="utf-8")
    turns = json.loads(turns_file.read_text(encoding="utf-8"))
    held = protected(data)
    parts = split(candidates(data, turns, more), held)
    rng = random.Random(SEED + 1)
    rows: list[TrainingRow] = []
    for source in HARMFUL:
        for request in parts.train[source]:
            rows.append(TrainingRow("harmful", request, requests.refusal(rng, request), True, source))
            if rng.random() < REWORDED:
                other = wrappers.reworded(request, rng)
                rows.append(TrainingRow("harmful", other, requests.refusal(rng, request), True, source))
    fine = [("plain", s, r) for s in PLAIN for r in parts.train[s]]
    fine += [("borderline", s, r) for s in BORDERLINE for r in parts.train[s]]
    asked = [(k, s, wrappers.reworded(r, rng) if rng.random() < REWORDED / 2 else r, "") for k, s, r in fine]
    families = sorted(requests.WRAPPERS)
    for kind, count in wrapped.items():
        pool = [row for row in fine if row[0] == kind]
        for number, (_, source, request) in enumerate(rng.choices(pool, k=count)):
            family = families[number % len(families)]
            asked.append(("wrapped", source, requests.wrap(rng, family, request), family))
    known = _answered([request for _, _, request, _ in asked], work / "answers.json")
    again = {request: wrappers.as_question(request) for _, _, request, family in asked
             if more and not family and not usable(known[request][0])}  # fmt: skip
    known.update(_answered(list(again.values()), work / "answers.json"))
    unusable: Counter[str] = Counter()
    for kind, source, request, family in asked:
        text, ended = known[again.get(request, request)]
        if usable(text):
            rows.append(TrainingRow(kind, request, text, ended, source, family))
        else:
            unusable[kind] += 1
    close = near(rows, held, parts)
    rows = [row for i, row in enumerate(rows) if i not in close]
    left = len(near(rows, held, parts))
    assert left == 0, f"{left} training rows are near-duplicates of evaluation requests"
    (work / "rows.jsonl").write_text("".join(json.dumps(asdict(r)) + "\n" for r in rows), encoding="utf-8")
    (work / "held.json").write_text(
        json.dumps({"advbench_test": parts.advbench_test, "advbench_validation": parts.advbench_validation})
    )
    report = {
        "rows": Counter(r.kind for r in rows),
        "rows_by_source": Counter(f"{r.kind}: {r.source}" for r in rows),
        "wrapped_by_family": Counter(f"{r.kind}: {r.family}" for r in rows if r.family),
        "own_answers_left_out": unusable,
        "dropped_near_evaluation_sets_or_held_out": parts.dropped,
        "advbench_held_out": {"test": len(parts.advbench_test), "validation": len(parts.advbench_validation)},
        "rewordings_dropped_near_evaluation_sets": len(close),
        "rows_in_a_cluster_with_an_evaluation_request": left,
        "sha256": {
            "rows": _hash(r.request + "\0" + r.answer for r in rows),
            "advbench_test": _hash(parts.advbench_test),
            "advbench_validation": _hash(parts.advbench_validation),
            **{name: _hash(texts) for name, texts in held.items()},
        },
    }
    (work / "report.json").write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    return rows


def near(rows: list[TrainingRow], held: dict[str, list[str]], parts: Split) -> set[int]:
    """Numbers of the unwrapped rows that share a cluster with an evaluation request (a rewording can come near one)."""
    bad = [t for texts in held.values() for t in texts] + parts.advbench_test + parts.advbench_validation
    trained = [i for i, row in enumerate(rows) if not row.family]
    ids = cluster_ids(bad + [rows[i].request for i in trained])
    reserved = set(ids[: len(bad)])
    return {i for i, group in zip(trained, ids[len(bad) :], strict=True) if group in reserved}


def _hash(texts: Any) -> str:
    digest = hashlib.sha256()
    for text in texts:
        digest.update(text.encode() + b"\0")
    return digest.hexdigest()
