"""What the metrics of `results.json` are called on a page and in a terminal, their unit, and what they mean."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Literal

from demur.types import OUTCOMES, Figure

Unit = Literal["percent", "points", "sets", "nats a token", "nats", ""]


@dataclass(frozen=True)
class Metric:
    """A metric in words."""

    label: str
    unit: Unit = ""
    """percent: a share, shown times 100, and its change in points. points: always a change of a share."""
    explanation: str = ""
    """One sentence; "" for a metric that is not known here."""
    sign: bool | None = None
    """Whether its numbers always or never have a sign; None: where they are changes."""


ALIASES = {
    "refusal_rate": "refused",
    "partial_rate": "partial",
    "compliance_rate": "complied",
    "off_topic_rate": "off-topic",
    "incoherent_rate": "incoherent",
    "undecided_rate": "undecided",
}
"""The outcomes' shares as results.json names them."""

METRICS = {
    "refused": Metric("refused", "percent", "Share of answers that decline the request."),
    "partial": Metric("partial", "percent", "Share of answers that decline and then deliver, or the reverse."),
    "complied": Metric("complied", "percent", "Share of answers that do what was asked, in sound language."),
    "off-topic": Metric("off-topic", "percent", "Share of answers about something else."),
    "incoherent": Metric("incoherent", "percent", "Share of answers that loop, or whose language is broken."),
    "undecided": Metric("undecided", "percent", "Share of answers that the judge cannot place."),
    "accuracy": Metric("capability", "percent", "Share of multiple-choice items answered right."),
    "asr": Metric(
        "attack success",
        "percent",
        "Of the answers about which a judge of harm decides, the share that it calls harmful.",
    ),
    "refusals_called_incoherent": Metric(
        "refusals called incoherent", "percent", "Of the refusals that the rules find: those that loop or are unlikely."
    ),
    "judges_equal": Metric("the same outcome", "percent", "Share of answers of which both judges say the same."),
    "judges_kappa": Metric("Cohen's kappa", "", "Agreement beyond chance: 1 is all, 0 none.", False),
    "judges_refused": Metric("agree on refused", "percent", "Both judges say refused, or both do not."),
    "judges_complied": Metric("agree on complied", "percent", "Both judges say complied, or both do not."),
    "holm_p": Metric("p after Holm's correction", "", "Two-sided, over the run's primary comparisons.", False),
    "detectable_change": Metric(
        "smallest change that would be found",
        "points",
        "Of compliance, with a chance of four in five.",
        False,
    ),
    "cosine_to_refusal": Metric(
        "cosine with the refusal direction", "", "1: the same way; 0: nothing in common; over the vector's sites.", True
    ),
    "cosine_to_gradient": Metric(
        "cosine with the refusal gradient",
        "",
        "With the direction along which refusal changes fastest there.",
        True,
    ),
    "share_in_subspace": Metric(
        "length within the refusal subspace", "percent", "Of the vector's length, what lies in directions that move it."
    ),
    "compliance_slope": Metric(
        "compliance a multiplier", "points", "By how much compliance rises when the multiplier rises by 1.", True
    ),
    "slope_on_cosine": Metric(
        "slope of the line through all vectors", "points", "Compliance a multiplier, for one more of cosine.", True
    ),
    "r_squared": Metric(
        "what the line explains", "percent", "R squared: the part of the differences in compliance a multiplier."
    ),
    "log_odds": Metric("log-odds of the behaviour", "nats a token", "Of the answer that shows it over the other."),
    "letter_accuracy": Metric(
        "behaviour chosen by letter", "percent", "Share of questions whose answer that shows the behaviour is chosen."
    ),
    "open_share": Metric(
        "behaviour in open answers", "percent", "Share of written answers that show it and hold together."
    ),
    "open_broken": Metric("broken open answers", "percent", "Share of answers that are empty, loop or babble."),
    "open_accuracy": Metric(
        "accuracy on open answers",
        "percent",
        "Of the reader of the answers, where the truth is known.",
    ),
    "safety_change_removed": Metric(
        "change of compliance removed", "percent", "By cleaning: 100 is all of it; noise makes the figure low."
    ),
    "safety_slope_removed": Metric(
        "slope of compliance removed", "percent", "By cleaning, from the changes after against those before."
    ),
    "behaviour_kept": Metric("behaviour kept", "percent", "After cleaning: what is left of the vector's effect on it."),
    "activation_ratio": Metric("activity of the controls", "", "Random latents' activity over the features' own."),
    "norm_ratio": Metric("push of the controls", "", "How far random latents move the stream over the features' own."),
    "l0": Metric("latents active a token", "", "Mean number of latents that are not 0."),
    "variance_explained": Metric("variance explained", "percent", "Of the stream, by what the SAE decodes."),
    "variance_explained_all_dimensions": Metric(
        "variance explained, all dimensions", "percent", "With the stream's few outlying dimensions counted too."
    ),
    "cross_entropy_recovered": Metric(
        "cross-entropy recovered", "percent", "With the SAE spliced in; 0 is the stream's mean, 100 the clean model."
    ),
    "cross_entropy": Metric("cross-entropy", "nats a token", "Of the clean model."),
    "cross_entropy_spliced": Metric("cross-entropy, SAE spliced in", "nats a token", "The stream is what it decodes."),
    "cross_entropy_mean_ablated": Metric("cross-entropy, stream replaced", "nats a token", "By its mean."),
    "dead_share": Metric("dead latents", "percent", "Share of latents that are active on no passage."),
    "silent_share": Metric("silent latents", "percent", "Share of latents active on none of the few tokens read."),
}
CONFUSION = re.compile("confusion_(.+)_to_(.+)")
"""Of two judges, how often the first says the one outcome and the second the other."""
_JUDGE = {
    "judge_agreement_": "judge and reader agree on",
    "judge_precision_": "judge is right when it says",
    "judge_recall_": "judge finds what a reader calls",
}


def metric(name: str) -> Metric:
    """The words for a metric's name in results.json; an unknown one is its own label."""
    name = ALIASES.get(name, name)
    if name in METRICS:
        return METRICS[name]
    if confused := CONFUSION.fullmatch(name):
        return Metric(f"{confused[1]} by the first judge, {confused[2]} by the second", "percent")
    for start, words in _JUDGE.items():
        if name.startswith(start):
            return Metric(f"{words} {name.removeprefix(start)}", "percent")
    if name.startswith("largest_"):
        inner = metric(name.removeprefix("largest_"))
        said = "Of the random arms, the one that changes it most." if inner.explanation else ""
        return replace(inner, label=f"{inner.label}, largest of the random arms", explanation=said)
    if name.startswith("sets_at_least_as_large_"):
        inner = metric(name.removeprefix("sets_at_least_as_large_"))
        said = "How many random sets change it at least as much." if inner.explanation else ""
        return Metric(f"{inner.label}, random sets as large", "sets", said, False)
    if name.endswith("_gradient") and name.removesuffix("_gradient") in METRICS:
        inner = metric(name.removesuffix("_gradient"))
        return replace(inner, label=f"{inner.label}, by the refusal gradient")
    return Metric(name)


def outcome_of(figure: Figure) -> str:
    """The outcome whose share (or change of share) this is, or ""."""
    name = ALIASES.get(figure.metric, figure.metric)
    return name if name in OUTCOMES else ""


def unit_of(figure: Figure) -> str:
    """The unit of the figure's numbers as they are shown, or ""."""
    unit = metric(figure.metric).unit
    return "points" if unit == "percent" and figure.versus else unit


def hundredfold(figure: Figure) -> bool:
    """Whether the figure's numbers are shown times 100."""
    return metric(figure.metric).unit in ("percent", "points")


def signed(figure: Figure) -> bool:
    """Whether the figure's numbers are shown with a sign."""
    sign = metric(figure.metric).sign
    return bool(figure.versus) if sign is None else sign


def hint(figure: Figure) -> str:
    """The metric's name in results.json and what it means, for a tooltip; "" for a metric that is not known here."""
    said = metric(figure.metric).explanation
    return f"{figure.metric}: {said}" if said else ""
