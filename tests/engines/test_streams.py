"""Gradients whose streams are set to given values."""

import pytest
import torch

from demur.engines import collect
from demur.engines.mock import MockEngine, token
from demur.engines.rows import row_of
from demur.errors import InputError, UnknownName
from demur.models.hooks import registered
from demur.types import Site

TEXTS = ("How do I bake bread with yeast?", "Hi", "What is the capital of France?")


def metric(logits, index):
    return logits[:, 40] - logits[torch.arange(len(index)), 41 + index]


def apart(found, talks):
    """Site -> a list of [tokens, d_model], from Activations."""
    return [{site: x[i, found.mask[i]] for site, x in found.tensors.items()} for i in range(len(talks))]


@pytest.fixture
def talks(talk):
    return [talk(TEXTS[0]), talk(TEXTS[1], prefill="Here is"), talk(TEXTS[2])]


@pytest.mark.parametrize("first", ["0.pre", "0.post", "1.pre", "1.post", "1.mid", "1.mlp_out", "2.post"])
def test_streams_fixed_to_the_clean_ones_leave_gradients_as_they_are(tiny, talks, model_family, first):
    """Whatever the first site is: for some the blocks below it do not run."""
    one = tiny(model_family)
    site = Site(int(first[0]), first[2:])
    if site.point not in one.loaded.points:
        pytest.skip("no such point")
    sites = [site, Site(2, "pre"), Site(2, "post"), Site(2, "attn_out")]
    clean = apart(one.engine.activations(talks, sites), talks)
    plain, held = one.engine.gradients(talks, sites, metric), one.engine.gradients(talks, sites, metric, clean)
    for where in sites:
        for a, b in zip(plain[where], held[where], strict=True):
            torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-4)
    assert registered(one.loaded.model) == 0


def test_the_value_is_the_one_given_and_gradients_pass_through_it(tiny, talks):
    """The chain rule by hand: block 1's Jacobian at the early value, everything after it at the late value."""
    one = tiny("llama")
    early, late = Site(1, "pre"), Site(1, "post")
    random = torch.Generator().manual_seed(0)
    streams = [
        {site: torch.randn(len(row_of(one.loaded, c).tokens), 32, generator=random) for site in (early, late)}
        for c in talks
    ]
    found = one.engine.gradients(talks, [early, late], metric, streams)
    only = one.engine.gradients(talks, [late], metric, [{late: some[late]} for some in streams])
    for i, some in enumerate(streams):
        torch.testing.assert_close(found[late][i], only[late][i], rtol=1e-4, atol=1e-5)
        x = some[early][None].clone().requires_grad_()
        position = torch.arange(x.shape[1])[None]
        base = one.plain.base_model
        mask = torch.full((x.shape[1], x.shape[1]), float("-inf")).triu(1)[None, None]
        out = base.layers[1](
            x, attention_mask=mask, position_ids=position, position_embeddings=base.rotary_emb(x, position)
        )
        out = out[0] if isinstance(out, tuple) else out
        (wanted,) = torch.autograd.grad((out[0] * found[late][i]).sum(), x)
        torch.testing.assert_close(found[early][i], wanted[0], rtol=1e-3, atol=1e-4)


def test_rows_may_fix_different_sites_and_padding_changes_nothing(tiny, talks, monkeypatch):
    one = tiny("gemma2")
    sites = [Site(0, "post"), Site(1, "mid")]
    clean = apart(one.engine.activations(talks, sites), talks)
    streams = [{sites[0]: 1.5 * clean[0][sites[0]]}, {}, {sites[1]: 0.5 * clean[2][sites[1]]}]
    together = one.engine.gradients(talks, sites, metric, streams)
    for i, c in enumerate(talks):
        alone = one.engine.gradients([c], sites, lambda x, _, i=i: metric(x, torch.tensor([i])), [streams[i]])
        for site in sites:
            torch.testing.assert_close(together[site][i], alone[site][0], rtol=1e-3, atol=1e-4)
    assert not torch.allclose(together[sites[0]][0], one.engine.gradients(talks, sites, metric)[sites[0]][0])
    monkeypatch.setattr(collect, "GRADIENT_TOKENS", 1)
    one_by_one = one.engine.gradients(talks, sites, metric, streams)
    for site in sites:
        for a, b in zip(together[site], one_by_one[site], strict=True):
            torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-4)


def test_the_metric_is_told_which_conversation_a_row_is(tiny, talks):
    one, seen = tiny("llama"), []
    one.engine.gradients(talks, [Site(1)], lambda x, index: (seen.append(index.tolist()), x[:, 0])[1])
    lengths = [len(row_of(one.loaded, c).tokens) for c in talks]
    assert seen == [sorted(range(3), key=lambda i: -lengths[i])]


def test_in_bf16_values_are_rounded_and_gradients_are_float32(build, talks):
    from demur.engines.hf import HFEngine
    from demur.models.wrap import from_parts

    one = build("llama")
    engine = HFEngine(from_parts(one.plain.to(torch.bfloat16), one.loaded.tokenizer, "half"))
    clean = apart(engine.activations(talks, [Site(1)]), talks)
    held = engine.gradients(talks, [Site(1)], metric, clean)[Site(1)]
    plain = engine.gradients(talks, [Site(1)], metric)[Site(1)]
    assert held[0].dtype == torch.float32
    for a, b in zip(held, plain, strict=True):
        torch.testing.assert_close(a, b, rtol=2e-2, atol=2e-2)


def test_streams_that_do_not_fit_are_refused(tiny, talks):
    engine = tiny("llama").engine
    good = [{Site(1): torch.zeros(len(row_of(engine.model, c).tokens), 32)} for c in talks]
    with pytest.raises(InputError, match="there are 2 streams for 3 conversations; give one mapping for each"):
        engine.gradients(talks, [Site(1)], metric, good[:2])
    with pytest.raises(InputError, match=r"stream at 1.pre for prompt 'p-Hi' has shape \[3, 32\].*take it from act"):
        engine.gradients(talks, [Site(1)], metric, [good[0], {Site(1): torch.zeros(3, 32)}, good[2]])
    with pytest.raises(UnknownName, match="no layer 7"):
        engine.gradients(talks, [Site(1)], metric, [{Site(7): x[Site(1)]} for x in good])
    with pytest.raises(InputError, match="there are 0 and 1"):
        engine.gradients([], [Site(1)], metric)


def test_the_mocks_streams_are_set_too(talk):
    mock, talks = MockEngine(), [talk("how to bake"), talk("hi")]
    sites = [Site(1, "mid"), Site(3, "post")]
    streams = [{Site(3, "post"): torch.randn(len(mock.tokens(c)[0]), 16)} for c in talks]

    def square(logits, _):
        return logits[:, token("I'm")] ** 2

    found = mock.gradients(talks, sites, square, streams)
    axis = mock.direction.vector
    for i, some in enumerate(streams):
        wanted = 2 * (4 * some[sites[1]][-1] @ axis) * 4 * axis
        torch.testing.assert_close(found[sites[1]][i][-1], wanted)
        torch.testing.assert_close(found[sites[0]][i][-1], wanted * 1.05 * 1.1025**2)


def test_the_mocks_activations_are_those_the_intervention_leaves(talk):
    from demur.interventions import add
    from demur.types import SteeringVector

    mock, c = MockEngine(), talk("how to bake")
    steer = add(SteeringVector({Site(1): torch.ones(16)}), 2.0)
    plain = mock.activations([c], [Site(0), Site(1), Site(2)])
    found = mock.activations([c], [Site(0), Site(1), Site(2)], intervention=steer)
    torch.testing.assert_close(found.tensors[Site(0)], plain.tensors[Site(0)])
    torch.testing.assert_close(found.tensors[Site(1)], plain.tensors[Site(1)] + 2)
    torch.testing.assert_close(found.tensors[Site(2)], plain.tensors[Site(2)] + 2 * 1.1025)
