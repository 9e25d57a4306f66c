import torch

from demur.interventions import Context, ablate, add, at, chain, compile_batch, scale
from demur.types import Direction, Site, SteeringVector

A, B = Site(0), Site(1, "mlp_out")
D = 6


def vector(seed):
    return torch.randn(D, generator=torch.Generator().manual_seed(seed))


def towards(seed):
    return Direction(vector(seed) / vector(seed).norm(), A, 1.0)


def rows():
    """One of each kind, some of equal shape with other numbers, some shared, some that do nothing."""
    shared = at("from-last", ablate(towards(9), [A, B]))
    return [
        None,
        add(SteeringVector({A: vector(1), B: vector(2)}), 1.0),
        add(SteeringVector({A: vector(3), B: vector(4)}), -2.0),
        add(SteeringVector({A: vector(5)}), 1.0),
        shared,
        chain(),
        shared,
        scale(towards(6), 3.0),
        ablate(towards(7), [A]),
        chain(at("last", add(towards(1), 2.0), 2), scale(towards(2), -1.0)),
        chain(at("last", add(towards(3), 1.0), 2), scale(towards(4), 0.5)),
        chain(at("last", add(towards(3), 1.0), 3), scale(towards(4), 0.5)),
        add(towards(5), 0.0),
    ]


def test_a_stacked_batch_equals_its_rows_one_by_one():
    interventions = rows()
    n = len(interventions)
    context = Context(torch.arange(5)[None].expand(n, -1), torch.arange(n)[:, None] % 4 + 1)
    x = torch.randn(n, 5, D)
    before = x.clone()
    edits = compile_batch(interventions, context, x)
    assert set(edits) == {A, B}
    for site, edit in edits.items():
        together = edit(x)
        assert x.equal(before)
        for row, intervention in enumerate(interventions):
            alone = x[row : row + 1]
            if intervention is not None and site in intervention.sites:
                alone = intervention.edit(alone, site, context.rows(torch.tensor([row])))
            torch.testing.assert_close(together[row : row + 1], alone, rtol=1e-6, atol=1e-6)


def test_a_batch_that_does_nothing_has_no_edits():
    context = Context(torch.zeros(3, 1, dtype=torch.long), torch.ones(3, 1, dtype=torch.long))
    assert compile_batch([None, chain(), add(towards(1), 0.0)], context, torch.zeros(1)) == {}


def test_edits_are_in_the_streams_dtype():
    context = Context(torch.arange(5)[None].expand(2, -1), torch.tensor([[3], [3]]))
    for dtype in (torch.float64, torch.bfloat16):
        x = torch.randn(2, 5, D, dtype=dtype)
        for pair in (rows()[1:3], rows()[7:9], rows()[9:11]):
            assert compile_batch(pair, context, x)[A](x).dtype == dtype


def test_shapes_tell_what_cannot_be_stacked():
    kinds = [i.shape() for i in rows() if i is not None and i.sites]
    assert len(set(kinds)) == 6
