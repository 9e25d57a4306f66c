import copy
from types import SimpleNamespace

import pytest
import torch
from tests.contracts.test_sites import PARALLEL

from demur.errors import BadSpec, UnknownName
from demur.models.attention import Pass, Store, attend, attending
from demur.models.families import FAMILIES, family_of, points_of
from demur.models.forward import forward, padded
from demur.models.hooks import registered, resuming, stopping_at
from demur.types import POINTS, Site


def test_each_line_of_the_table_names_modules_that_exist(tiny, model_family):
    one = tiny(model_family)
    name = model_family.removesuffix("_serial").removesuffix("_new")
    assert one.loaded.family == FAMILIES[name] == family_of(one.plain.config)
    assert len(one.loaded.blocks) == 3
    for block in one.loaded.blocks:
        assert block.get_submodule(one.loaded.family.attn) is not block.get_submodule(one.loaded.family.mlp)


def test_parallel_blocks_have_no_mid_and_all_others_have_every_point(tiny, model_family):
    loaded = tiny(model_family).loaded
    assert loaded.points == points_of(loaded.family, loaded.model.config)
    assert loaded.points == (tuple(p for p in POINTS if p != "mid") if model_family in PARALLEL else POINTS)


def test_an_unknown_family_is_refused_with_the_nearest_and_the_fix():
    class Config:
        model_type = "qwen4"

    with pytest.raises(UnknownName, match=r"no model family named 'qwen4'.*Did you mean 'qwen\d'\?.*families.py"):
        family_of(Config())


def test_logits_equal_transformers_own(tiny, model_family):
    one = tiny(model_family)
    ids = torch.randint(3, 300, (3, 25), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        hidden = forward(one.loaded, ids)
        assert hidden is not None
        torch.testing.assert_close(one.loaded.head(hidden), one.plain(input_ids=ids).logits, rtol=1e-4, atol=1e-4)


def test_right_padding_changes_no_row(tiny, model_family):
    one = tiny(model_family)
    rows = [list(range(20, 20 + n)) for n in (3, 17, 9)]
    ids, lengths = padded(rows)
    with torch.no_grad():
        together = forward(one.loaded, ids)
        assert together is not None
        for i, row in enumerate(rows):
            alone = forward(one.loaded, torch.tensor([row]))
            torch.testing.assert_close(together[i, : lengths[i]], alone[0], rtol=1e-4, atol=1e-5)  # pyright: ignore


def test_the_passes_in_pieces_equal_the_pass_in_one(tiny, model_family):
    """Into a store: 7 columns, then 6 more, then 3 decoding steps with rows at positions of their own."""
    one = tiny(model_family)
    ids = torch.randint(3, 300, (2, 16), generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        whole = forward(one.loaded, ids)
        assert whole is not None
        store = Store(4, 20)
        rows = slice(1, 3)
        pieces = [
            forward(one.loaded, ids[:, :7], Pass(rows, 0, seen=7), store),
            forward(one.loaded, ids[:, 7:13], Pass(rows, 7, seen=13), store),
        ]
        steps = []
        at = torch.tensor([13, 10])  # row 1 goes back and runs columns 10 to 12 again
        for _ in range(3):
            token = ids[torch.arange(2), at][:, None]
            hidden = forward(one.loaded, token, Pass(rows, positions=at, seen=int(at.max()) + 1), store)
            assert hidden is not None
            steps.append((at, hidden[:, 0]))
            at = at + 1
    torch.testing.assert_close(torch.cat(pieces, 1), whole[:, :13], rtol=1e-4, atol=1e-5)  # pyright: ignore
    for at, hidden in steps:
        torch.testing.assert_close(hidden, whole[torch.arange(2), at], rtol=1e-4, atol=1e-5)


def test_rows_of_a_store_are_copied_even_when_sources_and_targets_overlap():
    store = Store(4, 5)
    store.keys[0], store.values[0] = torch.arange(40.0).view(4, 1, 5, 2), -torch.arange(40.0).view(4, 1, 5, 2)
    before = store.keys[0].clone()
    store.copy_rows(torch.tensor([0, 0, 1]), torch.tensor([0, 1, 2]), 3)
    assert store.keys[0][:3, :, :3].equal(before[[0, 0, 1], :, :3])
    assert store.keys[0][:, :, 3:].equal(before[:, :, 3:])
    assert store.values[0].equal(-store.keys[0])


def test_a_store_refuses_to_be_used_without_a_pass():
    with pytest.raises(AssertionError, match="through a Pass"):
        Store(1, 4).update(torch.zeros(1, 1, 1, 2), torch.zeros(1, 1, 1, 2), 0)


class Layer(torch.nn.Module):
    """A layer whose attention stays inside chunks, or not."""

    def __init__(self, chunk):
        super().__init__()
        self.layer_idx = 1
        kind = "chunked_attention" if chunk else "full_attention"
        self.config = SimpleNamespace(layer_types=["full_attention", kind], attention_chunk_size=chunk)


@pytest.mark.parametrize("sinks", [None, torch.tensor([0.5, -1.0, 2.0, 0.0])], ids=["", "sinks"])
@pytest.mark.parametrize("softcap", [None, 2.0])
@pytest.mark.parametrize("window", [None, 3])
@pytest.mark.parametrize("chunk", [0, 4])
@pytest.mark.parametrize("queries", [1, 6])
@pytest.mark.parametrize("ragged", [False, True])
def test_attention_is_a_masked_softmax(softcap, window, queries, chunk, sinks, ragged):
    random = torch.Generator().manual_seed(0)
    q = torch.randn(2, 4, queries, 8, generator=random)
    k, v = torch.randn(2, 2, 9, 8, generator=random), torch.randn(2, 2, 9, 5, generator=random)
    starts = torch.tensor([9 - queries, 2 if ragged else 9 - queries])
    seeing = Pass(slice(0, 2), 9 - queries, seen=9)
    if ragged:
        seeing = Pass(slice(0, 2), positions=starts, seen=9)
    with attending([], seeing):
        out, _ = attend(Layer(chunk), q, k, v, scaling=0.3, sliding_window=window, softcap=softcap, s_aux=sinks)
    scores = 0.3 * q @ k.repeat_interleave(2, 1).transpose(2, 3)
    scores = softcap * torch.tanh(scores / softcap) if softcap else scores
    at, column = starts[:, None, None] + torch.arange(queries)[:, None], torch.arange(9)
    seen = (column <= at) & (column > at - (window or 99)) & (column // (chunk or 99) == at // (chunk or 99))
    weights = scores.masked_fill(~seen[:, None], float("-inf")).exp()
    total = weights.sum(-1, keepdim=True) + (0 if sinks is None else sinks.exp()[:, None, None])
    torch.testing.assert_close(out.transpose(1, 2), weights / total @ v.repeat_interleave(2, 1), rtol=1e-5, atol=1e-5)


def test_the_mask_handed_to_older_families_is_the_one_that_attention_makes():
    like = torch.zeros(1)
    for seeing in (Pass(seen=6), Pass(slice(0, 2), positions=torch.tensor([5, 2]), seen=6)):
        queries = seeing.keys(1 if seeing.positions is not None else 6, stored=seeing.positions is not None)
        width = 1 if seeing.positions is not None else queries
        whole = seeing.written(width, queries, like)
        own = seeing.mask(width, queries, 0, 0, like)
        assert whole.equal(torch.full((6, 6), float("-inf")).triu(1)[None, None] if own is None else own)


def test_what_a_family_asks_of_attention_beyond_demurs_is_refused_and_never_swallowed():
    q = torch.zeros(1, 2, 3, 4)
    with attending([], Pass()):
        attend(Layer(0), q, q, q, dropout=0.0, position_ids=torch.zeros(1, 3), use_cache=True, head_mask=None)
        with pytest.raises(BadSpec, match=r"asks its attention for alibi, head_mask, which demur's does not have"):
            attend(Layer(0), q, q, q, alibi=torch.zeros(2), head_mask=torch.ones(2))
        with pytest.raises(BadSpec, match="asks its attention for looking ahead"):
            attend(Layer(0), q, q, q, is_causal=False)


@pytest.mark.parametrize(
    ("family", "flag", "why"),
    [
        ("falcon", "alibi", "bias by distance"),
        ("gemma3_text", "use_bidirectional_attention", "see what comes after"),
        ("gemma3", "use_bidirectional_attention", "see what comes after"),
    ],
)
def test_a_config_under_which_passes_would_be_wrong_is_refused_with_the_reason(tiny, family, flag, why):
    config = copy.deepcopy(tiny(family).plain.config)
    assert family_of(config) == FAMILIES[family]
    setattr(config.get_text_config(), flag, True)
    with pytest.raises(BadSpec, match=f"a {family} model with {flag} in its config cannot be run: .*{why}"):
        family_of(config)


def test_resuming_at_a_layer_gives_the_whole_passes_result(tiny, model_family):
    one = tiny(model_family)
    ids = torch.randint(3, 300, (2, 12), generator=torch.Generator().manual_seed(2))
    blocks = list(one.loaded.blocks)
    with torch.no_grad():
        whole = forward(one.loaded, ids)
        for layer in (1, 2):
            kept = []
            assert forward(one.loaded, ids, edits={Site(layer - 1, "post"): kept.append}, stop=layer - 1) is None
            resumed = forward(one.loaded, ids, resume=(layer, kept[0]))
            torch.testing.assert_close(resumed, whole)
    assert list(one.loaded.blocks) == blocks
    assert registered(one.loaded.model) == 0


def test_stopping_and_resuming_are_undone_after_an_exception(tiny):
    loaded = tiny("llama").loaded
    blocks = list(loaded.blocks)
    with pytest.raises(ZeroDivisionError), stopping_at(loaded.blocks, 1), resuming(loaded.blocks, 2, torch.zeros(1)):
        raise ZeroDivisionError
    assert list(loaded.blocks) == blocks
    assert registered(loaded.model) == 0
    with pytest.raises(ValueError, match="below layer 0"), resuming(loaded.blocks, 0, torch.zeros(1)):
        pass
