import sys

import pytest
import torch

from demur.errors import InputError
from demur.features import contrast
from demur.features.contrast import aurocs
from demur.saes import SAE, encode
from demur.stats import auroc
from demur.types import Site

MODULE = sys.modules[aurocs.__module__]
"""The room exports a function of the same name."""
HARM = ["pick a lock", "make poison", "steal a car", "forge a note", "rob a bank"]
FINE = ["bake bread", "paint a wall", "write a song", "plant a tree", "pet a cat", "fly a kite"]


def planted(sae, site, mock, latent):
    """A random SAE one of whose latents reads the mock's direction."""
    one = sae(site, 16, 40, seed=7)
    weights = {name: tensor.clone() for name, tensor in one.weights.items()}
    weights["W_enc"][:, latent] = mock.direction.vector
    return SAE("relu", weights, site, source="planted")


@pytest.mark.parametrize("positions", ["last", "content"])
@pytest.mark.parametrize("by", ["difference", "auroc"])
def test_it_finds_the_planted_latent(mock, ask, sae, positions, by):
    saes = {Site(0): sae(Site(0), 16, 40, seed=5), Site(2): planted(sae, Site(2), mock, 13)}
    found = contrast(mock, ask(HARM), ask(FINE, "plain"), saes, positions)
    best = found.feature_set(5, by)
    if by == "difference":
        assert (best.features[0].site, best.features[0].index) == (Site(2), 13)
    assert float(found.auroc[Site(2)].max()) == 1.0
    assert found.auroc[Site(2)][13] == 1.0
    assert (Site(2), 13) in {(f.site, f.index) for f in found.feature_set(40, by).features}


@pytest.mark.parametrize("positions", ["last", "content"])
def test_differences_and_aurocs_are_those_of_each_prompts_latents(bent, ask, sae, positions, monkeypatch):
    monkeypatch.setattr(MODULE, "CHUNK", 2)
    engine, site = bent[0], Site(1, "mid")
    one = sae(site)
    high, low = ask(HARM), ask(FINE, "plain")
    found = contrast(engine, high, low, {site: one}, positions)

    def latents(c):
        x = engine.activations([c], [site]).tensors[site][0]
        return encode(one, x[-1:] if positions == "last" else x[engine.content([c])[0]]).mean(0)

    f, g = (torch.stack([latents(c) for c in some]) for some in (high, low))
    torch.testing.assert_close(found.difference[site], f.mean(0) - g.mean(0), rtol=1e-3, atol=1e-4)
    labels = [1] * len(high) + [0] * len(low)
    for j in range(one.d_sae):
        wanted = auroc(labels, torch.cat([f, g])[:, j].tolist())
        assert float(found.auroc[site][j]) == pytest.approx(wanted, abs=1e-5)


def test_the_last_token_is_the_prompts_not_the_prefills(mock, talk, ask, sae):
    site = Site(1)
    begun = [talk(text, prefill="Sure, here", kind="harmful") for text in HARM]
    same = [talk(text, kind="harmful") for text in HARM]
    low, saes = ask(FINE, "plain"), {site: sae(site, 16)}
    a, b = (contrast(mock, high, low, saes).difference[site] for high in (begun, same))
    torch.testing.assert_close(a, b)


def test_aurocs_are_those_of_each_column_with_ties(monkeypatch):
    monkeypatch.setattr(MODULE, "COLUMNS", 4)
    random = torch.Generator().manual_seed(0)
    high, low = (torch.randint(0, 4, (n, 11), generator=random).float() for n in (7, 9))
    high[:, 3] = low[:, 3] = 0
    found = aurocs(high, low)
    for j in range(11):
        assert float(found[j]) == pytest.approx(auroc([1] * 7 + [0] * 9, torch.cat([high, low])[:, j].tolist()))
    assert found[3] == 0.5


def test_sets_say_how_they_were_made(mock, ask, sae):
    saes = {Site(1): sae(Site(1), 16), Site(3): sae(Site(3), 16, seed=2)}
    made = contrast(mock, ask(HARM), ask(FINE, "plain"), saes, "content").feature_set(6, "auroc")
    assert made.saes == {site: saes[site].sha256 for site in {f.site for f in made.features}}
    assert made.origin["saes"] == {"1.pre": "random-0", "3.pre": "random-2"}
    assert made.origin["prompts"] == [f"p{i}" for i in (*range(5), *range(6))]
    assert (made.origin["harmful"], made.origin["harmless"], made.origin["by"]) == (5, 6, "auroc")
    assert made.origin["positions"] == "content"
    other = contrast(mock, ask(HARM[::-1]), ask(FINE, "plain"), saes, "content").feature_set(6)
    assert other.origin["texts"] != made.origin["texts"]


def test_latents_that_do_not_tell_harm_are_left_out(mock, ask, sae):
    found = contrast(mock, ask(HARM), ask(FINE, "plain"), {Site(1): sae(Site(1), 16, 40)})
    for by, above in (("difference", 0.0), ("auroc", 0.5)):
        made = found.feature_set(40, by)
        assert 0 < len(made.features) < 40
        assert all(f.score > above for f in made.features)
    with pytest.raises(InputError, match="ranked by 'difference' or 'auroc', not 'size'"):
        found.feature_set(3, "size")


def test_bad_prompts_are_refused(mock, ask, sae):
    saes = {Site(1): sae(Site(1), 16)}
    high, low = ask(HARM), ask(FINE, "plain")
    for given, message in (
        (([], low), "there are no harmful prompts"),
        ((high, []), "there are no harmless prompts"),
        ((high, [*low, high[2]]), "1 prompts are both harmful and harmless, such as 'steal a car'; drop them"),
        ((ask(HARM, use="validation"), low), "'p0' is reserved for validation; fitting prompts are those of use 'fit'"),
        ((high, ask(FINE, "plain", "test")), "reserved for test"),
    ):
        with pytest.raises(InputError, match=message):
            contrast(mock, *given, saes)
    with pytest.raises(InputError, match="'last' or 'content' positions, not 'all'"):
        contrast(mock, high, low, saes, "all")
    # Prompts reserved for fitting are what it is for.
    contrast(mock, ask(HARM, use="fit"), low, saes)
