import pytest
import torch
from tests.contracts.test_sites import PARALLEL

from demur.errors import UnknownName
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


@pytest.mark.parametrize("softcap", [None, 2.0])
@pytest.mark.parametrize("window", [None, 3])
@pytest.mark.parametrize("queries", [1, 6])
def test_attention_is_a_masked_softmax(softcap, window, queries):
    random = torch.Generator().manual_seed(0)
    q = torch.randn(2, 4, queries, 8, generator=random)
    k, v = torch.randn(2, 2, 6, 8, generator=random), torch.randn(2, 2, 6, 8, generator=random)
    start = 6 - queries
    seeing = Pass(slice(0, 2), start, seen=6)
    with attending([], seeing):
        out, _ = attend(torch.nn.Identity(), q, k, v, scaling=0.3, sliding_window=window, softcap=softcap)
    scores = 0.3 * q @ k.repeat_interleave(2, 1).transpose(2, 3)
    scores = softcap * torch.tanh(scores / softcap) if softcap else scores
    at, column = start + torch.arange(queries)[:, None], torch.arange(6)[None]
    seen = (column <= at) & (column > at - (window or 99))
    wanted = torch.softmax(scores.masked_fill(~seen, float("-inf")), -1) @ v.repeat_interleave(2, 1)
    torch.testing.assert_close(out.transpose(1, 2), wanted, rtol=1e-5, atol=1e-5)


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
