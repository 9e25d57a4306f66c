"""Open answers read by a probe, on a tiny model."""

import pytest

from demur.analysis.tables import find
from demur.directions.vectors import steering_vector
from demur.engines.mock import MockEngine
from demur.errors import InputError
from demur.evaluation.evaluator import Arm, Evaluator
from demur.evaluation.pairs import answers, asked
from demur.experiments.open_answers import Reading, _read, open_answers, open_examples, open_figures
from demur.fitting.vectors import answer_means, fit_vector
from demur.interventions import add, at
from demur.judges.coherence import CoherenceBand
from demur.judges.outcome import OutcomeJudge
from demur.prompts.builtin import builtin
from demur.prompts.pairs import Pair, behaviour
from demur.runs import Journal
from demur.types import Decoding, Generation, Site


@pytest.fixture(scope="module")
def engine(tiny):
    return tiny("llama").engine


@pytest.fixture(scope="module")
def arms(engine):
    value = fit_vector(engine, behaviour("warmth", "fit")[:8], [Site(1)], shuffles=0).vector
    return [Arm("unsteered"), Arm("warm x+2", at("from-last", add(steering_vector(value.vectors), 2.0)))]


def evaluator(engine, journal=None, low=1.0, high=1e9):
    judge = OutcomeJudge(engine, CoherenceBand(low, high, 1.0, 60), builtin("plain", "validation"))
    return Evaluator(engine, judge, Decoding(12), journal)


def test_a_rerun_reads_nothing_again(engine, arms, tmp_path, monkeypatch):
    with Journal(tmp_path / "j.sqlite") as journal:
        first = open_answers(evaluator(engine, journal), "warmth", arms, 6)
        monkeypatch.setattr("demur.experiments.open_answers._read", None)
        assert open_answers(evaluator(engine, journal), "warmth", arms, 6) == first
    assert [g.conversation.prompt.text for g in first.answers["unsteered"]] == [
        g.conversation.prompt.text for g in first.answers["warm x+2"]
    ]
    assert len(first.shows["warm x+2"]) == 6
    assert len(first.right) == 2 * len(behaviour("warmth", "validation"))


def test_what_the_judge_said_of_open_answers_is_in_the_journal(engine, arms, tmp_path):
    with Journal(tmp_path / "j.sqlite") as journal:
        found = open_answers(evaluator(engine, journal), "warmth", arms, 3)
        keys = [g.key for some in found.answers.values() for g in some]
        assert all(journal.verdicts_of(keys).values())


def test_babble_shows_nothing(engine, arms):
    found = open_answers(evaluator(engine, high=1.0001), "warmth", arms, 6)
    assert all(found.broken["unsteered"])
    assert not any(found.shows["unsteered"])


def test_an_open_answer_is_read_as_a_written_one(engine):
    """The same tokens have the same mean, in whatever company, and may be cut."""
    pair = behaviour("warmth", "validation")[0]
    site = Site(1, "post")
    both = answer_means(engine, [(asked(pair), side) for side in answers(pair)], [site])[site]
    alone = answer_means(engine, [(asked(pair), pair.matching)], [site])[site]
    assert both.shape == (2, engine.d_model)
    assert float((both[0] - alone[0]).abs().max()) < 1e-4
    cut = answer_means(engine, [(asked(pair), pair.matching)], [site], most=3)[site]
    assert float((cut - alone).abs().max()) > 1e-3
    with pytest.raises(InputError, match="has no token"):
        answer_means(engine, [(asked(pair), "")], [site])


def test_figures_give_shares_changes_and_the_probes_error():
    shows = {"unsteered": (False,) * 4, "x": (True, True, False, False)}
    broken = {"unsteered": (False,) * 4, "x": (False, False, False, True)}
    figures = open_figures(Reading({}, shows, broken, (True, True, True, False)), "behaviour sea")
    assert find(figures, "probe of answers", "behaviour sea", "open_accuracy").value == 0.75
    assert find(figures, "x", "behaviour sea", "open_share").value == 0.5
    assert find(figures, "x", "behaviour sea", "open_share", "unsteered").value == 0.5
    assert find(figures, "x", "behaviour sea", "open_broken", "unsteered").value == 0.25


def test_examples_stand_side_by_side(engine, arms):
    found = open_answers(evaluator(engine), "warmth", arms, 4)
    shown = open_examples(found, "behaviour warmth", 2)
    assert len(shown) == 2
    assert [answer.arm for answer in shown[0].answers] == ["unsteered", "warm x+2"]
    assert shown[0].prompt in {p.question for p in behaviour("warmth", "test")}


def test_the_probe_tells_answers_of_a_kind_apart(engine, monkeypatch):
    """Two kinds of answers that differ in their words are told apart, and an open answer of either kind is read so."""

    def pairs(name, use):
        said = "The sea, the sea", "Bread, wine, bread"
        return [Pair(f"{use}{i}", f"What is {i}?", *(f"{one}, {i}." for one in said), use=use) for i in range(12)]

    monkeypatch.setattr("demur.experiments.open_answers.behaviour", pairs)
    talks = [asked(pair) for pair in pairs("", "test")[:2]]
    said = ("The sea, the sea, 40.", "Bread, wine, bread, 41.")
    made = [Generation("", talk, text, (1,), 1, "end") for talk in talks for text in said]
    found = _read(evaluator(engine), "sea", made)
    assert found[:4] == [1.0, 0.0, 1.0, 0.0]
    assert found[4:8] == [0.0] * 4
    assert sum(found[8:]) / 24 > 0.9


def test_a_canned_refusal_is_no_loop(engine):
    """As for the outcome judge: what repeats nothing may be likelier than any band."""
    talk = asked(behaviour("warmth", "test")[0])
    said = Generation("", talk, "I'm sorry, but I can't help with that.", (1,), 1, "end")
    some = evaluator(engine, low=1e8)
    made = [said, Generation("", talk, "The sea is wide, and blue, and the sea is wide today.", (1,), 1, "end")]
    n = len(made)
    assert _read(some, "warmth", made)[n : 2 * n] == [0.0, 1.0]


def test_only_an_engine_that_reads_text_can(arms):
    class Closed:
        """Generates, and shows nothing of itself."""

        name, n_layers, d_model, fingerprint = "closed", 4, 16, MockEngine().fingerprint
        answered = 0

        def check(self, intervention):
            return None

        def generate(self, requests, decoding):
            raise AssertionError("it was asked before it was looked at")

        def logprobs(self, pairs, intervention=None):
            raise AssertionError("it was asked before it was looked at")

    judge = OutcomeJudge(MockEngine(), CoherenceBand(1.0, 9.0, 1.0, 60), builtin("plain", "validation"))
    with pytest.raises(InputError, match="which Closed does not show; run the model with demur.load"):
        open_answers(Evaluator(Closed(), judge, Decoding(4)), "warmth", arms, 2)
