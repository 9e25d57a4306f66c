from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch

from demur.errors import InputError
from demur.features import Attributions, Exact, Pair, agreement, attribute, exact, sample_pairs
from demur.types import Site


@pytest.fixture(name="invented")
def _invented(ask):
    return partial(invent, ask)


def invent(ask, prompts=12, some=(30, 20), seed=0) -> Attributions:
    """Attributions of random sizes over many orders of magnitude, a third of them 0."""
    random = np.random.default_rng(seed)
    sites = [Site(1), Site(3)]
    values: dict[Site, Any] = {}
    for site, n in zip(sites, some, strict=True):
        x = random.normal(size=(prompts, n)) * 10 ** random.uniform(-4, 1, size=(prompts, n))
        values[site] = torch.tensor(x * (random.random((prompts, n)) > 1 / 3)).float()
    return Attributions(
        conversations=tuple(ask(["pick a lock"] * prompts)),
        latents={site: 5 + 3 * torch.arange(n) for site, n in zip(sites, some, strict=True)},
        values=values,
        counts=torch.arange(1, prompts + 1),
        refusal=torch.zeros(prompts, dtype=torch.long),
        jailbroken=torch.ones(prompts, dtype=torch.long),
        clean=-torch.ones(prompts),
        patched=torch.ones(prompts),
        positions="content",
        saes={},
        origin={},
        seconds=2.0,
    )


def total(found, pair):
    at = found.latents[pair.site].tolist().index(pair.latent)
    return float(found.values[pair.site][pair.prompt, at]) * int(found.counts[pair.prompt])


def test_pairs_come_from_every_quantile_bin_alike_and_are_never_0(invented):
    found = invented()
    pairs = sample_pairs(found, 60, 6)
    assert len(set(pairs)) == 60
    assert {pair.site for pair in pairs} == set(found.values)
    sizes = np.sort(np.abs(torch.cat([found.totals(site).flatten() for site in found.values]).numpy()))
    edges = np.quantile(sizes[sizes > 0], np.linspace(0, 1, 7))
    mine = np.array([abs(total(found, pair)) for pair in pairs])
    assert mine.min() > 0
    assert np.histogram(mine, edges)[0].tolist() == pytest.approx([10] * 6, abs=1)
    assert sample_pairs(found, 60, 6) == pairs
    assert sample_pairs(found, 60, 6, seed=1) != pairs
    assert len(sample_pairs(found, 7, 3)) == 7


def test_samples_that_cannot_be_drawn_are_refused(invented):
    found = invented(2, (3, 3))
    with pytest.raises(InputError, match=r"\d+ of 12 attributions are not 0, and 50 were asked for; take fewer"):
        sample_pairs(found, 50)
    for n, bins in ((5, 6), (5, 0)):
        with pytest.raises(InputError, match=f"{n} pairs cannot be drawn from {bins} bins"):
            sample_pairs(found, n, bins)


def test_perfect_and_reversed_and_shuffled_agreement(invented):
    found = invented()
    pairs = sample_pairs(found, 100)
    right = torch.tensor([total(found, pair) for pair in pairs])
    same = agreement(found, Exact(tuple(pairs), right.sinh(), 5.0))
    assert tuple(same.spearman) == pytest.approx((1.0, 1.0, 1.0))
    torch.testing.assert_close(same.predicted, right)
    assert agreement(found, Exact(tuple(pairs), -right, 5.0)).spearman.value == pytest.approx(-1.0)
    mixed = right[torch.randperm(100, generator=torch.Generator().manual_seed(0))]
    none = agreement(found, Exact(tuple(pairs), mixed, 5.0))
    assert none.spearman.low < 0 < none.spearman.high
    assert none.prompts == len({pair.prompt for pair in pairs})


def test_the_ratio_is_of_exact_patching_everything_that_attribution_scored(invented):
    found = invented()
    pairs = sample_pairs(found, 50)
    done = agreement(found, Exact(tuple(pairs), torch.randn(50), 5.0))
    scored = sum(int((values != 0).sum()) for values in found.values.values())
    assert done.scored == scored
    assert done.ratio == pytest.approx(5.0 / 50 * scored / 2.0)


def test_a_latent_that_was_no_candidate_cannot_be_compared(invented):
    with pytest.raises(InputError, match="latent 6 at 1.pre was no candidate; take pairs from sample_pairs"):
        agreement(invented(), Exact((Pair(0, Site(1), 6),) * 3, torch.randn(3), 1.0))


@pytest.mark.parametrize("positions", ["content", "all", "last"])
def test_attribution_ranks_as_exact_patching_where_differences_are_small(gentle, sae, positions):
    engine, direction, talks = gentle
    saes = {site: sae(site, n=64, seed=i) for i, site in enumerate((Site(0, "post"), Site(2, "pre")))}
    found = attribute(engine, talks, saes, direction, 5, None, positions)
    pairs = sample_pairs(found, 150)
    done = agreement(found, exact(engine, found, saes, direction, pairs), n_boot=200)
    assert done.spearman.value > 0.9
    assert done.spearman.low > 0.8
    wrong = replace(found, values={site: values.flip(1) for site, values in found.values.items()})
    assert agreement(wrong, Exact(tuple(pairs), done.exact, 1.0), n_boot=50).spearman.value < 0.5
