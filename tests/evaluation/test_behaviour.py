import pytest

from demur.analysis.tables import find
from demur.errors import InputError
from demur.evaluation.behaviour import (
    BehaviourScores,
    beats_shuffled_labels,
    behaviour_figures,
    behaviour_scores,
)
from demur.evaluation.pairs import asked
from demur.fitting.vectors import fit_vector
from demur.interventions import add, at
from demur.prompts.pairs import Pair
from demur.runs import Journal
from demur.types import Site


def pairs(use, n=6):
    return [Pair(f"{use}{i}", f"What is number {i}?", f"The sea, {i}.", "Bread, wine.", *("AB", "BA")[i % 2], use=use)
            for i in range(n)]  # fmt: skip


def test_a_fitted_vector_moves_the_log_odds_its_way(tiny):
    engine = tiny("llama").engine
    vector = fit_vector(engine, pairs("fit"), [Site(1, "post")], shuffles=0).vector
    arms = {"unsteered": None, **{f"x{dose:+g}": at("from-last", add(vector, dose)) for dose in (-2.0, 2.0)}}
    seen = dict(zip(arms, behaviour_scores(engine, pairs("test"), list(arms.values())), strict=True))
    figures = behaviour_figures(seen, "sea")
    assert find(figures, "x+2", "sea", "log_odds", "unsteered").value > 0
    assert find(figures, "x-2", "sea", "log_odds", "unsteered").value < 0


def test_log_odds_are_a_token_and_letters_are_compared(tiny):
    engine = tiny("llama").engine
    (pair,) = pairs("test", 1)
    (found,) = behaviour_scores(engine, [pair])
    rows = engine.logprobs([(asked(pair), pair.matching), (asked(pair), pair.other)])
    means = [row.total / len(row.logprobs) for row in rows]
    assert found.log_odds[0] == pytest.approx(means[0] - means[1], abs=1e-5)
    rows = engine.logprobs([(asked(pair, "letter"), "(A"), (asked(pair, "letter"), "(B")])
    assert found.letters == (rows[0].total > rows[1].total,)


def test_arms_measured_together_are_what_each_is_alone(tiny):
    engine = tiny("llama").engine
    vector = fit_vector(engine, pairs("fit"), [Site(1, "post")], shuffles=0).vector
    arms = [None, at("from-last", add(vector, 2.0)), add(vector, -1.0), at("from-last", add(vector, 0.5))]
    for together, arm in zip(behaviour_scores(engine, pairs("test"), arms), arms, strict=True):
        (alone,) = behaviour_scores(engine, pairs("test"), [arm])
        assert together.log_odds == pytest.approx(alone.log_odds, abs=1e-4)


def test_letters_have_their_share_and_changes_are_paired():
    seen = {"unsteered": BehaviourScores((0.0, 0.0), (True, False)), "x": BehaviourScores((1.0, 3.0), (True, True))}
    figures = behaviour_figures(seen, "sea")
    assert find(figures, "unsteered", "sea", "letter_accuracy").value == 0.5
    assert find(figures, "x", "sea", "letter_accuracy", "unsteered").value == 0.5
    assert find(figures, "x", "sea", "log_odds", "unsteered").value == 2.0


def test_fitting_pairs_measure_nothing(tiny):
    for some in (pairs("fit"), []):
        with pytest.raises(InputError, match="held-out"):
            behaviour_scores(tiny("llama").engine, some)


def test_a_vector_beats_shuffled_labels_only_the_right_way():
    assert beats_shuffled_labels(0.5, [0.1, -0.4])
    assert not beats_shuffled_labels(-0.5, [0.1, -0.4])
    assert not beats_shuffled_labels(0.3, [0.1, -0.4])
    with pytest.raises(InputError, match="no null"):
        beats_shuffled_labels(0.3, [])


def test_what_the_journal_has_is_not_measured_again(tiny, tmp_path, monkeypatch):
    engine = tiny("llama").engine
    with Journal(tmp_path / "j.sqlite") as journal:
        first = behaviour_scores(engine, pairs("test"), [None], journal)

        def called(*_args, **_more):
            raise AssertionError("the model was called")

        monkeypatch.setattr(engine, "logprobs", called)
        assert behaviour_scores(engine, pairs("test"), [None], journal) == first
        with pytest.raises(AssertionError, match="the model was called"):
            behaviour_scores(engine, pairs("test", 4), [None], journal)
