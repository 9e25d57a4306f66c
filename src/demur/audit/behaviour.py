"""Does a vector still do what it was made for? Log-odds of full answers, letters, on held-out pairs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

from demur.audit.measure import spec_of
from demur.engines.base import Engine
from demur.errors import InputError
from demur.interventions import Intervention
from demur.prompts.pairs import Pair
from demur.runs import Journal, digest, source_hash
from demur.selection.vectors import answers, asked
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
    engine: Engine, pairs: Sequence[Pair], how: Intervention | None = None, journal: Journal | None = None
) -> Shown:
    """Both measures under an intervention; what the journal has is not measured again.

    Raises InputError for pairs that were for fitting.
    """
    wrong = {pair.use for pair in pairs} - {None, "validation", "test"}
    if wrong or not pairs:
        raise InputError(
            f"a behaviour is measured on held-out pairs; these are {len(pairs)}, for {sorted(map(str, wrong))}."
        )
    about = {"kind": "behaviour", "pairs": [[p.question, p.lettered, p.matching, p.other, p.letter] for p in pairs],
             "engine": asdict(engine.fingerprint), "intervention": spec_of(how), "sources": source_hash()}  # fmt: skip
    keys = {read: digest({**about, "read": read}) for read in ("text", "letter")}
    found = journal.scores(keys.values()) if journal is not None else {}
    for read, key in keys.items():
        if key in found:
            continue
        rows = engine.logprobs([(asked(p, read), side) for p in pairs for side in answers(p, read)], how)
        means = [sum(row) / len(row) for row in rows]
        found[key] = [a - b for a, b in zip(means[::2], means[1::2], strict=True)]
        if journal is not None:
            journal.add_scores({key: found[key]})
    return Shown(tuple(found[keys["text"]]), tuple(odds > 0 for odds in found[keys["letter"]]))


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
