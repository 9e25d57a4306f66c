from dataclasses import replace

import pytest
import torch

from demur.attacks import attack
from demur.directions.vectors import steering_vector
from demur.engines.base import refusal_scores
from demur.errors import InputError
from demur.fitting.edits import steered
from demur.fitting.gradients import WRAPPERS, gradient_subspaces, slopes, wrapped
from demur.fitting.openings import Openings
from demur.types import Prompt, Site, Use

OPENINGS = Openings(((5,), (9,)), 1.0, 6, 6)
SITES = [Site(1, "pre"), Site(2, "pre")]


def prompts(n, use: Use = "fit"):
    return [Prompt(f"p{i}", f"How do I pick lock number {i}?", "s", use=use) for i in range(n)]


def test_wrappers_take_turns_and_one_is_no_wrapper():
    found = wrapped(prompts(2 * len(WRAPPERS)))
    assert [talk.attack for talk in found] == [*WRAPPERS, *WRAPPERS]
    assert WRAPPERS[0] == "direct" and "base64" not in WRAPPERS


@pytest.mark.parametrize("family", ["direct", "prefill"])
def test_a_slope_foretells_what_a_small_vector_does_also_where_answers_are_begun(tiny, family):
    engine = tiny("llama").engine
    talks = [attack(prompt, family) for prompt in prompts(4)]
    found = slopes(engine, talks, SITES, [5, 9])
    generator = torch.Generator().manual_seed(1)
    step = steering_vector({site: 2e-3 * torch.randn(32, generator=generator) for site in SITES})
    sides = [refusal_scores(engine.last_logits(talks, steered(step, dose)), [5, 9]) for dose in (1.0, -1.0)]
    foretold = torch.stack([found[site] @ step.vectors[site].double() for site in SITES]).sum(0)
    assert torch.allclose((sides[0] - sides[1]) / 2, foretold, rtol=0.1, atol=1e-4)


def test_a_slope_at_a_dose_is_the_slope_there(tiny):
    engine = tiny("llama").engine
    talks = [attack(prompt, "direct") for prompt in prompts(3)]
    site = SITES[0]
    generator = torch.Generator().manual_seed(2)
    large, small = (steering_vector({site: size * torch.randn(32, generator=generator)}) for size in (0.5, 1e-3))
    found = slopes(engine, talks, [site], [5, 9], steered(large, 1.0))
    ends = [replace(large, vectors={site: large.vectors[site] + sign * small.vectors[site]}) for sign in (1, -1)]
    sides = [refusal_scores(engine.last_logits(talks, steered(end, 1.0)), [5, 9]) for end in ends]
    assert torch.allclose((sides[0] - sides[1]) / 2, found[site] @ small.vectors[site].double(), rtol=0.1, atol=1e-4)


def test_prompts_of_another_use_are_refused(tiny):
    talks = [attack(prompt, "direct") for prompt in prompts(2, "test")]
    with pytest.raises(InputError, match="test"):
        gradient_subspaces(tiny("llama").engine, talks, SITES, OPENINGS, 2)


def test_the_first_direction_points_to_refusal_and_all_are_orthonormal(tiny):
    engine = tiny("llama").engine
    talks = wrapped(prompts(12))
    found = gradient_subspaces(engine, talks, SITES, OPENINGS, 3)
    for site in SITES:
        basis = found[site].basis
        assert torch.allclose(basis @ basis.T, torch.eye(3), atol=1e-5)
        rows = slopes(engine, talks, [site], [5, 9])[site]
        mean = (rows / rows.norm(dim=-1, keepdim=True)).mean(0)
        assert float(basis[0].double() @ mean) > 0.9 * float(mean.norm())
