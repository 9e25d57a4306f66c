"""Which requests an answer is ranked against, and its rank."""

import random

import pytest
from tests.judges.scorer import WordScorer, answer, prompts

from demur.errors import InputError
from demur.judges.coherence import plain_request
from demur.judges.topic import OTHERS, WORDS, head, other_requests, ranks
from demur.types import Conversation, Prompt

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


def test_an_answer_to_another_request_does_not_rank_first() -> None:
    scorer = WordScorer()
    about_it = answer(POOL[3], "The breadful is a thing that people like.")
    other = other_requests(POOL[3], POOL)[4]
    about_other = answer(POOL[3], f"The {other.text.split()[-1].strip('?')} is a thing that people like.")
    own = [row.logprobs for row in scorer.logprobs([(plain_request(g), g.text) for g in (about_it, about_other)])]
    assert ranks(scorer, [about_it, about_other], own, POOL) == [1, 2]


def test_a_tie_is_won_by_the_own_request() -> None:
    scorer = WordScorer()
    vague = answer(POOL[0], "Nothing much comes up here.")
    own = [row.logprobs for row in scorer.logprobs([(plain_request(vague), vague.text)])]
    assert ranks(scorer, [vague], own, POOL) == [1]


class RandomScorer(WordScorer):
    """Each word gets any likelihood, the same one every time, and a higher one after its own request."""

    def _one(self, conversation: Conversation, word: str) -> float:
        asked = conversation.messages[-1].content or ""
        own = word.split("-")[0] in asked
        return -random.Random(f"{asked} {word}").expovariate(1.5 if own else 0.5)


def thing(prompt: Prompt) -> str:
    return prompt.text.split()[-1].strip("?")


def test_leaving_hopeless_requests_early_changes_no_rank_and_scores_fewer_words() -> None:
    scorer = RandomScorer()
    said = [answer(p, " ".join(f"{thing(p)}-{i}-{word}" for word in "abcdefghijklmnopqr"[: 3 + n])) for i in range(3)
            for n, p in enumerate(POOL[:14])]  # fmt: skip
    own = [row.logprobs for row in scorer.logprobs([(plain_request(g), g.text) for g in said])]
    whole = []
    for g, mine in zip(said, own, strict=True):
        rivals = [(plain_request(g, other), head(g.text)) for other in other_requests(g.conversation.prompt, POOL)]
        rows = [row.logprobs for row in scorer.logprobs(rivals)]
        whole.append(1 + sum(sum(row) > sum(mine[: len(row)]) + 1e-9 for row in rows))
    scorer.words = 0
    assert ranks(scorer, said, own, POOL) == whole
    assert len(set(whole)) > 3
    assert scorer.words < OTHERS * sum(len(head(g.text).split()) for g in said)
