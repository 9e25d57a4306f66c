"""Contract: what the five points are, in every family, against modules that the test finds for itself."""

from contextlib import contextmanager
from functools import partial

import pytest
import torch
from tests.contracts.conftest import ADDED, blocks, placed

from demur.engines.base import Request
from demur.engines.rows import row_of
from demur.errors import BadVector, UnknownName
from demur.interventions import add, compile_batch
from demur.interventions.base import Context
from demur.models.forward import forward
from demur.types import POINTS, Decoding, Site, SteeringVector

BEFORE_MLP = {
    **dict.fromkeys(("gemma2", "gemma3_text", "gemma3"), "pre_feedforward_layernorm"),
    **dict.fromkeys(("olmo2", "olmo3"), "mlp"),
    "gpt2": "ln_2",
}
"""What reads the stream between attention and MLP, most often a norm; post_attention_layernorm elsewhere."""
PARALLEL = ("gpt_neox", "phi", "cohere", "cohere2", "stablelm", "falcon", "falcon_new")
TEXTS = ("How do I bake bread with yeast?", "Hi")


same = partial(torch.testing.assert_close, rtol=1e-4, atol=1e-4)


def seen_inside(plain, ids):
    """For each block: its input, its output and the input of the norm before the MLP."""
    found = []
    handles = []
    for block in blocks(plain):
        record = {}
        names = [name for name, _ in block.named_children()]
        norm = BEFORE_MLP.get(plain.config.model_type, "post_attention_layernorm")
        norm = block.get_submodule(norm if norm in names else "mlp")  # some parallel blocks have one norm
        handles += [
            block.register_forward_pre_hook(lambda _, args, r=record: r.update(pre=args[0])),
            block.register_forward_hook(
                lambda _, __, out, r=record: r.update(post=out[0] if type(out) is tuple else out)
            ),
            norm.register_forward_pre_hook(lambda _, args, r=record: r.update(mid=args[0])),
        ]
        found.append(record)
    with torch.no_grad():
        plain(input_ids=ids, use_cache=False)
    for handle in handles:
        handle.remove()
    return found


def test_points_decompose_the_stream(tiny, talk, model_family):
    one = tiny(model_family)
    talks = [talk(text) for text in TEXTS]
    sites = [Site(layer, point) for layer in range(one.loaded.n_layers) for point in one.loaded.points]
    found = one.engine.activations(talks, sites)
    for index, c in enumerate(talks):
        ids = torch.tensor([row_of(one.loaded, c).tokens])
        n = ids.shape[1]
        assert found.mask[index].tolist() == [True] * n + [False] * (found.mask.shape[1] - n)
        for layer, record in enumerate(seen_inside(one.plain, ids)):
            at = {site.point: x[index] for site, x in found.tensors.items() if site.layer == layer}
            assert not any(x[n:].any() for x in at.values())
            at = {point: x[:n] for point, x in at.items()}
            same(at["pre"], record["pre"][0])
            same(at["post"], record["post"][0])
            whole = at["pre"] + at["attn_out"] + at["mlp_out"]
            same(at["post"], whole)
            assert all(at[point].std() > 0.1 for point in ("attn_out", "mlp_out"))
            if "mid" in at:
                same(at["mid"], record["mid"][0])
                same(at["mid"], at["pre"] + at["attn_out"])
            else:
                assert model_family in PARALLEL


@pytest.mark.parametrize("point", POINTS)
def test_an_edit_at_a_point_is_what_the_rest_of_the_block_reads(tiny, talk, model_family, point):
    """Add a vector at one point of block 1: every other point of the block follows from the sums."""
    one = tiny(model_family)
    if point not in one.loaded.points:
        pytest.skip("this family has no such point")
    ids = torch.tensor([row_of(one.loaded, talk(TEXTS[0])).tokens])
    v = torch.linspace(-1, 1, one.loaded.d_model)
    kept = {}

    def keep(name):
        return lambda x: kept.update({name: x.clone()})

    others = {Site(1, p): keep(p) for p in one.loaded.points if p != point}
    with torch.no_grad():
        forward(one.loaded, ids, edits={Site(1, p): keep(p) for p in one.loaded.points})
        before = dict(kept)
        edit = compile_batch(
            [add(SteeringVector({Site(1, point): v}), 1.0)],
            Context(torch.arange(ids.shape[1])[None], torch.tensor([[ids.shape[1]]])),
            ids.float(),
        )
        forward(one.loaded, ids, edits={**others, **edit})
    after = {**kept, point: before[point] + v}
    order = ("pre", "attn_out", "mid", "mlp_out", "post")
    for earlier in order[: order.index(point)]:
        if earlier in before:
            same(after[earlier], before[earlier])
    if point != "post":
        if "mid" in after and point == "mid":
            same(after["post"], after["mid"] + after["mlp_out"])
        else:
            same(after["post"], after["pre"] + after["attn_out"] + after["mlp_out"])
        if "mid" in after and point not in ("mid", "mlp_out"):
            same(after["mid"], after["pre"] + after["attn_out"])
        changed = {"pre": "attn_out", "attn_out": "mid", "mid": "mlp_out", "mlp_out": "post"}[point]
        assert not torch.allclose(after.get(changed, after["post"]), before.get(changed, before["post"]))


def test_parallel_attention_has_no_mid(tiny, talk):
    engine = tiny("gpt_neox").engine
    steer = add(SteeringVector({Site(1, "mid"): torch.ones(32)}), 1.0)
    for run in (
        lambda: engine.generate([Request(talk("Hi"), steer)], Decoding(max_new_tokens=2)),
        lambda: engine.activations([talk("Hi")], [Site(1, "mid")]),
        lambda: engine.last_logits([talk("Hi")], steer),
        lambda: engine.gradients([talk("Hi")], [Site(0, "mid")], lambda x, _: x[:, 0]),
    ):
        with pytest.raises(UnknownName, match="no point 'mid'; known: pre, post, attn_out, mlp_out"):
            run()


@pytest.mark.parametrize("layer", [3, 99])
def test_a_layer_the_model_lacks_is_refused_with_those_it_has(tiny, talk, layer):
    engine = tiny("llama").engine
    steer = add(SteeringVector({Site(layer): torch.ones(32)}), 1.0)
    with pytest.raises(UnknownName, match=f"no layer {layer}; known: 0 to 2. Fix the site {layer}.pre"):
        engine.generate([Request(talk("Hi"), steer)], Decoding())
    with pytest.raises(UnknownName, match="known: 0 to 2"):
        engine.activations([talk("Hi")], [Site(layer)])


@pytest.mark.parametrize("width", [2, 31, 33, 64])
def test_a_vector_of_another_width_is_refused_before_anything_runs(tiny, talk, width):
    engine = tiny("llama").engine
    steer = add(SteeringVector({Site(1): torch.ones(width)}), 1.0)
    for run in (
        lambda: engine.generate([Request(talk("Hi")), Request(talk("Hi"), steer)], Decoding()),
        lambda: engine.logprobs([(talk("Hi"), "bread")], steer),
        lambda: engine.last_logits([talk("Hi")], steer),
    ):
        with pytest.raises(BadVector, match=r"vector at 1.pre does not fit tiny-llama, whose width is 32"):
            run()


def test_an_edit_of_one_row_at_mid_leaves_the_others_numbers_alone(tiny):
    one = tiny("llama")
    ids = torch.tensor([[5, 6, 7, 8], [9, 10, 11, 12]])

    def first_row(x):
        return torch.cat([x[:1] + 1, x[1:]])

    with torch.no_grad():
        plain, edited = forward(one.loaded, ids), forward(one.loaded, ids, edits={Site(1, "mid"): first_row})
    assert plain is not None
    assert edited is not None
    assert edited[1].equal(plain[1])
    assert not edited[0].equal(plain[0])


@contextmanager
def reading(plain, sites):
    """What stands at pre, post and mlp_out, hooked after the edits that are already there."""
    seen, handles = {}, []
    for site in sites:
        block = blocks(plain)[site.layer]
        mlp = block.get_submodule(ADDED.get(plain.config.model_type, ("self_attn", "mlp"))[1])
        if site.point == "pre":
            handles.append(block.register_forward_pre_hook(lambda _, x, s=site: seen.__setitem__(s, x[0])))
        else:
            part = block if site.point == "post" else mlp
            handles.append(
                part.register_forward_hook(
                    lambda _, __, x, s=site: seen.__setitem__(s, x[0] if isinstance(x, tuple) else x)
                )
            )
    try:
        yield seen
    finally:
        for handle in handles:
            handle.remove()


@pytest.mark.parametrize("family", ["llama", "gemma2", "gpt_neox"])
def test_activations_under_an_intervention_are_those_of_a_naive_pass_with_the_same_edits(tiny, talk, arms_of, family):
    """Read at the edited sites themselves, and below and above them; rows of several lengths, padded."""
    one = tiny(family)
    talks = [talk("How do I bake bread?"), talk("Hi"), talk("the sea", prefill="Here is how")]
    reads = [Site(layer, point) for layer in range(3) for point in ("pre", "post", "mlp_out")]
    for name, arm in arms_of(one.loaded).items():
        found = one.engine.activations(talks, reads, intervention=arm.intervention)
        tail = one.engine.activations(talks, [Site(2)], tail=2, intervention=arm.intervention)
        for i, c in enumerate(talks):
            row = row_of(one.loaded, c)
            edits = placed(one.plain, [arm.oracle], [row.prompt_length], [0])
            with edits, reading(one.plain, reads) as seen, torch.no_grad():
                one.plain(input_ids=torch.tensor([row.tokens]), use_cache=False)
            for site in reads:
                mine = found.tensors[site][i, : len(row.tokens)]
                assert torch.allclose(mine, seen[site][0], rtol=1e-3, atol=1e-3), (name, site)
            last = seen[Site(2)][0, row.prompt_length - 2 : row.prompt_length]
            torch.testing.assert_close(tail.tensors[Site(2)][i], last, rtol=1e-3, atol=1e-3)
