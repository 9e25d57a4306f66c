"""What the outcome judge is calibrated on: a model's own unsteered answers to harmless validation prompts.

Measured once for a model and dtype, and kept for every command that judges: a sealed file, which the package has for
the bundled model and the cache for others.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from filelock import FileLock
from torch import Tensor

from demur.attacks import attack
from demur.directions.sealed import Sealed, read_sealed, write_sealed
from demur.engines.base import Engine, Request
from demur.errors import BadFile, InputError, OutOfRoom
from demur.evaluation.cached import cached
from demur.evaluation.evaluator import Progress, answer, silent
from demur.judges.coherence import SMALLEST_FIT, CoherenceBand, fit_band, mean_nll, plain_request
from demur.judges.topic import stems
from demur.models.kept import cache
from demur.prompts.builtin import builtin
from demur.runs import Journal, digest
from demur.types import Conversation, Decoding, Generation

WRAPS = ("prefix_injection", "persona", "authority")
"""Wrappers of the harmless requests whose answers widen the coherence band, in turn."""
LENGTH = 48
"""Tokens of the answers, at most. Shorter ones are judged by how these begin; for longer ones there are twice as many,
and so on."""
SCORED = 64
"""Answers scored at once: what a stopped run loses."""
KIND = "demur.calibration"
SHIPPED = Path(__file__).with_name("calibrations")


@dataclass(frozen=True)
class Calibration:
    """Unsteered answers and how likely they are."""

    texts: tuple[str, ...]
    logprobs: Tensor
    """Float[Tensor, "answers length"], natural logarithms after the plain request; nan behind an answer's end."""

    def band(self, new_tokens: int) -> CoherenceBand:
        """Where answers of up to `new_tokens` tokens lie: these, cut there, as far as they are about their requests.

        An answer without a content word of its request is left out: under a wrapper some speak of the wrapper, and few
        of these alone would set the upper bound. Where hardly any is left (a model of another language) all count.
        Raises InputError for fewer than SMALLEST_FIT answers.
        """
        rows = [
            (text, row[~row.isnan()].tolist()) for text, row in zip(self.texts, self.logprobs.double(), strict=True)
        ]
        asked = [stems(talk.prompt.text) for talk in calibration_talks()]
        about = [row for row, words in zip(rows, asked, strict=True) if words & stems(row[0])]
        if len(about) >= SMALLEST_FIT:
            rows = about
        texts = [text[: math.ceil(len(text) * new_tokens / max(len(kept), new_tokens))] for text, kept in rows]
        origin = {"prompts": "built-in plain and borderline, validation, every second one in a wrapper",
                  "wraps": list(WRAPS), "new_tokens": new_tokens}  # fmt: skip
        return fit_band(texts, [mean_nll(kept[:new_tokens]) for _, kept in rows], origin)


def calibration_talks() -> list[Conversation]:
    """The harmless validation prompts, every second one in a wrapper.

    Greedy answers to a bare request are the likeliest text there is (perplexity 1.3 to 2.2 on the bundled model): a
    band of these alone takes any fluent answer given in a wrapper or under steering, which is scored after the bare
    request too, for babble.
    """
    prompts = [*builtin("plain", "validation"), *builtin("borderline", "validation")]
    return [attack(p, WRAPS[i // 2 % len(WRAPS)] if i % 2 else "direct") for i, p in enumerate(prompts)]


def calibration(
    engine: Engine, new_tokens: int, journal: Journal | None = None, progress: Progress = silent
) -> Calibration:
    """That of an engine for answers of `new_tokens` tokens: kept, or measured now and kept.

    Of two runs at once one measures and the other waits. A file that is damaged is measured again. Where none can be
    written there is a warning, and the calibration stays the run's own.
    """
    if found := _kept(engine, new_tokens):
        return found
    folder = cache() / "calibrations"
    with _alone(folder / _name(engine, new_tokens)):
        if found := _kept(engine, new_tokens):  # by the run that was waited for
            return found
        found = measure(engine, _length(new_tokens), journal, progress)
        try:
            keep(found, engine, new_tokens, folder)
        except (BadFile, OutOfRoom) as problem:
            warnings.warn(f"the judge's calibration is not kept for the next run: {problem}", stacklevel=2)
    return found


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """While no other run makes the same file; without waiting where nothing can be written."""
    lock = FileLock(path.with_suffix(".lock"))
    with ExitStack() as stack:
        with suppress(OSError):
            path.parent.mkdir(parents=True, exist_ok=True)
            stack.enter_context(lock)
        yield


def keep(found: Calibration, engine: Engine, new_tokens: int, folder: Path) -> Path:
    """Write an engine's calibration into a folder; returns its file. BadFile, OutOfRoom as `write_sealed`."""
    facts = {"texts": list(found.texts), "model": engine.name, "dtype": engine.fingerprint.dtype}
    return write_sealed(folder / _name(engine, new_tokens), Sealed(KIND, facts, {"logprobs": found.logprobs}))


def to_calibrate(engine: Engine, new_tokens: int) -> int:
    """How many answers `calibration` would generate now."""
    return 0 if _kept(engine, new_tokens) else len(calibration_talks())


def measure(engine: Engine, length: int, journal: Journal | None = None, progress: Progress = silent) -> Calibration:
    """Answers of up to `length` tokens and their likelihoods; a journal keeps those of a run that is stopped."""
    requests = [Request(talk) for talk in calibration_talks()]
    told = partial(progress, "calibrating the judge")
    answers = answer(engine, requests, Decoding(length), journal, told)
    if sum(bool(a.text.strip()) for a in answers) < SMALLEST_FIT and any(a.reasoning for a in answers):
        raise InputError(
            f"{engine.name} has hardly an answer behind its reasoning in {length} tokens, so the judge cannot be "
            "calibrated on it; raise the new tokens, or turn thinking off."
        )
    rows = _likelihoods(engine, answers, journal, progress)
    logprobs = torch.full((len(rows), max(1, *map(len, rows))), math.nan)
    for i, row in enumerate(rows):
        logprobs[i, : len(row)] = torch.tensor(row)
    return Calibration(tuple(a.text for a in answers), logprobs)


def _likelihoods(
    engine: Engine, answers: Sequence[Generation], journal: Journal | None, progress: Progress
) -> list[list[float]]:
    """Log-probabilities of each answer's tokens after its direct request, kept batch by batch. None of an answer that
    has one which is not finite."""

    def make(rows: Sequence[int], keys: Sequence[str], some: Sequence[Generation]) -> list[list[float]]:
        pairs = [(plain_request(some[i]), some[i].text) for i in rows]
        found = [list(row.logprobs) for row in engine.logprobs(pairs)]
        return [row if all(map(math.isfinite, row)) else [] for row in found]  # JSON has no NaN

    values: list[list[float]] = []
    for start in range(0, len(answers), SCORED):
        some = answers[start : start + SCORED]
        found, _ = cached(
            lambda row, batch, some=some: digest(
                {"kind": "log-probabilities", "answer": some[row].key, "batch": batch}
            ),
            len(some),
            engine.fingerprint.dtype,
            journal.scores if journal is not None else lambda _: {},
            partial(make, some=some),
            journal.add_scores if journal is not None else lambda _: {},
        )
        values += found
        progress("scoring the judge's calibration", len(values), len(answers))
    return values


def _length(new_tokens: int) -> int:
    return LENGTH * 2 ** max(0, math.ceil(math.log2(new_tokens / LENGTH)))


def _name(engine: Engine, new_tokens: int) -> str:
    """The file's name: a hash of all that it depends on but the processor, whose part in bf16 is far smaller than the
    sample's."""
    about = engine.fingerprint
    talks = [[(m.role, m.content) for m in talk.messages] for talk in calibration_talks()]
    model = [about.engine, about.weights, about.tokenizer, about.template, about.dtype]
    key = digest({"model": model, "length": _length(new_tokens), "talks": talks})
    return f"{key[:24]}.safetensors"


def _kept(engine: Engine, new_tokens: int) -> Calibration | None:
    for folder in (SHIPPED, cache() / "calibrations"):
        with suppress(BadFile):
            return _read(folder / _name(engine, new_tokens))
    return None


def _read(path: Path) -> Calibration:
    content = read_sealed(path, "calibration", (KIND,))
    return Calibration(tuple(content.facts["texts"]), content.tensors["logprobs"])
