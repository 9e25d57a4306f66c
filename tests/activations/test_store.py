import pytest
import torch

from demur.activations.store import Activations, joined
from demur.types import Site

SITE = Site(0)


def ragged(*lengths, d=3):
    width = max(lengths)
    mask = torch.arange(width)[None] < torch.tensor(lengths)[:, None]
    x = torch.arange(1.0, len(lengths) * width * d + 1).view(len(lengths), width, d) * mask[..., None]
    return Activations({SITE: x}, mask)


def test_last_counts_back_from_each_sequences_own_end():
    a = ragged(2, 4, 3)
    x = a.tensors[SITE]
    assert a.last(SITE).equal(torch.stack([x[0, 1], x[1, 3], x[2, 2]]))
    assert a.last(SITE, 2).equal(torch.stack([x[0, 0], x[1, 2], x[2, 1]]))
    with pytest.raises(ValueError, match="fewer than 3 tokens"):
        a.last(SITE, 3)


def test_rows_are_the_sequences_without_padding():
    a = ragged(2, 4, 3)
    assert [x.shape for x in a.rows(SITE)] == [(2, 3), (4, 3), (3, 3)]
    assert a.rows(SITE)[1].equal(a.tensors[SITE][1])


def test_the_median_norm_leaves_out_padding_and_first_tokens():
    mask = torch.tensor([[True, True, True], [True, True, False]])
    x = torch.zeros(2, 3, 2)
    x[0, :, 0] = torch.tensor([1000.0, 3.0, 4.0])
    x[1, :, 0] = torch.tensor([1000.0, 5.0, 0.0])
    assert Activations({SITE: x}, mask).median_norm(SITE) == 4.0
    assert Activations({SITE: x}, mask).median_norm(SITE, skip=0) == 5.0


def test_joined_batches_are_padded_with_zeros_to_the_longest():
    a, b = ragged(2, 1), ragged(4)
    whole = joined([a, b])
    assert whole.mask.sum(1).tolist() == [2, 1, 4]
    assert whole.tensors[SITE].shape == (3, 4, 3)
    assert not whole.tensors[SITE][:2, 2:].any()
    assert whole.last(SITE).equal(torch.cat([a.last(SITE), b.last(SITE)]))
