"""Intervals and tests against known values, and against what must always hold."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import spearmanr
from sklearn.metrics import cohen_kappa_score

from demur.errors import InputError
from demur.stats import (
    auroc,
    bootstrap_pvalue,
    cluster_mean,
    clustered_share,
    holm,
    kappa,
    paired_difference,
    recall_at_fpr,
    resampled,
    spearman,
    wilson,
)

shares = st.integers(1, 400).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n)))


@pytest.mark.parametrize(
    ("k", "n", "low", "high"),
    [  # statsmodels.stats.proportion.proportion_confint(k, n, method="wilson")
        (10, 100, 0.0552291, 0.1743657),
        (5, 10, 0.2365931, 0.7634069),
        (0, 10, 0.0, 0.2775328),
        (10, 10, 0.7224672, 1.0),
        (1, 1, 0.2065493, 1.0),
    ],
)
def test_wilson_gives_the_published_values(k: int, n: int, low: float, high: float) -> None:
    assert wilson(k, n) == pytest.approx((low, high), abs=1e-6)


def test_wilson_knows_nothing_about_nothing() -> None:
    assert wilson(0, 0) == (0.0, 1.0)


def test_wilson_refuses_a_share_above_one() -> None:
    with pytest.raises(InputError, match="11 of 10"):
        wilson(11, 10)


@given(shares)
def test_wilson_holds_the_share_inside_0_and_1_and_mirrors(share: tuple[int, int]) -> None:
    k, n = share
    low, high = wilson(k, n)
    assert 0 <= low <= k / n <= high <= 1
    mirrored = wilson(n - k, n)
    assert (1 - mirrored[1], 1 - mirrored[0]) == pytest.approx((low, high))


def test_a_paired_difference_is_the_difference_of_the_means() -> None:
    value, low, high = paired_difference([1, 1, 0, 1], [0, 1, 0, 0], list("abcd"))
    assert value == 0.5
    assert low < 0.5 < high


def test_equal_arms_differ_by_exactly_zero() -> None:
    assert paired_difference([1, 0, 1], [1, 0, 1], [1, 2, 3]) == (0, 0, 0)


def test_a_bootstrap_repeats_with_its_seed_and_changes_with_it() -> None:
    rng = np.random.default_rng(1)
    a, b = rng.random(50), rng.random(50)
    ids = list(range(50))
    assert paired_difference(a, b, ids) == paired_difference(a, b, ids)
    assert paired_difference(a, b, ids) != paired_difference(a, b, ids, seed=1)


def test_the_clustered_interval_matches_the_textbook_standard_error() -> None:
    values = np.random.default_rng(0).normal(size=400)
    _, low, high = cluster_mean(values, range(400), n_boot=8000)
    assert (high - low) / 2 == pytest.approx(1.96 * values.std() / 20, rel=0.05)


def test_copies_of_an_answer_do_not_narrow_the_interval() -> None:
    values = np.random.default_rng(0).integers(0, 2, 40).astype(float)
    _, low, high = cluster_mean(values, range(40))
    _, low9, high9 = cluster_mean(np.repeat(values, 9), np.repeat(np.arange(40), 9).tolist())
    _, naive_low, naive_high = cluster_mean(np.repeat(values, 9), range(360))
    assert high9 - low9 == pytest.approx(high - low, rel=0.05)
    assert naive_high - naive_low < 0.5 * (high - low)


@given(st.lists(st.tuples(st.booleans(), st.booleans(), st.integers(0, 4)), min_size=1, max_size=30))
def test_swapping_the_arms_flips_the_interval(rows: list[tuple[bool, bool, int]]) -> None:
    a, b, ids = (list(column) for column in zip(*rows, strict=True))
    there, back = paired_difference(a, b, ids, 200), paired_difference(b, a, ids, 200)
    assert there == pytest.approx((-back[0], -back[2], -back[1]), abs=1e-12)


def test_arms_that_do_not_pair_up_are_an_error() -> None:
    with pytest.raises(InputError, match="3 and 2"):
        paired_difference([1, 0, 1], [1, 0], [1, 2, 3])
    with pytest.raises(InputError, match="cluster ids"):
        paired_difference([1, 0], [1, 0], [1])
    with pytest.raises(InputError, match="NaN"):
        paired_difference([1, float("nan")], [1, 0], [1, 2])


def test_the_p_value_is_small_for_a_plain_effect_and_one_for_none() -> None:
    ids = list(range(60))
    assert bootstrap_pvalue([1] * 40 + [0] * 20, [0] * 60, ids) < 0.002
    assert bootstrap_pvalue([1, 0] * 30, [1, 0] * 30, ids) == 1.0


def test_the_p_value_is_uniform_when_nothing_differs() -> None:
    rng = np.random.default_rng(5)
    found = [bootstrap_pvalue(rng.normal(size=40), rng.normal(size=40), range(40), 300) for _ in range(300)]
    assert np.mean(np.array(found) < 0.1) == pytest.approx(0.1, abs=0.05)


def test_holm_matches_the_hand_computation() -> None:
    # sorted .01 .02 .03 .04 -> 4*.01, 3*.02, 2*.03, 1*.04 -> running maximum .04 .06 .06 .06
    assert holm([0.04, 0.01, 0.03, 0.02]) == pytest.approx([0.06, 0.04, 0.06, 0.06])
    assert holm([]).size == 0


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_holm_lies_between_p_and_bonferroni_and_keeps_the_order(p: list[float]) -> None:
    adjusted = holm(p)
    assert np.all(adjusted >= np.array(p) - 1e-12)
    assert np.all(adjusted <= np.minimum(1, np.array(p) * len(p)) + 1e-12) or len(p) > 1
    assert np.all(np.diff(adjusted[np.argsort(p, kind="stable")]) >= -1e-12)


def test_auroc_counts_the_pairs_and_halves_the_ties() -> None:
    assert auroc([0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8]) == 0.75
    assert auroc([0, 1, 0, 1], [5, 5, 5, 5]) == 0.5
    with pytest.raises(InputError, match="both kinds"):
        auroc([1, 1], [0, 1])


@given(st.lists(st.tuples(st.booleans(), st.integers(-5, 5)), min_size=2, max_size=40))
def test_auroc_is_the_share_of_ordered_pairs(rows: list[tuple[bool, int]]) -> None:
    positive = [s for y, s in rows if y]
    negative = [s for y, s in rows if not y]
    if positive and negative:
        pairs = [(p > n) + (p == n) / 2 for p in positive for n in negative]
        assert auroc([y for y, _ in rows], [s for _, s in rows]) == pytest.approx(np.mean(pairs))


def test_one_percent_is_read_only_from_a_thousand_negatives() -> None:
    def recall(negatives: int) -> tuple[float, float, float]:
        labels = [0] * negatives + [1] * 100
        scores = [*range(negatives), *(negatives * (0.90 + i / 1000) for i in range(100))]
        found = recall_at_fpr(labels, scores)
        return found.max_fpr, found.fpr, found.recall

    assert recall(999)[0] == 0.05
    assert recall(1000)[0] == 0.01
    assert recall(1000)[1] <= 0.01
    assert recall(1000)[2] < recall(999)[2]


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 6)), min_size=2, max_size=60))
def test_the_false_positive_rate_is_never_exceeded_even_with_ties(rows: list[tuple[bool, int]]) -> None:
    labels, scores = [y for y, _ in rows], [s for _, s in rows]
    if len(set(labels)) == 2:
        found = recall_at_fpr(labels, scores)
        assert found.fpr <= found.max_fpr
        called = [s >= found.threshold for s in scores]
        assert found.recall == pytest.approx(np.mean([c for c, y in zip(called, labels, strict=True) if y]))


def test_a_clustered_share_of_single_answers_is_wilsons_and_of_copies_that_of_one_each() -> None:
    assert clustered_share([1, 0, 1], [0, 1, 2])[1:] == pytest.approx(wilson(2, 3))
    assert clustered_share([1, 1, 0, 0], ["a", "a", "b", "b"])[1:] == pytest.approx(wilson(1, 2))
    assert clustered_share([1] * 6, ["a", "a", "a", "b", "b", "b"])[1:] == pytest.approx(wilson(2, 2))
    assert clustered_share([1, 0, 1, 0], ["a"] * 4)[1:] == pytest.approx(wilson(1, 2), abs=0.2), "one request was seen"
    with pytest.raises(InputError, match="0 or 1"):
        clustered_share([0.5, 1], [0, 1])


def test_spearman_is_scipys_with_ties():
    random = np.random.default_rng(0)
    a = random.integers(0, 6, 40)
    b = a + random.normal(size=40) * 3
    found = spearman(a, b, list(range(40)))
    assert found.value == pytest.approx(spearmanr(a, b)[0])
    assert found.low < found.value < found.high
    assert spearman(a, np.exp(a), list(range(40)))[:2] == pytest.approx((1.0, 1.0))
    assert spearman(a, b, list(range(40)), seed=1) != found == spearman(a, b, list(range(40)))


def test_spearmans_interval_is_wider_when_pairs_come_in_clusters():
    random = np.random.default_rng(1)
    centres = random.normal(size=(8, 2)).repeat(10, 0)
    a, b = (centres + 0.01 * random.normal(size=(80, 2))).T
    clustered, alone = spearman(a, b, [i // 10 for i in range(80)]), spearman(a, b, list(range(80)))
    assert clustered.value == alone.value
    assert clustered.high - clustered.low > 1.5 * (alone.high - alone.low)


def test_a_rank_correlation_that_means_nothing_is_refused():
    for a, b in (([1, 2], [1, 2]), ([1, 1, 1], [1, 2, 3]), ([1, 2, 3], [4, 4, 4])):
        with pytest.raises(InputError, match="needs 3 pairs that are not all equal"):
            spearman(a, b, list(range(len(a))))
    with pytest.raises(InputError, match="3 and 2 values and 3 cluster ids"):
        spearman([1, 2, 3], [1, 2], [1, 2, 3])


def test_any_statistic_is_resampled_by_cluster():
    values = np.repeat([1.0, 2.0, 3.0], 20)
    found = resampled(lambda at: float(values[at].mean()), np.repeat(["a", "b", "c"], 20).tolist())
    # Three clusters: all draws of one cluster have 1/9 together; sixty free rows would stay within 1.8 to 2.2.
    assert found == (2.0, 1.0, 3.0)
    with pytest.raises(InputError, match="0 rows"):
        resampled(lambda at: 0.0, [])


@settings(deadline=None)
@given(st.lists(st.tuples(st.sampled_from("abcd"), st.sampled_from("abcd")), min_size=1, max_size=30))
def test_kappa_is_scikit_learns_where_that_has_one(pairs):
    a, b = [x for x, _ in pairs], [y for _, y in pairs]
    found = kappa(a, b, range(len(pairs)), n_boot=20)
    if len({*a, *b}) > 1:
        assert found.value == pytest.approx(cohen_kappa_score(a, b))
    else:
        assert found.value == 0  # chance alone agrees on all
    assert -1 <= found.low <= found.high <= 1


def test_kappas_interval_covers_it_and_is_wider_for_clustered_answers():
    random = np.random.default_rng(0)
    a = random.choice(["x", "y"], 200).tolist()
    b = [one if keep else "x" for one, keep in zip(a, random.random(200) < 0.7, strict=True)]
    alone, together = kappa(a, b, range(200)), kappa(a * 3, b * 3, [*range(200)] * 3)
    assert alone.low < alone.value < alone.high
    assert together == pytest.approx(alone)  # the same answers again tell nothing
    blind = kappa(a * 3, b * 3, range(600))
    assert blind.high - blind.low < together.high - together.low


def test_kappa_needs_two_codes_an_answer():
    for codes in (([], [], []), (["a"], ["a", "b"], ["c"]), (["a"], ["b"], ["c", "d"])):
        with pytest.raises(InputError, match="each answer needs one of both"):
            kappa(*codes)
