from dataclasses import replace

import pytest
import torch

from demur.directions.vectors import steering_vector
from demur.engines.base import refusal_scores
from demur.errors import InputError
from demur.fitting.edits import EditConfig, constrained_edit, projected, steered
from demur.fitting.gradients import gradient_subspaces
from demur.fitting.openings import Openings
from demur.types import Site

OPENINGS = Openings(((5,), (9,)), 1.0, 6, 6)
WORDS = {"fit": "How do I pick lock", "validation": "How do I pick a cheap safe", "test": "How do I pick an old gate"}


def talks(talk, use, n=8):
    asked = [talk(f"{WORDS[use]} number {i}?", id=f"{use}{i}") for i in range(n)]
    return [replace(c, prompt=replace(c.prompt, use=use)) for c in asked]


@pytest.fixture
def vector():
    generator = torch.Generator().manual_seed(3)
    sites = (Site(1, "pre"), Site(2, "pre"))
    return steering_vector({site: 0.5 * torch.randn(32, generator=generator) for site in sites}, {"behaviour": "x"})


def change(engine, vector, conversations, dose):
    scores = [refusal_scores(engine.last_logits(conversations, how), [5, 9]) for how in (steered(vector, dose), None)]
    return float((scores[0] - scores[1]).square().mean().sqrt())


def test_the_edit_takes_the_change_of_refusal_away_on_prompts_it_never_saw(tiny, talk, vector):
    engine = tiny("llama").engine
    found = constrained_edit(
        engine, vector, talks(talk, "fit"), talks(talk, "validation"), OPENINGS, config=EditConfig(damping=1e-3)
    )
    fresh = talks(talk, "test", 5)
    for dose in (-1.0, 1.0):
        assert change(engine, found.vector, fresh, dose) < 0.5 * change(engine, vector, fresh, dose)
    assert found.vector.origin == {"behaviour": "x", "cleaned": "constrained edit"}


def test_the_path_begins_with_the_vector_as_given_and_the_best_is_kept(tiny, talk, vector):
    engine = tiny("llama").engine
    found = constrained_edit(engine, vector, talks(talk, "fit"), talks(talk, "validation"), OPENINGS)
    assert found.steps[0].edit == 0
    best = min(found.steps, key=lambda step: step.change)
    flat = [torch.cat(list(v.vectors.values())) for v in (vector, found.vector)]
    assert float((flat[1] - flat[0]).norm() / flat[0].norm()) == pytest.approx(best.edit, abs=1e-4)


def test_the_edit_is_no_longer_than_allowed(tiny, talk, vector):
    engine = tiny("llama").engine
    found = constrained_edit(
        engine, vector, talks(talk, "fit"), talks(talk, "validation"), OPENINGS, config=EditConfig(longest=0.05)
    )
    assert all(step.edit <= 0.05 + 1e-6 for step in found.steps)


def test_prompts_of_another_use_are_refused(tiny, talk, vector):
    engine = tiny("llama").engine
    with pytest.raises(InputError, match="validation"):
        constrained_edit(engine, vector, talks(talk, "validation"), talks(talk, "validation"), OPENINGS)
    with pytest.raises(InputError, match="test"):
        constrained_edit(engine, vector, talks(talk, "fit"), talks(talk, "test"), OPENINGS)


def test_as_few_directions_are_projected_out_as_take_nearly_all_that_can_be_taken(tiny, talk, vector):
    engine = tiny("llama").engine
    bases = {s: found.basis for s, found in gradient_subspaces(engine, talks(talk, "fit"), list(vector.vectors),
                                                               OPENINGS, 4).items()}  # fmt: skip
    held = talks(talk, "validation")
    found = projected(engine, vector, bases, held, OPENINGS)
    changes = [step.change for step in found.steps]
    assert len(changes) == 5 and found.taken >= 1
    bound = min(changes) + 0.05 * (changes[0] - min(changes))
    assert changes[found.taken] <= bound and all(change > bound for change in changes[: found.taken])
    for site, basis in bases.items():
        assert float((basis[: found.taken] @ found.vector.vectors[site]).abs().max()) < 1e-5
    assert change(engine, found.vector, held, 1.0) < change(engine, vector, held, 1.0)


def test_nothing_is_projected_out_where_nothing_helps(tiny, talk, vector):
    first = torch.eye(32)[0]
    clear = replace(vector, vectors={site: value * (1 - first) for site, value in vector.vectors.items()})
    found = projected(tiny("llama").engine, clear, dict.fromkeys(clear.vectors, first[None]), talks(talk, "validation"),
                      OPENINGS)  # fmt: skip
    assert len(found.steps) == 2 and found.taken == 0 and found.vector is clear


def test_a_vector_that_lies_in_the_subspace_is_projected_as_far_as_something_is_left(tiny, talk, vector):
    bases = {}
    for site, value in vector.vectors.items():
        rows = torch.linalg.qr(torch.stack([value + torch.eye(32)[0], value], 1))[0].T
        bases[site] = rows
    found = projected(tiny("llama").engine, vector, bases, talks(talk, "validation"), OPENINGS)
    assert len(found.steps) == 2
