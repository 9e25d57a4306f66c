import pytest
import torch
from jaxtyping import TypeCheckError

from demur.errors import BadSpec
from demur.interventions import Context, add, at, chain
from demur.types import Site, SteeringVector

SITE = Site(0)
ONE = add(SteeringVector({SITE: torch.ones(4)}), 1.0)


def acted(intervention, positions, length, only=False) -> list[int]:
    """Columns that the intervention changed."""
    context = Context(torch.tensor([positions]), torch.tensor([[length]]), only)
    new = intervention.edit(torch.zeros(1, len(positions), 4), SITE, context)
    return [int(x) for x in new[0, :, 0]]


@pytest.mark.parametrize(
    ("where", "k", "expected"),
    [
        ("all", 1, [1, 1, 1, 1, 1, 1]),
        ("prompt", 1, [1, 1, 1, 1, 0, 0]),
        ("generated", 1, [0, 0, 0, 0, 1, 1]),
        ("from-last", 1, [0, 0, 0, 1, 1, 1]),
        ("after-first", 1, [0, 1, 1, 1, 1, 1]),
        ("last", 1, [0, 0, 0, 1, 0, 0]),
        ("last", 3, [0, 1, 1, 1, 0, 0]),
        ("last", 99, [1, 1, 1, 1, 0, 0]),
    ],
)
def test_positions_are_those_of_the_sequence_whatever_the_pass_holds(where, k, expected):
    arm = at(where, ONE, k)
    assert acted(arm, range(6), 4) == expected
    for cut in range(1, 6):  # the same in two passes, as with a cache
        assert acted(arm, range(cut), 4) + acted(arm, range(cut, 6), 4) == expected
    for position in (4, 5):
        assert acted(arm, [position], 4, only=True) == [expected[position]]


def test_each_row_has_its_own_prompt_length():
    context = Context(torch.arange(5)[None].expand(2, -1), torch.tensor([[2], [4]]))
    new = at("last", ONE, 2).edit(torch.zeros(2, 5, 4), SITE, context)
    assert new[..., 0].tolist() == [[1, 1, 0, 0, 0], [0, 0, 1, 1, 0]]


def test_wrappers_intersect():
    arm = at("from-last", at("prompt", chain(ONE, at("last", ONE, 3))))
    assert acted(arm, range(6), 4) == [0, 0, 0, 2, 0, 0]
    assert acted(at("generated", at("last", ONE, 2)), range(6), 4) == [0] * 6


@pytest.mark.parametrize(
    ("arm", "reach"),
    [
        (ONE, "all"),
        (at("all", ONE), "all"),
        (at("prompt", ONE), "all"),
        (at("last", ONE, 2), "all"),
        (at("last", ONE), "last"),
        (at("from-last", ONE), "last"),
        (at("generated", ONE), "generated"),
        (at("all", at("from-last", ONE)), "last"),
        (at("prompt", at("generated", ONE)), "generated"),
        (chain(at("generated", ONE), at("from-last", ONE)), "last"),
        (chain(at("generated", ONE), ONE), "all"),
        (chain(add(SteeringVector({SITE: torch.ones(4)}), 0.0), at("generated", ONE)), "generated"),
        (chain(), "generated"),
    ],
)
def test_reach_is_no_later_than_the_first_position_acted_on(arm, reach):
    assert arm.reach == reach
    if not arm.sites:
        return
    first = {"all": 0, "last": 3, "generated": 4}[reach]
    assert not any(acted(arm, range(6), 4)[:first])


@pytest.mark.parametrize("where", ["", "everywhere", "Last", "0"])
def test_unknown_positions_are_refused(where):
    with pytest.raises(BadSpec, match="known: all, prompt, generated, from-last, last"):
        at(where, ONE)


@pytest.mark.parametrize("k", [0, -1, 1.0, True, "2", None])
def test_k_counts_tokens(k):
    with pytest.raises(
        (BadSpec, TypeCheckError), match=r"k counts tokens and is at least 1|Expected type: <class 'int'>"
    ):
        at("last", ONE, k)
