from typing import Any

import pytest
import torch

from demur.errors import InputError, UnknownName
from demur.evaluation.pairs import answers, asked
from demur.fitting.vectors import contrasts, fit_vector
from demur.prompts.pairs import Pair
from demur.types import Site

SITES = (Site(1, "pre"), Site(2, "post"))


def pairs(n=6, use: Any = "fit"):
    return [Pair(f"p{i}", f"What is number {i}?", f"The sea, {i}.", "Bread and wine.", *("AB", "BA")[i % 2], use=use)
            for i in range(n)]  # fmt: skip


def test_a_text_is_read_as_the_mean_over_its_answer(tiny, talk):
    engine = tiny("llama").engine
    found = contrasts(engine, pairs(3), SITES)
    for i, pair in enumerate(pairs(3)):
        whole = engine.activations([talk(pair.question, prefill=pair.matching)], SITES)
        start = int(engine.activations([talk(pair.question)], SITES).mask.sum())
        for site in SITES:
            assert torch.allclose(found.matching[site][i], whole.tensors[site][0, start:].mean(0), atol=1e-4)


def test_a_letter_is_read_at_the_letter(tiny, talk):
    engine = tiny("llama").engine
    found = contrasts(engine, pairs(2), SITES, "letter")
    for i, pair in enumerate(pairs(2)):
        assert answers(pair, "letter") == (f"({pair.letter}", f"({pair.other_letter}")
        assert "Choices:" in (asked(pair, "letter").messages[-1].content or "")
        whole = engine.activations([talk(pair.lettered, prefill=f"({pair.other_letter}")], SITES)
        for site in SITES:
            assert torch.allclose(found.other[site][i], whole.last(site)[0], atol=1e-4)


def test_a_fit_has_its_null_and_says_what_made_it(tiny):
    engine = tiny("llama").engine
    found = fit_vector(engine, pairs(), SITES, shuffles=3)
    seen = contrasts(engine, pairs(), SITES)
    for site in SITES:
        difference = seen.matching[site].mean(0) - seen.other[site].mean(0)
        assert torch.allclose(found.vector.vectors[site], difference, atol=1e-5)
        assert found.vector.norms[site] > 0
    assert [null.origin["shuffled"] for null in found.nulls] == [0, 1, 2]
    assert not torch.equal(found.nulls[0].vectors[SITES[0]], found.nulls[1].vectors[SITES[0]])
    assert found.vector.origin["pairs"] == 6 and found.vector.origin["read"] == "text"
    assert found.vector.origin["weights"] == engine.fingerprint.weights


def test_only_fitting_pairs_are_fitted_on(tiny):
    engine = tiny("llama").engine
    for some in (pairs(use="test"), []):
        with pytest.raises(InputError, match="fitting pairs"):
            fit_vector(engine, some, SITES)
    with pytest.raises(UnknownName, match="letter, text"):
        fit_vector(engine, pairs(), SITES, "word")
