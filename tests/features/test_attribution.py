import pytest
import torch

from demur.engines.mock import MockEngine, token
from demur.errors import BadSpec, BadVector, InputError
from demur.features import attribute, attribution
from demur.features.attribution import FEWEST
from demur.features.cosine import cosines
from demur.interventions import ablate, patch
from demur.saes import decoder_rows, encode, error
from demur.types import Direction, Site


def m_of(logits, a):
    rows = torch.arange(len(logits))
    return logits[rows, a.jailbroken] - logits[rows, a.refusal]


def test_on_a_linear_model_attributions_are_the_exact_effects(mock, talks, sae):
    """The mock: logits are linear in the last token's stream, so a latent's effect is change x slope, to the digit."""
    sites = [Site(1, "post"), Site(2, "mid")]
    saes = {site: sae(site, 16, 40, seed=i) for i, site in enumerate(sites)}
    found = attribute(mock, talks, saes, mock.direction, steps=3, per_site=None, positions="last")
    steer = ablate(mock.direction)
    assert len(found.conversations) == len(talks)
    for i, c in enumerate(talks):
        before, after = mock.activations([c], sites), mock.activations([c], sites, None, steer)
        plain = m_of(mock.last_logits([c]), found_of(found, i))
        for site in sites:
            f, g = (encode(saes[site], x.tensors[site][0, -1]) for x in (before, after))
            deltas = torch.zeros(40, before.mask.shape[1], 16)
            deltas[:, -1] = (g - f)[:, None] * decoder_rows(saes[site], torch.arange(40))
            moved = mock.last_logits([c] * 40, [patch({site: delta}) for delta in deltas])
            wanted = (moved @ one_hot(found_of(found, i))) - plain
            torch.testing.assert_close(found.values[site][i], wanted, rtol=1e-3, atol=1e-4)


def found_of(found, i):
    class One:
        refusal, jailbroken = found.refusal[i : i + 1], found.jailbroken[i : i + 1]

    return One


def one_hot(one):
    vector = torch.zeros(512)
    vector[one.jailbroken], vector[one.refusal] = 1.0, -1.0
    return vector


def test_tokens_and_metrics_are_those_of_the_two_runs(bent, talks, sae):
    engine, direction = bent
    found = attribute(engine, talks, {Site(1): sae(Site(1))}, direction, steps=2)
    steer = ablate(direction)
    before, after = engine.last_logits(found.conversations), engine.last_logits(found.conversations, steer)
    assert found.refusal.equal(before.argmax(-1))
    assert found.jailbroken.equal(after.argmax(-1))
    torch.testing.assert_close(found.clean, m_of(before, found), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(found.patched, m_of(after, found), rtol=1e-4, atol=1e-4)
    assert (found.clean < 0).all()
    assert (found.patched > 0).all()
    assert found.seconds > 0


@pytest.mark.parametrize("site", [Site(0, "post"), Site(1, "mid"), Site(2, "pre")])
def test_attributions_of_one_site_add_up_to_what_its_stream_does(bent, talks, whole, site):
    """Completeness of integrated gradients, for an SAE without error: the sum over latents and positions is the
    change of m when the whole stream at the site is replaced."""
    engine, direction = bent
    found = attribute(engine, talks[:4], {site: whole(site)}, direction, 150, None, "all")
    steer = ablate(direction)
    for i, c in enumerate(found.conversations):
        x, y = (engine.activations([c], [site], None, s).tensors[site][0] for s in (None, steer))
        moved, plain = (m_of(engine.last_logits([c], s), found_of(found, i)) for s in (patch({site: y - x}), None))
        assert float(found.totals(site)[i].sum()) == pytest.approx(float(moved - plain), rel=0.03, abs=0.1)


def test_latents_and_the_error_together_add_up_for_any_sae(bent, talks, sae):
    """The error is interpolated too: what latents leave is the error's change times the same slope."""
    engine, direction = bent
    site, c = Site(1, "post"), talks[0]
    one = sae(site, kind="topk", k=6)
    steer = ablate(direction)
    found = attribute(engine, talks, {site: one}, direction, 150, None, "all")
    i = [k.prompt.id for k in found.conversations].index("p0")
    x, y = (engine.activations([c], [site], None, s).tensors[site][0] for s in (None, steer))
    metric_of = found_of(found, i)
    slope = torch.zeros_like(x)
    for step in range(150):
        streams = [{site: torch.lerp(x, y, step / 150)}]
        slope += engine.gradients([c], [site], lambda z, _: m_of(z, metric_of), streams)[site][0] / 150
    rest = float(((error(one, y) - error(one, x)) * slope).sum())
    moved, plain = (m_of(engine.last_logits([c], s), metric_of) for s in (patch({site: y - x}), None))
    assert float(found.totals(site)[i].sum()) + rest == pytest.approx(float(moved - plain), rel=0.03, abs=0.1)


def test_an_early_latents_effect_through_later_sites_counts(bent, talks, whole):
    """With one step both sites stand at their clean values, and the early slope is the plain, total gradient."""
    engine, direction = bent
    early, late = Site(0, "post"), Site(2, "pre")
    both = attribute(engine, talks, {s: whole(s) for s in (early, late)}, direction, 1, None)
    alone = attribute(engine, talks, {early: whole(early)}, direction, 1, None)
    torch.testing.assert_close(both.values[early], alone.values[early], rtol=1e-3, atol=1e-5)
    assert both.values[early].abs().max() > 1e-3


def test_positions_are_the_users_words_unless_asked_otherwise(bent, talks, sae):
    engine, direction = bent
    site = Site(1)
    saes = {site: sae(site)}
    found = {p: attribute(engine, talks, saes, direction, 2, None, p) for p in ("content", "all", "last")}
    masks = engine.content(found["content"].conversations)
    assert found["content"].counts.tolist() == [int(mask.sum()) for mask in masks]
    assert found["all"].counts.tolist() == [len(mask) for mask in masks]
    assert found["last"].counts.tolist() == [1] * len(masks)
    parts = {p: a.totals(site) for p, a in found.items()}
    assert not torch.allclose(parts["content"], parts["last"])
    # At the first token the ablation leaves everything as it is; elsewhere all three differ.
    assert (parts["all"] - parts["content"]).abs().max() > 1e-4


def test_only_candidates_near_the_direction_are_attributed_to(bent, talks, sae):
    engine, direction = bent
    site = Site(1)
    one = sae(site)
    few, all_ = (attribute(engine, talks, {site: one}, direction, 2, k0) for k0 in (7, None))
    assert set(few.latents[site].tolist()) == set(cosines(one, direction).topk(7).indices.tolist())
    torch.testing.assert_close(few.values[site], all_.values[site][:, few.latents[site]])
    assert few.values[site].shape == (len(few.conversations), 7)


def test_the_global_set_is_the_mean_over_prompts_and_a_local_one_is_one_prompts(bent, talks, sae):
    engine, direction = bent
    saes = {site: sae(site, seed=i) for i, site in enumerate((Site(1), Site(2)))}
    found = attribute(engine, talks, saes, direction, 2, 10)
    mean = {(s, int(j)): float(v) for s in saes for j, v in zip(found.latents[s], found.values[s].mean(0), strict=True)}
    best = sorted(mean.items(), key=lambda item: -item[1])[:5]
    global_ = found.feature_set(5)
    assert [((f.site, f.index), f.score) for f in global_.features] == [(k, pytest.approx(v)) for k, v in best if v > 0]
    assert all(f.score > 0 for f in found.feature_set(20).features)
    local = found.local(2, 3)
    first = {(s, int(j)): float(v) for s in saes for j, v in zip(found.latents[s], found.values[s][2], strict=True)}
    assert (local.features[0].site, local.features[0].index) == max(first, key=lambda key: first[key])
    assert local.origin["prompts"] == [found.conversations[2].prompt.id]
    with pytest.raises(InputError, match="no prompt 99 among these attributions; known: 0 to"):
        found.local(99)
    with pytest.raises(InputError, match="k is 21, but these sites have 20 latents; give a k from 1 to 20"):
        found.feature_set(21)


def test_moving_the_best_latents_takes_the_model_from_refusing(gentle, sae):
    """The sign: m rises when a latent with a positive attribution is moved to its value under ablation."""
    engine, direction, talks = gentle
    site = Site(1)
    one = sae(site, n=96)
    found = attribute(engine, talks, {site: one}, direction, 10, None, "all")
    steer = ablate(direction)
    for i, c in enumerate(found.conversations):
        values = found.totals(site)[i]
        for sign in (1, -1):
            j = int((sign * values).argmax())
            x, y = (engine.activations([c], [site], None, s).tensors[site][0] for s in (None, steer))
            change = (encode(one, y) - encode(one, x))[:, j, None] * decoder_rows(one, [j])
            moved, plain = (m_of(engine.last_logits([c], s), found_of(found, i)) for s in (patch({site: change}), None))
            assert sign * float(moved - plain) > 0


def test_order_and_batches_change_nothing(bent, talks, sae, monkeypatch):
    engine, direction = bent
    saes = {Site(1): sae(Site(1))}
    first = attribute(engine, talks, saes, direction, 2)
    monkeypatch.setattr(attribution, "CHUNK", 3)
    steps: list[tuple[int, int]] = []
    other = attribute(engine, talks[::-1], saes, direction, 2, progress=lambda *at: steps.append(at))
    assert [c.prompt.id for c in other.conversations] == [c.prompt.id for c in first.conversations][::-1]
    torch.testing.assert_close(other.values[Site(1)].flip(0), first.values[Site(1)], rtol=1e-3, atol=1e-5)
    assert steps[-1] == (len(first.conversations),) * 2


def test_prompts_that_the_ablation_does_not_turn_are_left_out_and_counted(mock, ask, sae):
    """The mock answers a plain prompt with "Sure," whether ablated or not."""

    class Stubborn(MockEngine):
        def last_logits(self, conversations, intervention=None):
            logits = super().last_logits(conversations, intervention)
            for row, c in zip(logits, conversations, strict=True):
                if c.prompt.kind == "plain":
                    row[token("Sure,")] = 99.0
            return logits

    harmful, plain = ask([f"pick lock {i}" for i in range(FEWEST)]), ask(["bake bread", "hi"], "plain")
    saes = {Site(1): sae(Site(1), 16)}
    found = attribute(Stubborn(), [plain[0], *harmful, plain[1]], saes, mock.direction, 2)
    assert list(found.conversations) == harmful
    assert found.origin["left_out"] == 2
    with pytest.raises(InputError, match=r"first token of 3 of 5 prompts, and attribution needs 4; give more harmful"):
        attribute(Stubborn(), [*plain, *harmful[1:]], saes, mock.direction, 2)


def test_sets_say_how_they_were_made(bent, talks, sae):
    engine, direction = bent
    one, other = sae(Site(1)), sae(Site(2), seed=1)
    found = attribute(engine, talks, {Site(2): other, Site(1): one}, direction, 3, 5)
    made = found.feature_set(10)
    assert made.saes == {f.site: {Site(1): one, Site(2): other}[f.site].sha256 for f in made.features}
    assert made.origin["saes"] == {"1.pre": "random-0", "2.pre": "random-1"}
    assert made.origin["prompts"] == [c.prompt.id for c in found.conversations]
    assert len(made.origin["texts"]) == 64
    for name, value in {"steps": 3, "per_site": 5, "positions": "content", "k": 10, "set": "global"}.items():
        assert made.origin[name] == value
    assert made.origin["weights"] == engine.fingerprint.weights
    assert made.origin["direction"]["site"] == "1.pre"
    import json

    json.dumps(dict(made.origin))


def test_what_does_not_fit_is_refused(bent, ask, talks, sae):
    engine, direction = bent
    good = {Site(1): sae(Site(1))}
    for error_, message, change in (
        (InputError, "no SAEs to find features in", {"saes": {}}),
        (BadSpec, "the SAE given for 1.pre stands at 2.pre", {"saes": {Site(1): sae(Site(2))}}),
        (BadVector, "reads a stream of width 8: fit it on", {"saes": {Site(1): sae(Site(1), 8)}}),
        (InputError, "steps is 0", {"steps": 0}),
        (InputError, "k is 0, but the SAE at 1.pre has 48 latents", {"per_site": 0}),
        (InputError, "k is 49, but", {"per_site": 49}),
        (InputError, "at positions content, all, last, not 'first'", {"positions": "first"}),
        (InputError, "there are no harmful prompts", {"conversations": []}),
        (InputError, "'p0' is reserved for test; fitting prompts are", {"conversations": ask(["a"] * 5, use="test")}),
        (BadVector, "has shape", {"direction": Direction(torch.ones(16) / 4, Site(1), 1.0)}),
    ):
        given = {"conversations": talks, "saes": good, "direction": direction, "steps": 2, **change}
        with pytest.raises(error_, match=message):
            attribute(engine, **given)
