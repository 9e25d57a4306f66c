from typing import Any

import pytest
import torch
from tests.planted import Planted

from demur.engines.mock import MockEngine
from demur.errors import InputError, NoDirection, NonFinite
from demur.fitting.candidates import MOST_RELAXED, Bounds, Candidate, Grid, SearchState, best_of
from demur.fitting.direction_search import choose_direction, separation
from demur.interventions import ablate
from demur.prompts.builtin import builtin
from demur.types import Conversation, Message, Site


def asked(name, use, n=8):
    return [Conversation(p, (Message("user", p.text),)) for p in builtin(name, use)[:n]]


PARTS: Any = [asked(name, use) for use in ("fit", "validation") for name in ("harmful", "plain")]


@pytest.fixture(scope="module")
def engine() -> Planted:
    return Planted()


@pytest.fixture(scope="module")
def fit(engine):
    return choose_direction(engine, *PARTS)


def test_it_recovers_the_planted_direction(engine, fit):
    assert abs(float(fit.direction.vector @ engine.direction.vector)) > 0.99
    assert fit.direction.vector.norm().item() == pytest.approx(1, abs=1e-5)


def test_it_tries_every_layer_below_80_percent_but_the_first_and_every_position(engine, fit):
    assert {(c.layer, c.position) for c in fit.candidates} == {(la, p) for la in (1, 2) for p in range(-5, 0)}
    steps: list[tuple[int, int]] = []
    state = SearchState(progress=lambda *at: steps.append(at))
    few = choose_direction(engine, *PARTS, grid=Grid(2, 3, (-1, -3)), state=state)
    assert [(c.layer, c.position) for c in few.candidates] == [(2, -1), (2, -3)]
    assert steps == [(0, 2), (1, 2), (2, 2)]


def test_the_dear_scores_are_measured_on_the_best_separated_candidates_only(engine):
    """Ablation on so many, addition on those that the choice is left between."""
    few = choose_direction(engine, *PARTS, grid=Grid(ablated=3))
    ablated = [c for c in few.candidates if c.ablated is not None]
    assert len(few.candidates) == 10 and len(ablated) == 3
    assert min(c.separation or 0 for c in ablated) >= max(c.separation or 0 for c in few.candidates if not c.ablated)
    assert {c.induced is None for c in few.candidates if c.ablated is None} == {True}
    assert 1 <= sum(c.induced is not None for c in ablated) <= 3


def test_the_staged_search_takes_what_the_full_one_takes(engine):
    staged, full = (choose_direction(engine, *PARTS, grid=Grid(ablated=kept)) for kept in (4, None))
    assert staged.direction.site == full.direction.site
    assert abs(float(staged.direction.vector @ full.direction.vector)) > 0.99


def test_a_score_that_is_kept_is_not_measured_again(engine):
    kept: dict[str, Any] = {}

    def keep(name, make):
        return kept.setdefault(name, None) or kept.update({name: make()}) or kept[name]

    first = choose_direction(engine, *PARTS, grid=Grid(ablated=3), state=SearchState(keep=keep))
    calls = engine.calls["last_logits"]
    again = choose_direction(engine, *PARTS, grid=Grid(ablated=3), state=SearchState(first.openings, keep))
    assert again.candidates == first.candidates and engine.calls["last_logits"] == calls


def test_a_candidate_that_breaks_the_model_is_left_out():
    """Where one candidate's ablation makes numbers that are none, the others are still there to choose from."""

    class Fragile(Planted):
        """Breaks at the first candidate that is ablated."""

        broken = 0

        def last_logits(self, conversations, intervention=None):
            if intervention is not None and not self.broken:
                self.broken += 1
                raise NonFinite("NaN at layer 1")
            return super().last_logits(conversations, intervention)

    found = choose_direction(Fragile(), *PARTS)
    assert any(c.ablated is None or c.kl is None for c in found.candidates)
    assert found.direction.vector.isfinite().all()


def test_separation_is_the_auroc_times_the_share_of_the_stream():
    axis = torch.tensor([2.0, 0.0])
    high, low = torch.tensor([[4.0, 0.0], [3.0, 4.0]]), torch.tensor([[0.0, 4.0], [0.0, 5.0]])
    assert separation(axis, high, low) == pytest.approx(1.0 * 2 / 4)
    assert separation(axis, low, high) == 0.0


def test_it_keeps_the_allowed_candidate_that_ablates_refusal_most(fit):
    allowed = [c for c in fit.candidates if Bounds().allows(c)]
    best = min(allowed, key=lambda c: c.ablated)
    assert (fit.direction.site, fit.direction.origin["position"]) == (Site(best.layer, "pre"), best.position)
    assert fit.direction.origin["scores"]["ablated"] == best.ablated


def test_the_unnormalised_difference_and_the_norm_go_with_it(engine, fit):
    site = fit.direction.site
    raw = fit.difference.vectors[site]
    torch.testing.assert_close(raw / raw.norm(), fit.direction.vector)
    plain = asked("plain", "fit", 1000)
    assert fit.direction.norm == fit.difference.norms[site] == engine.activations(plain, [site]).median_norm(site)


def test_it_says_how_it_was_made(engine, fit):
    origin: Any = fit.direction.origin
    assert "2406.11717" in origin["method"]
    assert origin["weights"] == engine.fingerprint.weights
    assert origin["candidates"] == len(fit.candidates) == 10
    assert origin["openings_auroc"] == fit.openings.auroc == 1.0


def test_ablating_it_makes_the_model_comply(engine, fit):
    off = ablate(fit.direction).bind(engine.n_layers)
    assert [engine.decide(c, None) for c in PARTS[2]] == ["refuse"] * 8
    assert [engine.decide(c, off) for c in PARTS[2]] == ["comply"] * 8


@pytest.mark.parametrize(("fitting", "validation"), [(0, 2), (1, 3), (0, 3)])
def test_overlapping_splits_are_refused_with_an_example(engine, fitting, validation):
    parts = [*PARTS]
    parts[validation] = [*parts[validation][1:], parts[fitting][2]]
    with pytest.raises(InputError, match=r"1 prompts are in both the fitting and the validation split, such as '.+'"):
        choose_direction(engine, *parts)


def test_a_model_that_never_refuses_has_no_refusal_direction(engine):
    with pytest.raises(InputError, match=r"0 of 16 fitting prompts were refused"):
        choose_direction(engine, asked("borderline", "fit"), *PARTS[1:])


def test_bounds_that_no_candidate_keeps_are_relaxed_until_one_does():
    near, far, weak = (Candidate(layer, -1, *scores) for layer, scores in
                       ((1, (-2.0, 0.15, -0.5)), (2, (-4.0, 0.35, -0.5)), (3, (-9.0, 0.15, -30.0))))  # fmt: skip
    assert best_of([near, far, weak], Bounds()) == (near, 1)
    assert best_of([far, weak], Bounds()) == (far, 2)
    assert best_of([weak], Bounds()) == (weak, 5)
    assert best_of([near, far], Bounds(1.0, -1.0)) == (far, 0)
    assert best_of([far, near], Bounds(0.0)) == (far, MOST_RELAXED)
    nothing = Candidate(1, -1, float("nan"), 0.0, 1.0)
    assert best_of([nothing, weak], Bounds()) == (weak, 5)
    with pytest.raises(NoDirection, match="none of 1 candidates for a refusal direction has finite scores"):
        best_of([nothing], Bounds())


def test_a_direction_says_how_far_its_bounds_were_relaxed(engine):
    """The plain mock: without its direction its helpful first word is gone, so the KL is large."""
    assert choose_direction(engine, *PARTS).direction.origin["bounds_relaxed"] == 0
    assert choose_direction(MockEngine(), *PARTS, grid=Grid(2, 2)).direction.origin["bounds_relaxed"] > 0


@pytest.mark.parametrize(
    ("grid", "message"),
    [
        (Grid(layer_step=9), "every 9th layer of the first 3 is none; take a smaller layer step"),
        (Grid(positions=(-6,)), r"positions \(-6,\) are counted from the end; choose among -5 to -1"),
        (Grid(positions=(0,)), r"positions \(0,\)"),
    ],
)
def test_an_empty_grid_is_refused(engine, grid, message):
    with pytest.raises(InputError, match=message):
        choose_direction(engine, *PARTS, grid=grid)


@pytest.mark.parametrize(
    ("kl", "induced", "allowed"), [(0.1, 0.0, True), (0.11, 5.0, False), (0.0, -0.1, False), (float("nan"), 1.0, False)]
)
def test_the_bounds(kl, induced, allowed):
    assert Bounds().allows(Candidate(1, -1, -5.0, kl, induced)) is allowed
