import itertools
from typing import Any

import pytest

from demur.errors import InputError
from demur.features import minimal
from demur.types import Feature, FeatureSet, Site

SITES = (Site(1), Site(2))


def a_set(n=6) -> FeatureSet:
    features = tuple(Feature(SITES[i % 2], i, 1.0 / (i + 1)) for i in range(n))
    return FeatureSet(features, {site: f"sha-{site}" for site in SITES}, {"method": "test", "saes": {"1.pre": "a"}})


def worth(values):
    """Effects that add up; `seen` counts the calls and the sets."""
    seen = []

    def effect(sets):
        seen.append(len(sets))
        return [sum(values[f.index] for f in one.features) for one in sets]

    effect.seen = seen  # pyright: ignore[reportFunctionMemberAccess]
    return effect


def indices(found):
    return [f.index for f in found.features]


@pytest.mark.parametrize(
    ("values", "share", "left"),
    [
        ((50, 1, 30, 2, 15, 2), 0.9, [0, 2, 4]),
        ((50, 1, 30, 2, 15, 2), 0.99, [0, 2, 3, 4, 5]),
        ((50, 1, 30, 2, 15, 2), 1.0, [0, 1, 2, 3, 4, 5]),
        ((50, 1, 30, 2, 15, 2), 0.5, [0]),
        ((0, 0, 0, 100, 0, 0), 0.9, [3]),
        ((10, -5, 10, -5, 10, 0), 0.9, [0, 2]),
    ],
)
def test_additive_effects_leave_the_largest(values, share, left):
    found = minimal(a_set(), worth(values), share)
    assert sorted(indices(found)) == left
    origin: Any = found.origin
    assert origin["effect"] == sum(values[i] for i in left)
    assert origin["whole"] == sum(values)
    assert origin["effect"] >= share * origin["whole"]


def test_a_screen_draws_the_path_and_the_effect_decides_how_far_it_is_gone():
    screen, effect = worth((6, 5, 4, 3, 2, 1)), worth((50, 30, 10, 8, 1, 1))
    found = minimal(a_set(), effect, 0.9, screen)
    assert sorted(indices(found)) == [0, 1, 2]
    assert effect.seen == [6]  # pyright: ignore[reportFunctionMemberAccess]
    assert screen.seen == [6, 5, 4, 3, 2]  # pyright: ignore[reportFunctionMemberAccess]
    assert [step["kept"] for step in found.origin["path"]] == [True, True, True, False, False]


def test_with_a_screen_a_set_behind_one_that_keeps_less_counts_too():
    values = {6: 10.0, 5: 9.5, 4: 5.0, 3: 9.9, 2: 8.0, 1: 0.0}
    found = minimal(a_set(), lambda sets: [values[len(s.features)] for s in sets], 0.9, worth((6, 5, 4, 3, 2, 1)))
    assert len(found.features) == 3


def test_what_stands_in_for_another_is_dropped():
    """Two copies of one latent: either will do, so one goes; both are needed as soon as the other is gone."""

    def effect(sets):
        held = [{f.index for f in one.features} for one in sets]
        return [float(bool(h & {0, 1})) + float(2 in h) for h in held]

    assert sorted(indices(minimal(a_set(3), effect, 1.0))) == [0, 2]


def test_additive_effects_give_the_smallest_subset_that_there_is():
    values = (31, 7, 3, 19, 23, 17)
    found = minimal(a_set(), worth(values), 0.75)
    enough = [c for r in range(1, 7) for c in itertools.combinations(values, r) if sum(c) >= 0.75 * 100]
    assert len(found.features) == len(enough[0])


def test_the_path_tells_what_was_dropped_and_what_was_too_much():
    effect = worth((50, 1, 30, 2, 15, 2))
    origin: Any = minimal(a_set(), effect, 0.9).origin
    assert [(step["dropped"], step["effect"], step["kept"]) for step in origin["path"]] == [
        ("2.pre:1", 99.0, True),
        ("2.pre:5", 97.0, True),
        ("2.pre:3", 95.0, True),
        ("1.pre:4", 80.0, False),
    ]
    assert effect.seen == [1, 6, 5, 4, 3]  # pyright: ignore[reportFunctionMemberAccess]
    assert (origin["share"], origin["from"]["method"], origin["saes"]) == (0.9, "test", {"1.pre": "a"})


def test_order_scores_and_hashes_are_kept_for_the_sites_that_are_left():
    found = minimal(a_set(), worth((40, 0, 30, 0, 30, 0)))
    assert found.features == tuple(f for f in a_set().features if f.index in (0, 2, 4))
    assert found.saes == {Site(1): "sha-1.pre"}


def test_one_latent_is_left_as_it_is():
    effect = worth((5,))
    assert indices(minimal(a_set(1), effect)) == [0]
    assert effect.seen == [1]  # pyright: ignore[reportFunctionMemberAccess]


@pytest.mark.parametrize(
    ("features", "effect", "share", "message"),
    [
        (a_set(0), worth(()), 0.9, "the feature set is empty; find features first"),
        (a_set(), worth((1,) * 6), 0.0, "share is 0.0; give the part"),
        (a_set(), worth((1,) * 6), 1.1, "share is 1.1"),
        (a_set(), worth((0,) * 6), 0.9, "the whole set's effect is 0, so no part of it can be kept"),
        (a_set(), worth((-1,) * 6), 0.9, "effect is -6"),
        (a_set(), worth((float("nan"),) * 6), 0.9, "an effect is nan; effects are finite numbers"),
        (
            a_set(),
            lambda sets: [1.0, 1.0],
            0.9,
            "gave 2 numbers for 1 feature sets; it gives one for each",
        ),
    ],
)
def test_what_cannot_be_reduced_is_refused(features, effect, share, message):
    with pytest.raises(InputError, match=message):
        minimal(features, effect, share)
