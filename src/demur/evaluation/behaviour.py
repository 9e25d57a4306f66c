"""Does a vector still do what it was made for? Log-odds of full answers, letters, on held-out pairs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

from demur.engines.base import Engine
from demur.errors import InputError, unknown
from demur.evaluation.evaluator import spec_of
from demur.fitting.vectors import READS, answers, asked
from demur.interventions import Intervention
from demur.prompts import uses
from demur.prompts.pairs import Pair
from demur.runs import Journal, batch_salt, digest, source_hash
from demur.stats import paired_difference
from demur.types import Figure


@dataclass(frozen=True)
class Shown:
    """What one arm shows of a behaviour on held-out pairs."""

    log_odds: tuple[float, ...]
    """Of each pair: mean log-probability a token of the matching answer, less that of the other."""
    letters: tuple[bool, ...]
    """Whether the matching answer's letter is the likelier, asked with the choices."""


def shown(
    engine: Engine,
    pairs: Sequence[Pair],
    interventions: Sequence[Intervention | None] = (None,),
    journal: Journal | None = None,
) -> list[Shown]:
    """Both measures under each intervention; what the journal has is not measured again. Raises as `log_odds`."""
    texts, letters = (log_odds(engine, pairs, interventions, read, journal) for read in ("text", "letter"))
    return [Shown(text, tuple(odds > 0 for odds in letter)) for text, letter in zip(texts, letters, strict=True)]


def log_odds(
    engine: Engine,
    pairs: Sequence[Pair],
    interventions: Sequence[Intervention | None],
    read: str = "text",
    journal: Journal | None = None,
) -> list[tuple[float, ...]]:
    """Under each intervention, of each pair: mean log-probability a token of the matching answer, less that of the
    other. All are measured together; those that act from the last prompt token on share the passes over the questions.

    Raises InputError for pairs that were for fitting, UnknownName for another way of reading.
    """
    uses.check(held_out=pairs)
    if read not in READS:
        raise unknown("way of reading answers", read, READS)
    about = {"kind": "behaviour", "pairs": [[p.question, p.lettered, p.matching, p.other, p.letter] for p in pairs],
             "engine": asdict(engine.fingerprint), "sources": source_hash(), "read": read}  # fmt: skip
    keys = [digest({**about, "intervention": spec_of(one)}) for one in interventions]
    salted = engine.fingerprint.dtype != "fp32"
    if salted:
        # In bf16 the numbers depend on what is measured beside them (`measure.answer`).
        salt = batch_salt(keys)
        keys = [f"{key[:32]}:{salt}" for key in keys]
    found = journal.scores(keys) if journal is not None else {}
    missing = {key: one for key, one in zip(keys, interventions, strict=True) if salted or key not in found}
    if any(key not in found for key in keys):
        sides = [(asked(p, read), side) for p in pairs for side in answers(p, read)]
        steers = [one for _ in sides for one in missing.values()]
        rows = engine.logprobs([side for side in sides for _ in missing], steers)
        means = [sum(row) / len(row) for row in rows]
        fresh = {}
        for i, key in enumerate(missing):
            own = means[i :: len(missing)]
            fresh[key] = [a - b for a, b in zip(own[::2], own[1::2], strict=True)]
        if journal is not None:
            journal.add_scores(fresh)
        found = {**fresh, **found}
    return [tuple(found[key]) for key in keys]


def behaviour_figures(seen: Mapping[str, Shown], name: str, baseline: str = "unsteered") -> list[Figure]:
    """Paired changes of every arm: `log_odds` (nats a token) and `letter_accuracy`."""
    base = seen[baseline]
    found = []
    for arm, row in seen.items():
        n = len(row.log_odds)
        if arm == baseline:
            share = sum(row.letters) / n
            found.append(Figure(arm, "", name, "letter_accuracy", share, n, "pairs", share, share))
            continue
        for metric, a, b in (("log_odds", row.log_odds, base.log_odds), ("letter_accuracy", row.letters, base.letters)):
            value, low, high = paired_difference([float(x) for x in a], [float(x) for x in b], range(n))
            found.append(Figure(arm, baseline, name, metric, value, n, "paired pairs", low, high))
    return found


def clears_null(effect: float, nulls: Sequence[float]) -> bool:
    """Whether a vector moves its behaviour more, the right way, than every vector fitted on shuffled labels."""
    if not nulls:
        raise InputError("there is no null to clear; fit vectors on shuffled labels too.")
    return effect > max(abs(value) for value in nulls)
