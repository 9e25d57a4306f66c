import json

import pytest
import torch
from jaxtyping import TypeCheckError

from demur.errors import BadSpec, BadVector
from demur.interventions import Context, add, at, chain, compile_batch, from_spec, patch
from demur.types import Site, SteeringVector

SITE, OTHER = Site(0), Site(1, "mid")
D = 4


def deltas(tokens, seed=0):
    return torch.randn(tokens, D, generator=torch.Generator().manual_seed(seed))


def added(intervention, positions):
    """What it adds at these positions of one row."""
    context = Context(torch.tensor([list(positions)]), torch.tensor([[3]]))
    return intervention.edit(torch.zeros(1, len(positions), D), SITE, context)[0]


def test_each_position_gets_its_own_vector_and_later_ones_nothing():
    given = deltas(4)
    new = added(patch({SITE: given}), range(7))
    assert new[:4].equal(given)
    assert not new[4:].any()


def test_positions_are_those_of_the_sequence_whatever_the_pass_holds():
    arm = patch({SITE: deltas(4)})
    whole = added(arm, range(7))
    for cut in range(1, 7):
        assert torch.cat([added(arm, range(cut)), added(arm, range(cut, 7))]).equal(whole)
    for position in range(7):
        assert added(arm, [position]).equal(whole[position : position + 1])


def test_patching_in_another_runs_stream_gives_that_stream():
    ours, theirs = torch.randn(1, 5, D), torch.randn(1, 5, D)
    context = Context(torch.arange(5)[None], torch.tensor([[5]]))
    new = patch({SITE: (theirs - ours)[0]}).edit(ours, SITE, context)
    torch.testing.assert_close(new, theirs)


def test_patches_of_different_lengths_are_stacked_and_equal_their_rows():
    rows = [patch({SITE: deltas(n, n), OTHER: deltas(2 * n, n + 9)}) for n in (1, 4, 6)]
    assert len({row.shape() for row in rows}) == 1
    positions = torch.tensor([[0, 1, 2, 3, 4], [3, 4, 5, 6, 7], [5, 6, 7, 8, 9]])
    context = Context(positions, torch.tensor([[3], [3], [6]]))
    x = torch.randn(3, 5, D)
    before = x.clone()
    for site, edit in compile_batch(rows, context, x).items():
        together = edit(x)
        for i, row in enumerate(rows):
            assert together[i : i + 1].equal(row.edit(x[i : i + 1], site, context.rows(torch.tensor([i]))))
    assert x.equal(before)


def test_small_differences_survive_a_bf16_stream():
    x = torch.full((1, 1, D), 1.0, dtype=torch.bfloat16)
    target = torch.full((1, 1, D), 1.0078125, dtype=torch.bfloat16)
    context = Context(torch.tensor([[0]]), torch.tensor([[1]]))
    arm = patch({SITE: (target.float() - x.float())[0]})
    new = compile_batch([arm], context, x)[SITE](x)
    assert new.dtype == torch.bfloat16
    assert new.equal(target)


def test_a_patch_of_nothing_has_no_sites():
    assert not patch({}).sites
    assert not patch({SITE: torch.zeros(3, D), OTHER: torch.zeros(0, D)}).sites
    assert patch({SITE: torch.zeros(3, D), OTHER: deltas(2)}).sites == {OTHER}


def test_the_deltas_given_are_copied():
    given = deltas(3)
    arm = patch({SITE: given})
    before = added(arm, range(3))
    given.zero_()
    assert added(arm, range(3)).equal(before)


def test_the_last_position_of_a_patch_is_found_inside_wrappers():
    short, long = patch({SITE: deltas(3)}), patch({SITE: deltas(2), OTHER: deltas(8)})
    plain = add(SteeringVector({SITE: torch.ones(D)}), 1.0)
    assert [arm.until for arm in (plain, chain(), short, long)] == [0, 0, 3, 8]
    assert chain(plain, at("generated", chain(short, long))).until == 8


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (torch.ones(D), r"patch at 0.pre has shape \(4,\); give \[tokens, d_model\]"),
        (torch.ones(1, 2, D), r"shape \(1, 2, 4\)"),
        (torch.ones(3, 1), r"shape \(3, 1\)"),
        (torch.tensor([[1.0, float("nan")], [float("inf"), 1.0]]), "2 of 4 entries are NaN or infinite"),
        (torch.full((1, 2), 1e300, dtype=torch.float64), "2 of 2 entries are NaN or infinite"),
    ],
)
def test_bad_deltas_are_refused_naming_their_site(bad, message):
    with pytest.raises((BadVector, TypeCheckError), match=message):
        patch({SITE: bad})


def test_a_spec_goes_through_json_and_back_exactly():
    made = patch({SITE: deltas(3), OTHER: deltas(5, 1)})
    again = from_spec(json.loads(json.dumps(made.spec(), allow_nan=False)))
    assert again.spec() == made.spec()
    assert (again.sites, again.reach, again.shape()) == (made.sites, made.reach, made.shape())
    assert again.deltas[OTHER].equal(made.deltas[OTHER])  # pyright: ignore[reportAttributeAccessIssue]
    by_hand = from_spec({"op": "patch", "deltas": {"0.pre": [[1, 2], [3, 4]]}})
    assert by_hand.deltas[SITE].tolist() == [[1, 2], [3, 4]]  # pyright: ignore[reportAttributeAccessIssue]


@pytest.mark.parametrize("given", [None, {"x": [[1, 2]]}, {"0.pre": [1, 2]}, {"0.pre": [[1, 2], [3]]}, {"0.pre": []}])
def test_a_malformed_spec_is_refused(given):
    with pytest.raises((BadSpec, BadVector)):
        from_spec({"op": "patch", "deltas": given})
