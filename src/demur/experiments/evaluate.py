"""One prompt set under attacks, unsteered and steered."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, final

from demur.analysis.groups import check_groups, group_figures
from demur.analysis.tables import find, in_words, table_figures
from demur.attacks import Attack, get
from demur.engines.base import Engine, WhiteBoxEngine
from demur.errors import InputError, check_sizes
from demur.evaluation.evaluator import Arm, Progress, silent
from demur.experiments.run import Setup, calibrations, examples, open_run
from demur.interventions import parse_steer
from demur.interventions.expression import Steer
from demur.judges.named import Judges
from demur.prompts.builtin import SETS
from demur.prompts.load import load
from demur.reports import Result
from demur.reports.overview import evaluation_overview
from demur.runs import digest, read_results
from demur.types import Conversation, Prompt, Table, Use

BESIDE = "judges_beside"
"""What the judges that do not decide are called in a spec."""
STEER = "steering"
"""What the steering is called among a spec's inputs; the others are attacks."""


@dataclass(frozen=True)
class EvaluateConfig:
    """How prompts are put and answered."""

    attacks: tuple[str, ...] = ()
    """Attack families; "direct" is always there."""
    use: Use | None = None
    """Of a set that is read by name: only the prompts reserved for this use; None: of built-in sets the test's."""
    limit: int | None = None
    """Only so many prompts."""
    new_tokens: int = 48
    by: str = ""
    """A column of the prompts' file, by which the rates are given too; also kind, category, topic. "": none."""
    asked: Mapping[str, Any] = field(default_factory=dict)
    """How it was asked for on the command line; with it `demur runs resume` runs it again."""

    def __post_init__(self) -> None:
        check_sizes(limit=self.limit, new_tokens=self.new_tokens)
        for name in self.attacks:
            get(name)


@final
@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class EvaluateResult(Result):
    """An evaluation, and the judged answers."""

    table: Table


def evaluate(
    engine: Engine,
    prompts: str | os.PathLike[str] | Sequence[Prompt | str],
    steer: Steer | None = None,
    config: EvaluateConfig | None = None,
    out: str | Path = "runs/evaluate",
    progress: Progress = silent,
    judge: Judges = None,
) -> EvaluateResult:
    """Outcome rates of prompts, direct and attacked, unsteered and steered. Writes everything under `out`, and resumes.

    prompts: a set's name or FILE[:COLUMN] (`prompts.load.load`), or texts, or prompts with ids of their own. steer: an
    intervention, or a line as on the command line. judge: your own, or the name of one (`judges.named`); the calibrated
    outcome judge when left out; of several the first decides, and what the others say of the same answers stands
    beside. An evaluation may add attacks, steering, or judges beside, to the one in `out`, and makes no answer of it
    again. Raises InputError for no prompts and for two of one id, for `out` with the results of one that this does not
    contain, and when a resumed evaluation's model or inputs changed; UnknownName for a column `by` that no prompt has.
    """
    config, setup = config or EvaluateConfig(), Setup(None, judge, progress).checked(choosing=False)
    steer = None if steer is None else parse_steer(steer, engine.fingerprint.weights)
    engine.check(steer)
    rows, name = _rows(prompts, config)
    check_groups(rows, config.by)
    arms = [Arm("unsteered")] + ([Arm("steered", steer)] if steer is not None else [])
    wraps = {attack: get(attack) for attack in dict.fromkeys(["direct", *config.attacks])}
    sets, skipped = _wrapped(rows, wraps)
    sets, long = _fitting(engine, sets, config.new_tokens)
    spec = _identified(
        {"asked": dict(config.asked), "prompts": name, "attacks": list(wraps), "max_new_tokens": config.new_tokens},
        engine,
        {**{name: _asked(talks) for name, talks in sets.items()}, STEER: "" if steer is None else digest(steer.spec())},
    )
    _same_place({**spec, "judge": setup.judged_by, BESIDE: setup.judged_beside}, Path(out))
    with open_run(engine, "evaluate", out, spec, config.new_tokens, setup) as run:
        table = run.evaluator.run(arms, sets)
        figures = table_figures(table)
        shared = run.finish(
            f"{engine.name} on {name}",
            [*(_line(figures, attack, steer is not None) for attack in sets), *_left_out(long, engine)],
            [*figures, *group_figures(table, config.by)],
            evaluation_overview(figures),
            page={
                "examples": examples(table, [arm.name for arm in arms], list(sets)),
                "notes": [
                    f"{attack}: {len(left)} of {len(rows)} prompts have no such attack."
                    for attack, left in skipped.items()
                ],
            },
            chosen={
                "skipped": skipped,
                **({"too_long": long} if long else {}),
                **({} if steer is None else {"intervention": steer.spec()}),
                **({"by": config.by} if config.by else {}),
            },
            table=table,
        )
    return EvaluateResult(**shared, table=table)


def planned(engine: Engine, n: int, config: EvaluateConfig, steered: bool, judge: Judges = None) -> int:
    """How many answers an evaluation of n prompts generates at most, those that calibrate a judge among them."""
    attacks = len({"direct", *config.attacks})
    return calibrations(engine, config.new_tokens, judge) + n * attacks * (2 if steered else 1)


def _rows(prompts: str | os.PathLike[str] | Sequence[Prompt | str], config: EvaluateConfig) -> tuple[list[Prompt], str]:
    """The prompts, and what they are called."""
    if isinstance(prompts, (str, os.PathLike)):
        prompts = os.fspath(prompts)
        return load(prompts, config.use or ("test" if prompts in SETS else None), config.limit), prompts
    rows = [Prompt(f"prompt-{i}", p, "given") if isinstance(p, str) else p for i, p in enumerate(prompts, 1)]
    if not rows:
        raise InputError("there are no prompts to evaluate.")
    # Answers with one id count as answers to one request.
    for id, n in Counter(row.id for row in rows).items():
        if n > 1:
            raise InputError(f"{n} prompts have the id {id!r}; give each its own, or give their texts.")
    return rows[: config.limit], rows[0].set


def _asked(talks: Sequence[Conversation]) -> str:
    """The hash of what is asked, and of which request each asks; what a prompt's file says beside decides nothing."""
    return digest([[talk.prompt.id, talk.prompt.text, talk.messages, talk.prefill] for talk in talks])


def _line(figures: Sequence[Any], name: str, steered: bool) -> str:
    said = f"{name}: refuses {in_words(find(figures, 'unsteered', name, 'refusal_rate'))}"
    if steered:
        said += f"; steering changes that by {in_words(find(figures, 'steered', name, 'refusal_rate', 'unsteered'))}"
    return said + "."


def _wrapped(
    prompts: Sequence[Prompt], attacks: Mapping[str, Attack]
) -> tuple[dict[str, list[Conversation]], dict[str, list[str]]]:
    """The prompts under each attack, and the ids of those that an attack has nothing for."""
    sets: dict[str, list[Conversation]] = {}
    skipped: dict[str, list[str]] = {}
    for name, wrap in attacks.items():
        reasons = {prompt.id: reason for prompt in prompts if (reason := wrap.why_not(prompt))}
        if len(reasons) == len(prompts):
            raise InputError(
                f"attack {name!r} has nothing for any of the {len(prompts)} prompts: {min(reasons.values())}."
            )
        if reasons:
            skipped[name] = list(reasons)
        sets[name] = [wrap.apply(prompt) for prompt in prompts if prompt.id not in reasons]
    return sets, skipped


def _fitting(
    engine: Engine, sets: Mapping[str, list[Conversation]], new_tokens: int
) -> tuple[dict[str, list[Conversation]], dict[str, list[str]]]:
    """The conversations that the model has room for, and by set the ids of those that are too long.

    Those whose turns the engine plays first are not measured. InputError when a set has none left.
    """
    if not isinstance(engine, WhiteBoxEngine):
        return dict(sets), {}
    kept: dict[str, list[Conversation]] = {}
    long: dict[str, list[str]] = {}
    for name, rows in sets.items():
        why = {c.prompt.id: reason for c in rows if (reason := _too_long(engine, c, new_tokens))}
        if len(why) == len(rows):
            raise InputError(f"{name}: every prompt is too long for {engine.name}; {next(iter(why.values()))}")
        if why:
            long[name] = list(why)
        kept[name] = [c for c in rows if c.prompt.id not in why]
    return kept, long


def _too_long(engine: WhiteBoxEngine, conversation: Conversation, new_tokens: int) -> str:
    """Why the model has no room for a conversation; "" where it has."""
    if any(message.content is None for message in conversation.messages):
        return ""
    row = engine.row(conversation)
    try:
        engine.check_room(row, new_tokens)
    except InputError as error:
        return str(error)
    return ""


def _left_out(long: Mapping[str, Sequence[str]], engine: Engine) -> list[str]:
    """A sentence a set with prompts that are too long; the ids of a file's prompts end in their rows."""
    return [f"{name}: {len(ids)} too long for {engine.name} left out: "
            f"{', '.join(ids[:5])}{' ...' if ids[5:] else ''}." for name, ids in long.items()]  # fmt: skip


def _same_place(spec: Mapping[str, Any], out: Path) -> None:
    """InputError when `out` has the report of another evaluation, which this one would replace and does not contain."""
    if not os.path.exists(out / "results.json"):  # False for a name that no file can have
        return
    there = read_results(out).spec
    now = json.loads(json.dumps(spec))
    added = ("asked", "attacks", "inputs", BESIDE)
    other = [name for name in now if name not in added and there.get(name) != now[name]]
    if any(one not in now[BESIDE] for one in there.get(BESIDE, ())):
        other.append("judges beside")
    if there.get("inputs") != now["inputs"]:
        other += _missing(there.get("inputs"), now["inputs"])
    if other:
        raise InputError(
            f"{out} has the results of another evaluation (its {', '.join(sorted(other))} differ); give another "
            f"folder, or remove its results.json to replace them (the journal keeps both)."
        )


def _missing(then: Any, now: Mapping[str, str]) -> list[str]:
    """What of an evaluation's inputs another does not have: prompts, attacks, steering."""
    if not isinstance(then, Mapping):
        return ["inputs"]
    if then.get("direct") != now["direct"]:
        return ["prompts"]
    lost = [name for name, what in then.items() if what and now.get(name) != what]
    return [name if name == STEER else f"attack {name}" for name in lost]


def _identified(spec: Mapping[str, Any], engine: Engine, inputs: Mapping[str, str]) -> dict[str, Any]:
    """The spec with what its names stood for, as hashes: an edited prompt file or another model is another run.

    A resumed run's spec says in `asked` what they were; InputError when they are others now.
    """
    now = {"engine": asdict(engine.fingerprint), "inputs": dict(inputs)}
    then = spec["asked"].get("resumes", {})
    for name, what in (("engine", "model"), ("inputs", "prompts, attacks or steering")):
        if name in then and then[name] != now[name]:
            raise InputError(
                f"the {what} changed since this run began ({_change(name, then[name], now[name])}); "
                f"put it back, or start a new run with `demur evaluate`."
            )
    asked = {name: value for name, value in spec["asked"].items() if name != "resumes"}
    return {**spec, "asked": asked, **now}


def _change(name: str, then: Any, now: Any) -> str:
    """What was and what is, of a record only where it differs."""
    if not isinstance(then, Mapping) or not isinstance(now, Mapping):
        return f"{name}: {then} then, {now} now"
    differing = [key for key in now if then.get(key) != now[key]]
    return "; ".join(f"{key}: {then.get(key, 'unknown')} then, {now[key]} now" for key in differing)
