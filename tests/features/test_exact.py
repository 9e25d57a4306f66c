import sys
from dataclasses import replace

import pytest
import torch

from demur.errors import InputError
from demur.features import Pair, attribute, exact
from demur.interventions import ablate
from demur.saes import decode, encode, error
from demur.types import Direction, Site


@pytest.fixture(scope="module")
def case(bent, talks, sae):
    engine, direction = bent
    saes = {site: sae(site, seed=i) for i, site in enumerate((Site(1), Site(2, "mid")))}
    return engine, attribute(engine, talks, saes, direction, 2, 12), saes, direction


def test_effects_are_those_of_swapping_the_latent_and_keeping_the_error(case, monkeypatch):
    """By hand: encode, put the latent's patched value at the user's tokens, decode, add the error, run on."""
    monkeypatch.setattr(sys.modules[Pair.__module__], "BATCH", 3)
    engine, found, saes, direction = case
    pairs = [Pair(p, site, int(found.latents[site][j])) for p in (3, 0) for site in saes for j in (0, 7)]
    done = exact(engine, found, saes, direction, pairs)
    assert done.pairs == tuple(pairs)
    assert done.seconds > 0
    steer = ablate(direction)
    for pair, effect in zip(pairs, done.effects.tolist(), strict=True):
        c, one = found.conversations[pair.prompt], saes[pair.site]
        x, y = (engine.activations([c], [pair.site], None, s).tensors[pair.site][0] for s in (None, steer))
        f, here = encode(one, x), engine.content([c])[0]
        f[here, pair.latent] = encode(one, y)[here, pair.latent]
        swapped = decode(one, f) + error(one, x)
        ms = []
        for stream in (swapped, x):
            given: list[torch.Tensor] = []

            def metric(logits, _, given=given, pair=pair):
                to, away = found.jailbroken[pair.prompt], found.refusal[pair.prompt]
                given.append((logits[0, to] - logits[0, away]).detach())
                return logits[:, to] - logits[:, away]

            engine.gradients([c], [pair.site], metric, [{pair.site: stream}])
            ms.append(float(given[0]))
        assert effect == pytest.approx(ms[0] - ms[1], rel=1e-3, abs=2e-4)
    assert done.effects.abs().max() > 1e-3


def test_a_latent_that_fires_in_neither_run_does_nothing(case):
    engine, found, saes, direction = case
    site = Site(1)
    dead = replace(saes[site], weights={**saes[site].weights, "b_enc": torch.full((48,), -1e3)})
    quiet = replace(found, saes={site: dead.sha256})
    assert not exact(engine, quiet, {site: dead}, direction, [Pair(0, site, j) for j in range(4)]).effects.any()


def test_other_saes_directions_and_pairs_are_refused(case, sae):
    engine, found, saes, direction = case
    site = Site(1)
    good = Pair(0, site, 3)
    other = Direction(torch.nn.functional.normalize(torch.ones(32), dim=0), site, 1.0)
    for pairs, those, towards, message in (
        ([], saes, direction, "there are no pairs to patch; take them from sample_pairs"),
        ([good], saes, other, "direction at 1.pre is not the one of these attributions; give that one"),
        ([good], {site: sae(site, seed=9)}, direction, "SAE at 1.pre is not the one of these attributions"),
        ([Pair(0, Site(0), 3)], saes, direction, "SAE at 0.pre is not the one"),
        ([good, Pair(99, site, 3)], saes, direction, "no prompt 99 among these attributions; known: 0 to"),
        ([Pair(0, site, 48)], saes, direction, "no latent 48 at 1.pre; known: 0 to 47"),
    ):
        with pytest.raises(InputError, match=message):
            exact(engine, found, those, towards, pairs)
