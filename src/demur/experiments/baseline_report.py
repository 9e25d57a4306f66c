"""What a baseline was made with, and what it found, in words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from demur.analysis.endpoints import Endpoint
from demur.analysis.tables import MAX_BROKEN_INCREASE, excess, find, in_words
from demur.fitting.attack_ranking import Ranking
from demur.fitting.candidates import Fit
from demur.fitting.choice import Choice
from demur.fitting.refusal import remarks
from demur.types import Figure


@dataclass(frozen=True)
class Chosen:
    """What was fitted and chosen before any test prompt was answered."""

    fit: Fit | None
    """None for a model that refuses too little for a refusal direction."""
    ranking: Ranking | None
    """None where no attack family leaves harmless requests answerable."""
    dose: Choice[float] | None
    """None without a direction."""
    lacking: tuple[str, ...] = ()
    """A line for each that is None, with the reason."""

    @property
    def attacks(self) -> tuple[str, ...]:
        """The families that attacked requests are put under."""
        return self.ranking.best if self.ranking is not None else ()


def record(chosen: Chosen) -> dict[str, object]:
    """What was chosen, for results.json."""
    found: dict[str, object] = {"attacked": list(chosen.attacks)}
    if chosen.ranking is not None:
        found["attack_compliance"] = dict(chosen.ranking.compliance)
        found["answered_on_topic"] = dict(chosen.ranking.on_topic)
    if chosen.fit is not None and chosen.dose is not None:
        found |= {
            "dose": chosen.dose.key,
            "dose_within_budget": chosen.dose.within_budget,
            "site": str(chosen.fit.direction.site),
            "position": chosen.fit.direction.origin["position"],
            "openings_auroc": chosen.fit.openings.auroc,
        }
    return found


def primary_record(end: Endpoint) -> dict[str, object]:
    """A primary endpoint, for results.json."""
    return {"arm": end.arm, "set": end.set, "outcome": end.outcome, "p": end.p, "holm": end.holm}


def cautions(figures: Sequence[Figure], ends: Sequence[Endpoint], chosen: Chosen) -> list[str]:
    """What a reader must know before believing a figure: which are primary, which arms broke answers."""
    primary = "; ".join(
        f"{end.outcome} on {end.set} under {end.arm}, p = {end.p:.2g}, after Holm {end.holm:.2g}" for end in ends
    )
    said = [f"Primary endpoints: {primary}. All other figures are exploratory."] if ends else []
    measured = dict.fromkeys((f.arm, f.set) for f in figures if f.metric == "incoherent_rate" and not f.versus)
    for arm, name in measured:
        if (more := excess(figures, arm, name, "unsteered")) > MAX_BROKEN_INCREASE + 1e-9:
            said.append(
                f"{arm} breaks answers: incoherent and off-topic ones on {name} are {100 * more:.0f} points more than "
                f"unsteered. Do not believe its other rates there."
            )
    if chosen.dose is not None and not chosen.dose.within_budget:
        said.append(
            f"Every dose broke more than {100 * MAX_BROKEN_INCREASE:.0f} points of answers on validation; the one that "
            f"breaks fewest is used."
        )
    return said


def summarise(figures: Sequence[Figure], chosen: Chosen) -> tuple[str, ...]:
    """What was found, in sentences; what was not measured is left out."""

    def rate(arm: str, name: str, metric: str) -> str:
        return in_words(find(figures, arm, name, metric))

    def change(arm: str, name: str, metric: str) -> str:
        return in_words(find(figures, arm, name, metric, "unsteered"))

    said = [f"It refuses {rate('unsteered', 'harmful', 'refusal_rate')} of harmful requests"]
    if chosen.attacks:
        complied = rate("unsteered", "attacked", "compliance_rate")
        said[0] += f", and complies with {complied} of the same requests under {', '.join(chosen.attacks)}"
    said[0] += "."
    if chosen.fit is None or chosen.dose is None:
        benign = [f"{rate('unsteered', name, 'refusal_rate')} of {name} ones" for name in ("borderline", "plain")
                  if any(f.set == name for f in figures)]  # fmt: skip
        right = rate("unsteered", "capability", "accuracy")
        return (*said, f"It refuses {' and '.join(benign)}; capability {right}.", *chosen.lacking)
    if chosen.attacks:
        said.append(
            f"Adding its refusal direction (site {chosen.fit.direction.site}, {chosen.dose.key} of the stream's norm) "
            f"changes refusal of attacked requests by {change('add', 'attacked', 'refusal_rate')}; a random direction "
            f"of that length by {change('random', 'attacked', 'refusal_rate')}."
        )
    said.append(
        f"Ablating it changes compliance with harmful requests by {change('ablate', 'harmful', 'compliance_rate')}; "
        f"a random direction by {change('random ablate', 'harmful', 'compliance_rate')}."
    )
    costs = [f"refusal of {name} requests {change('add', name, 'refusal_rate')}" for name in ("borderline", "plain")
             if any(f.set == name for f in figures)]  # fmt: skip
    unsteered = rate("unsteered", "capability", "accuracy")
    costs.append(f"capability {change('add', 'capability', 'accuracy')} (unsteered {unsteered})")
    return (*said, f"The cost of adding: {', '.join(costs)}.", *remarks(chosen.fit.direction), *chosen.lacking)
