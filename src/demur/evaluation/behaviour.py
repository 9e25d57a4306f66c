"""Does a vector still do what it was made for? Log-odds of full answers, letters, on held-out pairs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

from demur.engines.base import Engine
from demur.errors import InputError, unknown
from demur.evaluation.cached import cached, spec_of
from demur.evaluation.pairs import READS, answers, asked
from demur.interventions import Intervention
from demur.prompts import uses
from demur.prompts.pairs import Pair
from demur.runs import Journal, digest, source_hash
from demur.stats import paired_difference
from demur.types import Figure


@dataclass(frozen=True)
class BehaviourScores:
    """What one arm shows of a behaviour on held-out pairs."""

    log_odds: tuple[float, ...]
    """Of each pair: mean log-probability a token of the matching answer, less that of the other."""
    letters: tuple[bool, ...]
    """Whether the matching answer's letter is the likelier, asked with the choices."""


def behaviour_scores(
    engine: Engine,
    pairs: Sequence[Pair],
    interventions: Sequence[Intervention | None] = (None,),
    journal: Journal | None = None,
) -> list[BehaviourScores]:
    """Both measures under each intervention; what the journal has is not measured again. Raises as `log_odds`."""
    texts, letters = (log_odds(engine, pairs, interventions, read, journal) for read in ("text", "letter"))
    return [
        BehaviourScores(text, tuple(odds > 0 for odds in letter)) for text, letter in zip(texts, letters, strict=True)
    ]


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
    specs = [spec_of(one, engine.n_layers) for one in interventions]

    def make(rows: Sequence[int], _keys: Sequence[str]) -> list[list[float]]:
        sides = [(asked(p, read), side) for p in pairs for side in answers(p, read)]
        steers = [interventions[i] for i in rows]
        found = engine.logprobs([side for side in sides for _ in steers], [one for _ in sides for one in steers])
        means = [row.total / len(row.logprobs) for row in found]
        columns = [means[i :: len(steers)] for i in range(len(steers))]
        return [[a - b for a, b in zip(own[::2], own[1::2], strict=True)] for own in columns]

    found, _ = cached(
        lambda row, batch: digest({**about, "intervention": specs[row], "batch": batch}),
        len(specs),
        engine.fingerprint.dtype,
        journal.scores if journal is not None else lambda _: {},
        make,
        journal.add_scores if journal is not None else lambda _: {},
    )
    return [tuple(odds) for odds in found]


def behaviour_figures(seen: Mapping[str, BehaviourScores], name: str, baseline: str = "unsteered") -> list[Figure]:
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


def beats_shuffled_labels(effect: float, nulls: Sequence[float]) -> bool:
    """Whether a vector moves its behaviour more, the right way, than every vector fitted on shuffled labels."""
    if not nulls:
        raise InputError("there is no null to beat; fit vectors on shuffled labels too.")
    return effect > max(abs(value) for value in nulls)
