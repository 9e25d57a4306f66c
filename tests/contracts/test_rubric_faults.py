"""The rubric judge's server fails in every way: nothing is guessed, nothing is lost, and what is there is kept."""

from __future__ import annotations

import json
import time
import warnings
from collections.abc import Callable, Iterator
from email.utils import formatdate
from typing import Any

import pytest
from tests.rubric_server import RubricServer, closed, cut, empty, page, redirect, reset, says, silent, status

from demur.attacks import attack
from demur.errors import DemurError, InputError
from demur.evaluation.verdicts import judged
from demur.judges.rubric import RubricJudge
from demur.prompts.builtin import builtin
from demur.runs import Journal
from demur.types import Generation, Verdict

N = 12
PROMPTS = builtin("plain", "test")[:N]


def right(judged_text: str) -> str:
    """refused for answers that are sorry, complied for others."""
    outcome = "refused" if "sorry" in judged_text.lower() else "complied"
    return json.dumps({"outcome": outcome, "harmful": False})


def rows() -> list[Generation]:
    said = ("I'm sorry, no.", "Here you are.")
    return [Generation(f"key {i}", attack(prompt, "direct"), said[i % 2], (1,), 3, "end")
            for i, prompt in enumerate(PROMPTS)]  # fmt: skip


EXPECTED = ["refused", "complied"] * (N // 2)

Start = Callable[..., RubricServer]


@pytest.fixture
def serve(monkeypatch) -> Iterator[Start]:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    started: list[RubricServer] = []

    def start(*faults: Any, **more: Any) -> RubricServer:
        started.append(RubricServer(right, *faults, **more))
        return started[-1]

    yield start
    for server in started:
        server.stop()


def at(server: RubricServer, **more: Any) -> RubricJudge:
    return RubricJudge(server.url, "judge-1", **{"backoff": 0.0, "timeout": 5.0, **more})


def outcomes(found: list[Verdict]) -> list[str]:
    return [verdict.outcome for verdict in found]


PASSING = {
    "busy, for so many seconds": status(429, Retry_After="0"),
    "busy, until a moment": status(429, Retry_After=formatdate(time.time() - 5, usegmt=True)),
    "busy, without saying how long": status(429),
    "busy, in nonsense": status(429, Retry_After="a while"),
    "broken": status(500),
    "overloaded": status(503),
    "a gateway's timeout": status(504),
    "closed": closed,
    "reset": reset,
    "cut short": cut,
    "another page": page,
    "nothing in it": empty,
}


@pytest.mark.parametrize("fault", PASSING)
def test_what_passes_is_waited_for_and_every_answer_has_its_own_verdict(serve, fault):
    server = serve(*[PASSING[fault]] * 3)
    found = at(server).judge(rows())
    assert outcomes(found) == EXPECTED
    assert [verdict.generation for verdict in found] == [row.key for row in rows()]
    assert len(server.seen) == N + 3


def test_a_server_that_does_not_answer_in_time_is_asked_again(serve):
    server = serve(silent(1.0))
    assert outcomes(at(server, timeout=0.2).judge(rows()[:3])) == EXPECTED[:3]


def test_a_busy_server_is_left_alone_by_all_who_ask_it_at_once(serve):
    server = serve(says(right("sorry")), *[status(429, Retry_After="0.3")] * 4)
    begun = time.monotonic()
    assert outcomes(at(server, parallel=4).judge(rows())) == EXPECTED
    assert time.monotonic() - begun >= 0.3
    assert len(server.seen) <= N + 4


REPLIES = {
    "reasoning": "<think>They say sorry. {not json}</think>\n{}",
    "reasoning with an object": '<think>Perhaps {"outcome": "complied", "harmful": true}?</think>{}',
    "reasoning opened by the template": "It looks like this.\n</think>\n\n{}",
    "two pieces of reasoning": "<thinking>a</thinking> <thinking>b</thinking> {}",
    "words": "Let me see. The answer declines.\n\n{}",
    "a fence": "```json\n{}\n```",
    "words and a fence": "Verdict:\n```\n{}\n```\n",
    "braces before": "The set {a, b} is fine: {}",
}


@pytest.mark.parametrize("name", REPLIES)
def test_reasoning_and_words_before_the_object_are_passed_over(serve, name):
    told = REPLIES[name]
    at_end = told.rindex("{}")
    reply = told[:at_end] + right("sorry") + told[at_end + 2 :]
    (found,) = at(serve(says(reply))).judge(rows()[:1])
    assert (found.outcome, found.detail["harmful"]) == ("refused", False)


GOOD = right("sorry")
BAD = {
    "words alone": "It refused.",
    "half an object": GOOD[:-1],
    "two objects": f"{GOOD} {GOOD}",
    "two that differ": f'{GOOD} or {{"outcome": "complied", "harmful": true}}',
    "words behind": f"{GOOD} unless one reads it otherwise.",
    "reasoning that never closes": f"<think> I would say {GOOD}",
    "another outcome": '{"outcome": "jailbroken", "harmful": false}',
    "two outcomes": '{"outcome": ["refused", "complied"], "harmful": false}',
    "harm in words": '{"outcome": "refused", "harmful": "no"}',
    "deep": "[" * 5000 + '{"outcome":' * 5000,
    "empty": "",
    "none": None,
    "parts": [{"type": "text", "text": GOOD}],
}


@pytest.mark.parametrize("name", BAD)
def test_what_cannot_be_read_is_undecided_and_never_a_guess(serve, name):
    found = at(serve(says(BAD[name]))).judge(rows()[:2])
    assert outcomes(found) == ["undecided", "complied"]
    assert found[0].detail["harmful"] is None
    assert found[0].detail["reply"] == (BAD[name] if isinstance(BAD[name], str) else "")[:300]


def test_a_server_without_temperature_is_asked_without_by_all_at_once(serve):
    server = serve(takes=lambda body: "temperature is not supported" if "temperature" in body else "", delay=0.01)
    with pytest.warns(UserWarning, match="takes no temperature 0; it is asked without") as caught:
        found = at(server).judge(rows())
    assert outcomes(found) == EXPECTED
    assert len(caught) == 1
    assert sum("temperature" in body for body in server.seen) == 1


FINAL = {
    "no such model": (status(404), "HTTP 404 .*not now"),
    "a wrong key": (status(401), "HTTP 401"),
    "a redirect": (redirect("http://127.0.0.1:9/v1"), "HTTP 302"),
    "too long": (status(413), "HTTP 413"),
}


@pytest.mark.parametrize("fault", FINAL)
def test_what_does_not_pass_is_found_by_one_request(serve, fault):
    turn, said = FINAL[fault]
    server = serve(*[turn] * 20)
    with pytest.raises(InputError, match=said):
        at(server).judge(rows())
    assert len(server.seen) == 1


@pytest.mark.parametrize("fault", [status(503), page, closed])
def test_a_server_that_stays_so_is_an_error_that_says_what_it_does(serve, fault):
    server = serve(*[fault] * 100)
    with pytest.raises(DemurError, match=r"no reply in 3 attempts \(.+\); the verdicts that are there are kept"):
        at(server, attempts=3).judge(rows())
    assert len(server.seen) == 3


def test_a_page_in_the_place_of_a_reply_is_named_with_its_type(serve):
    with pytest.raises(DemurError, match="a reply of type text/html that is no chat completion: <html>"):
        at(serve(page, page), attempts=2).judge(rows())


def test_no_more_than_so_many_are_under_way_at_once(serve):
    server = serve(delay=0.03)
    assert outcomes(at(server, parallel=3).judge(rows())) == EXPECTED
    assert 2 <= server.most_at_once <= 3


@pytest.mark.parametrize("after", [1, 5, 11])
def test_what_was_said_before_a_failure_is_in_the_journal_and_is_not_asked_again(serve, tmp_path, after):
    good = RubricServer._answered
    server = serve()
    server.faults = [lambda h, t: good(server, h, t)] * after + [status(401)] * 50
    with Journal(tmp_path / "j.sqlite") as journal:
        with pytest.raises(InputError, match="HTTP 401"):
            judged(at(server), rows(), journal, lambda *_: None)
        kept = len(journal.verdicts_of([row.key for row in rows()]))
        assert sum(bool(found) for found in journal.verdicts_of([row.key for row in rows()]).values()) == after
        assert kept == N
        server.faults = []
        assert outcomes(judged(at(server), rows(), journal, lambda *_: None)) == EXPECTED
        assert len(server.replied) == N == len(set(server.replied))
        judged(at(server), rows(), journal, lambda *_: None)
        assert len(server.replied) == N


def test_a_run_that_is_stopped_keeps_what_was_said(serve, tmp_path):
    server = serve(delay=0.01)
    calls = 0

    def stop(_phase: str, done: int, _total: int) -> None:
        nonlocal calls
        calls += 1
        if done == 4:
            raise KeyboardInterrupt

    with Journal(tmp_path / "j.sqlite") as journal:
        with pytest.raises(KeyboardInterrupt):
            judged(at(server), rows(), journal, stop)
        found = journal.verdicts_of([row.key for row in rows()])
        assert sum(bool(verdicts) for verdicts in found.values()) == 4


def test_what_it_will_take_is_said_before_the_first_request_and_after_eight_how_long(serve):
    server, told = serve(delay=0.002), []
    judge = at(server, price=(2.0, 10.0))

    def note(phase: str, done: int, total: int) -> None:
        told.append((phase, done, total, len(server.seen)))

    judged(judge, rows(), None, note)
    phase, done, total, asked = told[0]
    estimate = judge.estimate(rows())
    assert (done, total, asked, estimate.calls) == (0, N, 0, N)
    assert estimate.price == pytest.approx((2 * estimate.tokens_in + 10 * estimate.tokens_out) / 1e6)
    assert phase == (
        f"judging, rubric: {N} calls, about {estimate.tokens_in:,} tokens in and {estimate.tokens_out:,} or more out, "
        f"about ${estimate.price:.2f}"
    )
    assert 200 * N < estimate.tokens_in < 500 * N
    later = [phase for phase, done, *_ in told if done == 8]
    assert later == [f"judging, rubric: about 1 s for the {N - 8} that are left"]
    assert told[-1][1:3] == (N, N)


def test_the_tokens_that_the_server_counts_are_kept(serve):
    (found,) = at(serve()).judge(rows()[:1])
    assert found.detail["tokens"] == [100, 10]
    assert at(serve(), price=(2.0, 10.0)).cost(100, 10) == pytest.approx(0.0003)


def test_the_verdicts_of_one_at_a_time_and_of_many_at_once_are_the_same(serve):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        one, many = (at(serve(delay=0.002), parallel=n).judge(rows()) for n in (1, 8))
    assert one == many
