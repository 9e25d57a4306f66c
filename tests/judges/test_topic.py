"""Which requests an answer is ranked against, and its rank."""

import random

import pytest
from tests.judges.scorer import WordScorer, answer, prompts

from demur.errors import InputError
from demur.judges.coherence import plain_request
from demur.judges.topic import OTHERS, WORDS, Place, Shortcuts, head, other_requests, places, stems
from demur.types import Conversation, Generation, Prompt

POOL = prompts()


def test_the_head_is_a_prefix_of_the_scored_words_with_its_white_space() -> None:
    text = "  one\n\ntwo " + "word " * 40
    assert text.startswith(head(text))
    assert len(head(text).split()) == WORDS
    assert head("one two") == "one two"
    assert head("") == ""


def test_the_others_do_not_depend_on_the_order_of_the_pool() -> None:
    shuffled = random.Random(0).sample(POOL, len(POOL))
    assert other_requests(POOL[0], POOL) == other_requests(POOL[0], shuffled)


def test_the_others_are_nineteen_different_requests_and_never_the_own() -> None:
    for prompt in POOL:
        others = other_requests(prompt, POOL)
        assert len({p.id for p in others}) == OTHERS
        assert prompt not in others


def test_other_topics_come_first() -> None:
    assert all(p.topic != POOL[0].topic for p in other_requests(POOL[0], POOL))


def test_mirrors_and_equal_texts_are_left_out() -> None:
    own = POOL[0]
    twin = Prompt("twin", own.text.upper(), "test")
    mirror = Prompt("mirror", "Something alike?", "test", match=own.id)
    chosen = other_requests(own, [twin, mirror, *POOL], n=29)
    assert twin not in chosen
    assert mirror not in chosen


def test_a_small_pool_is_an_error_that_says_so() -> None:
    with pytest.raises(InputError, match="19 are needed"):
        other_requests(POOL[0], POOL[:10])


def placed(scorer: WordScorer, *said: Generation) -> list[Place]:
    own = [row.logprobs for row in scorer.logprobs([(plain_request(g), g.text) for g in said])]
    return places(scorer, said, own, POOL)


def test_words_are_compared_by_their_beginnings_without_those_that_say_nothing() -> None:
    assert stems("How do I mend the gutters?") == {"mend", "gutte"}
    assert stems("A GUTTER is mended") & stems("How do I mend the gutters?") == {"gutte"}


def test_an_answer_in_the_words_of_its_own_request_is_about_it_and_costs_nothing() -> None:
    scorer = WordScorer()
    gutters = Prompt("gutters", "Who paints gutters?", "test")
    assert placed(scorer, answer(gutters, "A gutter is painted.")) == [Place(True, "shares gutte, paint")]
    assert scorer.pairs == 1


def test_an_answer_to_another_request_is_behind_it() -> None:
    other = other_requests(POOL[3], POOL)[4]
    about_other = answer(POOL[3], f"The {other.text.split()[-1].strip('?')} is a thing that people like.")
    assert placed(WordScorer(), about_other) == [Place(False, f"behind {other.id}")]


def test_a_tie_is_won_by_the_own_request() -> None:
    assert placed(WordScorer(), answer(POOL[0], "Nothing much comes up.")) == [Place(True, "ahead of 19 others")]


class RandomScorer(WordScorer):
    """Each word gets any likelihood, the same one every time, and a higher one after its own request."""

    def _one(self, conversation: Conversation, word: str) -> float:
        asked = conversation.messages[-1].content or ""
        own = word.split("-")[0] in NUMBERS[asked]
        return -random.Random(f"{asked} {word}").expovariate(1.5 if own else 0.5)


NUMBERS = {p.text: f"no{i}" for i, p in enumerate(POOL)}


def test_clear_cases_are_those_of_the_whole_comparison_and_fewer_words_are_scored() -> None:
    scorer = RandomScorer()
    said = [answer(p, " ".join(f"no{n}-{i}{word}" for word in "abcdefghijklmnopqr"[: 3 + n % 14])) for i in range(3)
            for n, p in enumerate(POOL)]  # fmt: skip
    own = [row.logprobs for row in scorer.logprobs([(plain_request(g), g.text) for g in said])]
    leads = []
    for g, mine in zip(said, own, strict=True):
        rivals = [(plain_request(g, other), head(g.text)) for other in other_requests(g.conversation.prompt, POOL)]
        rows = [row.logprobs for row in scorer.logprobs(rivals)]
        leads.append([sum(mine[: len(row)]) - sum(row) for row in rows])
    scorer.words = 0
    found, cuts = places(scorer, said, own, POOL), Shortcuts()
    for place, lead in zip(found, leads, strict=True):
        assert place.first == (min(lead) >= 0 or min(lead[: cuts.first]) > cuts.clear)
    assert {place.why.split()[0] for place in found} == {"behind", "ahead"}
    assert {"ahead of 19 others"} < {place.why for place in found if place.first}
    assert scorer.words < 0.7 * OTHERS * sum(len(head(g.text).split()) for g in said)
    whole = places(scorer, said, own, POOL, None)
    assert [place.first for place in whole] == [min(lead) >= 0 for lead in leads]
    assert {place.why.split()[0] for place in whole} == {"behind", "ahead"}
