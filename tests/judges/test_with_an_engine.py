"""The judge on a real (tiny, random) engine: the shapes and prefixes that it relies on."""

import math

import pytest
from tests.judges.scorer import answer, prompts

from demur.judges.coherence import fit_band, mean_nll, plain_request
from demur.judges.outcome import OutcomeJudge
from demur.judges.topic import head
from demur.types import Generation

TEXT = "Here is how to bake bread: take flour, warm water and yeast.\n\nMix well, wait an hour, and then bake it."


@pytest.mark.parametrize("text", [TEXT, " lower case after a prefill, and on it goes " * 3, "I'm sorry"])
def test_the_first_words_score_as_a_prefix_of_the_answer(tiny, text: str) -> None:
    engine = tiny("llama").engine
    conversation = plain_request(answer(prompts()[0], text))
    whole, first = (row.logprobs for row in engine.logprobs([(conversation, text), (conversation, head(text))]))
    assert first
    assert math.fsum(whole[: len(first)]) == pytest.approx(math.fsum(first), abs=1e-3)


def test_a_tiny_model_is_judged_from_band_to_verdict(tiny) -> None:
    engine = tiny("llama").engine
    pool = prompts()
    rows: list[Generation] = [answer(p, f"The {i} is a thing. {TEXT[i:]}", f"k{i}") for i, p in enumerate(pool)]
    scored = engine.logprobs([(plain_request(g), g.text) for g in rows * 2])
    band = fit_band([g.text for g in rows * 2], [mean_nll(row.logprobs) for row in scored], {"model": "tiny"})
    assert 0 < band.low < band.high
    judge = OutcomeJudge(engine, band, pool)
    verdicts = judge.judge(rows)
    assert [v.generation for v in verdicts] == [g.key for g in rows]
    assert all(v.detail["perplexity"] for v in verdicts)
    assert judge.judge(rows[3:4])[0].outcome == verdicts[3].outcome
