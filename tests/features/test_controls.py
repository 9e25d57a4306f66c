import pytest
import torch

from demur.errors import InputError
from demur.features.controls import Activity, activity, dosed, injected, match, matched
from demur.interventions import Context
from demur.saes import SAE, encode
from demur.types import Feature, FeatureSet, Site

SITE = Site(1, "post")


@pytest.fixture
def sae():
    generator = torch.Generator().manual_seed(0)
    encoder = torch.randn(32, 200, generator=generator) / 6
    return SAE("relu", {"W_enc": encoder, "W_dec": encoder.T.clone(), "b_enc": torch.full((200,), -0.5),
                        "b_dec": torch.zeros(32)}, SITE)  # fmt: skip


@pytest.fixture
def seen(sae):
    x = torch.randn(500, 32, generator=torch.Generator().manual_seed(1))
    return Activity({SITE: x}, {SITE: encode(sae, x).mean(0)})


def features(*indices):
    return FeatureSet(tuple(Feature(SITE, i) for i in indices), {SITE: "hash"})


def test_activity_leaves_the_first_token_of_each_prompt_out(tiny, talk):
    one = tiny("llama")
    generator = torch.Generator().manual_seed(0)
    weights = {"W_enc": torch.randn(32, 40, generator=generator), "W_dec": torch.randn(40, 32, generator=generator),
               "b_enc": torch.zeros(40), "b_dec": torch.zeros(32)}  # fmt: skip
    sae = SAE("relu", weights, SITE)
    talks = [talk("How do I bake bread?"), talk("Hi")]
    found = activity(one.engine, talks, {SITE: sae})
    streams = one.engine.activations(talks, [SITE])
    whole = torch.cat([streams.tensors[SITE][i, 1:][streams.mask[i, 1:]] for i in range(2)])
    assert found.streams[SITE].equal(whole)
    torch.testing.assert_close(found.means[SITE], encode(sae, whole).mean(0))


def test_controls_fire_as_much_as_what_they_stand_for(seen):
    chosen = features(3, 50, 120)
    sets = matched(chosen, seen, 20)
    assert len(sets) == 20
    means = seen.means[SITE]
    for control in sets:
        for mine, theirs in zip(chosen.features, control.features, strict=True):
            assert abs(means[theirs.index] / means[mine.index] - 1) <= 0.25
            assert theirs.index not in (3, 50, 120)
        assert len({f.index for f in control.features}) == 3
    assert len({tuple(f.index for f in control.features) for control in sets}) > 15


def test_a_latent_that_never_fires_is_no_control(seen):
    means = torch.zeros(200)
    means[:8] = torch.linspace(1, 5, 8)
    sets = matched(features(2), Activity(seen.streams, {SITE: means}), 7)
    assert {f.index for control in sets for f in control.features} <= set(range(8)) - {2}


def test_without_latents_to_draw_from_there_is_an_error(seen):
    means = torch.zeros(200)
    means[2] = 1.0
    with pytest.raises(InputError, match="too few latents"):
        matched(features(2), Activity(seen.streams, {SITE: means}), 1)


@pytest.mark.parametrize(("factor", "value"), [(0.0, None), (-2.0, None), (None, 4.0)])
def test_a_dosed_control_moves_the_stream_as_far(sae, seen, factor, value):
    chosen = features(3, 50, 120)
    control = matched(chosen, seen, 1)[0]
    how = dosed(control, chosen, {SITE: sae}, seen, factor, value)
    x = seen.streams[SITE][None]
    n = x.shape[1]
    moved = how.edit(x, SITE, Context(torch.arange(n)[None], torch.tensor([[n]]))) - x
    wanted = injected(chosen, {SITE: sae}, seen, factor, value)[SITE]
    assert float(moved.norm(dim=-1).mean()) == pytest.approx(wanted, rel=0.01)


def test_a_control_needs_a_factor_or_a_value(sae, seen):
    chosen = features(3)
    with pytest.raises(InputError, match="one of them"):
        dosed(chosen, chosen, {SITE: sae}, seen)


def test_the_sets_are_different_ones_or_it_is_an_error(seen):
    lone = [control.features[0].index for control in matched(features(3), seen, 20)]
    assert len(set(lone)) == 20
    means = torch.zeros(200)
    means[:8] = 1.0
    with pytest.raises(InputError, match="only 7 different control sets"):
        matched(features(2), Activity(seen.streams, {SITE: means}), 8)


def test_a_match_tells_how_near_a_control_comes(sae, seen):
    chosen = features(3, 50, 120)
    own = match(chosen, chosen, {SITE: sae}, seen, factor=0.0)
    assert (own.activation, own.norm) == (pytest.approx(1.0), pytest.approx(1.0))
    (control,) = matched(chosen, seen, 1)
    near = match(control, chosen, {SITE: sae}, seen, factor=0.0)
    means = seen.means[SITE]
    fires = [float(sum(means[f.index] for f in some.features)) for some in (control, chosen)]
    assert near.activation == pytest.approx(fires[0] / fires[1])
    assert near.norm == pytest.approx(1.0, abs=1e-3)
