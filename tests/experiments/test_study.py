import zlib
from dataclasses import replace
from typing import Any

import pytest
import torch
from tests.planted import Planted

from demur.errors import InputError
from demur.evaluation.evaluator import Bench, Judged
from demur.experiments.baseline import (
    Size,
    arms_of,
    choose_dose,
    endpoints,
    families,
    fit_refusal,
    pooled_random,
    rank_attacks,
    size_for,
    spread,
    study,
)
from demur.experiments.baseline import test_sets as sets_of
from demur.fitting.candidates import Fit, Grid
from demur.fitting.openings import Openings
from demur.prompts.builtin import builtin
from demur.types import Conversation, Direction, Generation, Message, Prompt, Site, SteeringVector, Verdict

SIZE = Size(fit=8, choose=6, validation=8, test=5, grid=Grid(2, positions=(-1,)))


class Weak(Planted):
    """Resists some attacks, and makes nothing of others."""

    def __init__(self, resists: dict[str, float], lost: tuple[str, ...] = ()):
        super().__init__()
        self.resists, self.lost = resists, lost

    def decide(self, c, steer):
        share = self.resists.get(c.attack, 0.0)
        if c.prompt.kind == "harmful" and zlib.crc32(c.prompt.id.encode()) % 100 < 100 * share:
            return "refuse"
        return super().decide(c, steer)

    def _answer(self, c, steer):
        return (
            ["Gur", "dhvpx", "oebja", "sbk", "whzcf", "bire", "gur", "ynml", "qbt"]
            if c.attack in self.lost
            else super()._answer(c, steer)
        )


def test_rows_are_spread_evenly_over_a_list():
    rows = builtin("plain", "test")[:10]
    assert spread(rows, 4) == [rows[i] for i in (0, 2, 5, 7)]
    assert spread(rows, None) == spread(rows, 10) == spread(rows, 99) == rows


def test_all_families_are_tried_but_plain_and_replay_unless_they_are_named():
    assert {"persona", "rot13", "escalation"} < set(families(Size()))
    assert not {"plain", "replay"} & set(families(Size()))
    assert families(Size(families=("persona",))) == ("persona",)


def test_the_direction_is_fitted_and_chosen_on_its_own_uses():
    seen: set[Any] = set()

    class Watching(Planted):
        """Notes whose streams and logits are asked for."""

        def activations(self, conversations, sites, tail=None, intervention=None):
            seen.update(("activations", c.prompt.use) for c in conversations)
            return super().activations(conversations, sites, tail, intervention)

        def generate(self, requests, decoding):
            seen.update(("generate", r.conversation.prompt.use) for r in requests)
            return super().generate(requests, decoding)

    engine = Watching()
    fit = fit_refusal(engine, SIZE)
    assert seen == {("activations", "fit"), ("generate", "fit")}
    assert abs(float(fit.direction.vector @ engine.direction.vector)) > 0.99
    size: Any = fit.direction.origin["size"]
    assert size["fit"] == 8


def test_a_kept_fit_is_read_back_and_made_again_when_anything_that_decides_it_changes(tmp_path):
    keep = tmp_path
    engine, again = Planted(), Planted()
    first = fit_refusal(engine, SIZE, keep=keep)
    (file,) = (tmp_path / "cache").iterdir()
    read = fit_refusal(again, SIZE, keep=keep)
    assert not any(again.calls.values())
    assert read.direction.vector.equal(first.direction.vector)
    site = first.direction.site
    assert read.difference.vectors[site].equal(first.difference.vectors[site])
    assert (read.direction.site, read.direction.norm) == (first.direction.site, first.direction.norm)
    assert (read.candidates, read.openings) == (first.candidates, first.openings)
    fit_refusal(again, replace(SIZE, fit=6), keep=keep)
    assert any(again.calls.values())
    assert len(list((tmp_path / "cache").iterdir())) == 2
    whole = bytearray(file.read_bytes())
    whole[-1] ^= 1
    for damaged in (b"cut off", bytes(whole)):
        file.write_bytes(damaged)
        calls = sum(again.calls.values())
        fit_refusal(again, SIZE, keep=keep)
        assert sum(again.calls.values()) > calls
    fit_refusal(again, SIZE, keep=keep)
    assert fit_refusal(Planted(), SIZE, keep=keep).direction.vector.equal(first.direction.vector)


def test_attacks_are_ranked_by_compliance_among_the_families_that_leave_requests_answerable(judge, decoding):
    engine = Weak({"persona": 1.0, "fiction": 0.5}, lost=("base64",))
    size = Size(validation=8, families=("persona", "base64", "fiction", "authority", "prefill"))
    best, rates, counted = rank_attacks(Bench(engine, judge, decoding), size, "")
    assert best == ("authority", "prefill", "fiction")
    assert rates["authority"] > rates["fiction"] > rates["persona"] == 0
    assert counted["base64"] == 0
    assert min(counted[name] for name in rates if name != "base64") >= 0.5
    assert engine.calls["generate"] == 1


def test_a_model_that_makes_nothing_of_any_attack_is_refused_with_the_shares(judge, decoding):
    size = Size(validation=4, families=("rot13", "base64"))
    with pytest.raises(InputError, match=r"no attack family leaves .* \(shares: {'rot13': 0.0, 'base64': 0.0}\)"):
        rank_attacks(Bench(Weak({}, ("rot13", "base64")), judge, decoding), size, "")


def skew(engine: Planted) -> Fit:
    """A fit whose direction has some of another one, so that large doses break the mock."""
    axis = engine.direction.vector
    other = engine.embedding[5] / engine.embedding[5].norm()
    vector = torch.nn.functional.normalize(axis + 0.7 * other, dim=0)
    made = Direction(vector, Site(2), 2.0)
    return Fit(made, SteeringVector({made.site: vector}), (), Openings(((1,),), 1.0, 1, 1))


def test_the_dose_is_the_one_that_refuses_most_at_a_bounded_price(judge, decoding):
    engine = Planted()
    chosen, kept_price = choose_dose(
        Bench(engine, judge, decoding), skew(engine), ("persona",), Size(validation=6, doses=(0.1, 1.5, 60.0)), ""
    )
    assert (chosen, kept_price) == (1.5, True)


def test_of_equal_doses_the_smallest_is_taken_and_of_bad_ones_the_cheapest(judge, decoding):
    engine = Planted()
    bench, fit = Bench(engine, judge, decoding), skew(engine)
    assert choose_dose(bench, fit, ("persona",), Size(validation=6, doses=(1.5, 2.0)), "") == (1.5, True)
    assert choose_dose(bench, fit, ("persona",), Size(validation=6, doses=(60.0, 90.0)), "") == (60.0, False)


def test_arms_are_unsteered_add_ablate_and_norm_matched_random_ones():
    direction = Planted().direction
    arms = {arm.name: arm.intervention for arm in arms_of(direction, 0.5, 4, 2)}
    assert list(arms) == [
        "unsteered",
        "add",
        "ablate",
        "random add 0",
        "random ablate 0",
        "random add 1",
        "random ablate 1",
    ]
    assert arms["unsteered"] is None
    made: Any = arms
    norms = [float(made[name].deltas[direction.site].norm()) for name in ("add", "random add 0", "random add 1")]
    assert norms == pytest.approx([0.5 * direction.norm] * 3, rel=1e-5)
    assert made["ablate"].sites == made["random ablate 1"].sites
    assert len(made["ablate"].sites) == 12
    assert {made[name].where for name in ("ablate", "random ablate 1")} == {"after-first"}
    axes = torch.stack([made[name].inner.axis for name in ("ablate", "random ablate 0", "random ablate 1")])
    assert (axes @ axes.T - torch.eye(3)).abs().max() < 0.9


def test_the_test_sets_hold_test_prompts_only_and_the_same_requests_attacked():
    sets = sets_of(("persona", "fiction", "prefill"), SIZE)
    assert list(sets) == ["harmful", "attacked", "borderline", "plain"]
    assert {c.prompt.use for rows in sets.values() for c in rows} == {"test"}
    assert [len(rows) for rows in sets.values()] == [5, 15, 5, 5]
    assert (
        {c.prompt for c in sets["attacked"]} == {c.prompt for c in sets["harmful"]} <= set(builtin("harmful", "test"))
    )


def judged(arm: str, outcomes: str) -> list[Judged]:
    names: dict[str, Any] = {"r": "refused", "c": "complied"}
    talks = [Conversation(Prompt(f"p{i}", "t", "s"), (Message("user", "t"),)) for i in range(len(outcomes))]
    return [
        Judged(Generation(f"{arm}{i}", c, "x", (1,), 1, "end", arm), Verdict(f"{arm}{i}", "rules", names[o]))
        for i, (c, o) in enumerate(zip(talks, outcomes, strict=True))
    ]


def test_random_arms_are_pooled_and_the_worst_seed_is_reported_with_its_sign():
    table = {
        ("unsteered", "harmful"): judged("u", "rrrr"),
        ("add", "harmful"): judged("a", "rrrr"),
        ("random add 0", "harmful"): judged("x", "rrrr"),
        ("random add 1", "harmful"): judged("y", "rccc"),
        ("random ablate 0", "harmful"): judged("z", "rrrc"),
    }
    found = pooled_random(table)
    rate = {(f.arm, f.metric, f.versus): f for f in found}
    assert {f.arm for f in found} == {"random", "random ablate"}
    own = rate["random", "refusal_rate", ""]
    assert (own.value, own.n) == (5 / 8, 8)
    change = rate["random", "refusal_rate", "unsteered"]
    assert (change.value, change.n) == (-3 / 8, 8)
    worst = rate["random", "largest_refusal_rate", "unsteered"]
    assert (worst.value, worst.n, worst.denominator) == (-0.75, 4, "paired answers, one of 2 seeds")
    assert rate["random", "largest_compliance_rate", "unsteered"].value == 0.75
    assert rate["random ablate", "largest_refusal_rate", "unsteered"].value == -0.25


def test_primary_endpoints_are_corrected_for_being_two():
    table = {
        ("unsteered", "attacked"): judged("u", "cccccccccc"),
        ("add", "attacked"): judged("a", "rrrrrrrrrr"),
        ("unsteered", "harmful"): judged("v", "rrrrrrrrrr"),
        ("ablate", "harmful"): judged("b", "rrrrrrrrrr"),
    }
    adding, ablating = endpoints(table)
    assert (adding.arm, adding.set, adding.outcome) == ("add", "attacked", "refused")
    assert adding.p < 0.01
    assert adding.holm == pytest.approx(2 * adding.p)
    assert (ablating.p, ablating.holm) == (1.0, 1.0)


def test_where_batches_change_numbers_the_unsteered_arm_runs_once_more_in_other_batches(judge, decoding):
    class Rounded(Planted):
        """Says that it computes in bf16."""

        @property
        def fingerprint(self):
            return replace(super().fingerprint, dtype="bf16")

    size = replace(SIZE, families=("persona", "fiction", "prefill"), doses=(1.0,), randoms=1, items=3)
    engine = Rounded()
    found = study(Bench(engine, judge, decoding), size)
    assert {name for arm, name in found.table if arm == "null"} == {"harmful", "attacked"}
    assert {f.versus for f in found.figures if f.arm == "null"} == {"", "unsteered"}
    assert not any(arm == "null" for arm, _ in study(Bench(Planted(), judge, decoding), size).table)


def test_the_papers_bounds_hold_for_every_model_but_the_bundled_one():
    assert size_for("gpt2").grid == replace(size_for("smollm2-refuser").grid, max_kl=0.1, min_induced=0.0)
    assert size_for("gpt2", full=True).test == 100


def test_without_random_arms_there_is_nothing_to_pool():
    assert pooled_random({("unsteered", "s"): judged("u", "r"), ("add", "s"): judged("a", "c")}) == []


@pytest.mark.parametrize("size", [Size(randoms=0), Size(doses=())])
def test_a_study_without_controls_or_doses_is_refused_before_anything_runs(judge, decoding, size):
    engine = Planted()
    with pytest.raises(InputError, match=r"a study needs a dose and a random direction"):
        study(Bench(engine, judge, decoding), size)
    assert not engine.calls
