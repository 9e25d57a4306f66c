import copy

import pytest
import torch

from demur.engines.rows import row_of
from demur.errors import InputError, NonFinite
from demur.types import Site

TEXTS = ("How do I bake bread with yeast?", "Hi", "What is the capital of France?")


def test_activations_are_the_hidden_states_of_a_naive_pass(tiny, talk, model_family):
    one = tiny(model_family)
    talks = [talk(text) for text in TEXTS]
    n = one.loaded.n_layers
    sites = [Site(layer, "pre") for layer in range(n)] + [Site(n - 1, "post")]
    found = one.engine.activations(talks, sites)
    for i, c in enumerate(talks):
        ids = torch.tensor([row_of(one.loaded, c).tokens])
        assert int(found.mask[i].sum()) == ids.shape[1]
        with torch.no_grad():
            states = one.plain(input_ids=ids, output_hidden_states=True).hidden_states
        for layer in range(n):
            mine = found.tensors[Site(layer, "pre")][i, : ids.shape[1]]
            torch.testing.assert_close(mine, states[layer][0], rtol=1e-4, atol=1e-4)


def test_each_site_alone_gives_what_all_together_give(tiny, talk):
    """The pass ends after the deepest site's block, whichever point of it was asked for."""
    one = tiny("llama")
    talks = [talk(text) for text in TEXTS]
    sites = [Site(layer, point) for layer in range(3) for point in one.loaded.points]
    whole = one.engine.activations(talks, sites)
    passed = []
    handle = one.loaded.blocks[2].register_forward_hook(lambda *_: passed.append(1))
    for site in sites:
        passed.clear()
        alone = one.engine.activations(talks, [site])
        assert alone.tensors[site].equal(whole.tensors[site]), site
        assert bool(passed) == (site.layer == 2)
    handle.remove()


def test_the_tail_is_the_prompts_last_tokens_without_the_prefill(tiny, talk):
    one = tiny("mistral")
    talks = [talk(TEXTS[0]), talk(TEXTS[1], prefill="I'm sorry, but"), talk(TEXTS[2])]
    site = Site(1, "post")
    whole, tail = one.engine.activations(talks, [site]), one.engine.activations(talks, [site], tail=4)
    assert tail.tensors[site].shape == (3, 4, 32)
    assert bool(tail.mask.all())
    for i, c in enumerate(talks):
        end = row_of(one.loaded, c).prompt_length
        torch.testing.assert_close(tail.tensors[site][i], whole.tensors[site][i, end - 4 : end])
        assert whole.mask[i].sum() == len(row_of(one.loaded, c).tokens)
    torch.testing.assert_close(tail.last(site), tail.tensors[site][:, -1])
    for k in (0, -1, 500):
        with pytest.raises(InputError, match=f"its last {k} were asked for"):
            one.engine.activations(talks, [site], tail=k)


def test_batches_do_not_change_activations_or_their_order(tiny, talk, monkeypatch):
    from demur.engines import collect

    one, talks = tiny("gemma2"), [talk(text) for text in (*TEXTS, "a", "the sea and the wind")]
    site = Site(2, "mid")
    at_once = one.engine.activations(talks, [site])
    logits = one.engine.last_logits(talks)
    monkeypatch.setattr(collect, "TOKENS", 30)
    torch.testing.assert_close(one.engine.activations(talks, [site]).tensors[site], at_once.tensors[site])
    torch.testing.assert_close(one.engine.last_logits(talks), logits)


@pytest.mark.parametrize("family", ["llama", "gemma2", "gpt_neox", "gpt2"])
def test_gradients_equal_finite_differences(tiny, talk, family):
    """Finite differences in float64 on transformers' own model, nudged by a hook at the site."""
    one = tiny(family)
    plain = copy.deepcopy(one.plain).double()
    talks = [talk("Hi"), talk("How do I bake?")]

    def metric(logits, _):
        return logits[:, 40] - logits[:, 41:44].logsumexp(-1)

    sites = [Site(0, "pre"), Site(1, "post"), Site(2, "pre"), Site(1, "attn_out"), Site(1, "mlp_out")]
    sites += [Site(1, "mid")] if "mid" in one.loaded.points else []
    found = one.engine.gradients(talks, sites, metric)
    base = plain.base_model
    blocks = base.h if hasattr(base, "h") else base.layers
    random = torch.Generator().manual_seed(0)
    for i, c in enumerate(talks):
        ids = torch.tensor([row_of(one.loaded, c).tokens])
        for site in sites:
            grad = found[site][i]
            assert grad.shape == (ids.shape[1], 32)
            nudge = torch.randn(grad.shape, generator=random).double()

            def value(eps, site=site, nudge=nudge, ids=ids):
                block, family = blocks[site.layer], one.loaded.family
                # A nudge at mid reaches the rest of the block as one of attention's output does.
                part = {"attn_out": family.attn, "mid": family.attn, "mlp_out": family.mlp}.get(site.point)

                def add(_, __, out):
                    return (out[0] + eps * nudge, *out[1:]) if isinstance(out, tuple) else out + eps * nudge

                if site.point == "pre":
                    handle = block.register_forward_pre_hook(lambda _, x: (x[0] + eps * nudge, *x[1:]))
                else:
                    handle = (block.get_submodule(part) if part else block).register_forward_hook(add)
                with torch.no_grad():
                    logits = plain(input_ids=ids, use_cache=False).logits[:, -1]
                handle.remove()
                return float(metric(logits, None)[0])

            # Four points, so that steps can be large: transformers' RMSNorm computes in float32 whatever it is given.
            e = 1e-2
            slope = (8 * (value(e) - value(-e)) - (value(2 * e) - value(-2 * e))) / (12 * e)
            assert float((grad.double() * nudge).sum()) == pytest.approx(slope, rel=2e-3, abs=2e-3), site


def test_gradients_leave_no_graph_behind(tiny, talk):
    one = tiny("llama")
    found = one.engine.gradients([talk("Hi")], [Site(1)], lambda logits, _: logits[:, 0])
    assert not found[Site(1)][0].requires_grad
    assert all(p.grad is None and not p.requires_grad for p in one.loaded.model.parameters())


def test_a_gradient_that_is_not_finite_is_an_error_that_names_the_layer(tiny, talk):
    engine = tiny("llama").engine
    with pytest.raises(NonFinite, match=r"a gradient in layer 1 .* 'p'"):
        engine.gradients([talk("Hi", id="p")], [Site(1, "pre")], lambda x, _: (x[:, 0] - x[:, 0]).sqrt())
