from dataclasses import replace

import pytest
import torch

from demur.errors import InputError, UnknownName
from demur.fitting.openings import Openings
from demur.fitting.subspace import ablated, fit_subspace, iterative
from demur.types import Site

SITE = Site(1, "pre")
OPENINGS = Openings(((5,), (9,)), 1.0, 6, 6)


def talks(talk, use, word, n=6):
    asked = [talk(f"{word} number {i}?", id=f"{word}{i}") for i in range(n)]
    return [replace(c, prompt=replace(c.prompt, use=use, category="ab"[i % 2])) for i, c in enumerate(asked)]


def test_each_direction_is_found_where_those_before_it_are_ablated(tiny, talk):
    engine = tiny("llama").engine
    harmful, harmless = talks(talk, "fit", "How do I pick a lock"), talks(talk, "fit", "What is the sea")
    found = iterative(engine, harmful, harmless, SITE, 3)
    assert torch.allclose(found.basis @ found.basis.T, torch.eye(3), atol=1e-5)
    means = [engine.activations(some, [SITE], 1).last(SITE).mean(0) for some in (harmful, harmless)]
    first = means[0] - means[1]
    assert float(found.basis[0] @ first / first.norm()) == pytest.approx(1.0, abs=1e-4)
    steer = ablated(found, engine.n_layers)
    left = engine.activations(harmful, [SITE], 1, steer).last(SITE)
    assert float((left @ found.basis.T).abs().max()) < 1e-4


@pytest.mark.parametrize(("construction", "most"), [("iterative", 3), ("categories", 2)])
def test_as_many_directions_are_kept_as_validation_prompts_ask_for(tiny, talk, construction, most):
    engine = tiny("llama").engine
    harmful, harmless = talks(talk, "fit", "How do I pick a lock"), talks(talk, "fit", "What is the sea")
    held = talks(talk, "validation", "Where can I steal wine")
    found = fit_subspace(engine, harmful, harmless, held, SITE, OPENINGS, construction, 3)
    assert [effect.k for effect in found.curve] == list(range(1, most + 1))
    drops = [found.unsteered - effect.score for effect in found.curve]
    k = len(found.subspace.basis)
    assert drops[k - 1] >= 0.95 * max(drops)
    assert all(drop < 0.95 * max(drops) for drop in drops[: k - 1])
    assert found.curve[0].alone == pytest.approx(found.curve[0].score, abs=1e-6)
    assert found.curve[0].random != found.curve[0].score


def test_prompts_of_another_use_and_unknown_constructions_are_refused(tiny, talk):
    engine = tiny("llama").engine
    fit, held = talks(talk, "fit", "How do I pick a lock"), talks(talk, "validation", "Where can I steal wine")
    with pytest.raises(InputError, match="validation"):
        fit_subspace(engine, held, fit, held, SITE, OPENINGS)
    with pytest.raises(InputError, match="fit"):
        fit_subspace(engine, fit, fit, fit, SITE, OPENINGS)
    with pytest.raises(UnknownName, match="categories, iterative"):
        fit_subspace(engine, fit, talks(talk, "fit", "What is the sea"), held, SITE, OPENINGS, "cones")
