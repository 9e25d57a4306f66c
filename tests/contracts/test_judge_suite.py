"""What every judge keeps to: order, one verdict an answer, no company that matters, and a spec that tells it apart.

A new judge is one line in CASES.
"""

import json
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from tests.planted import Planted

from demur.attacks import attack
from demur.judges.base import Judge
from demur.judges.coherence import CoherenceBand
from demur.judges.harm import HARMBENCH, LLAMA_GUARD, WILDGUARD, HarmJudge
from demur.judges.local import LocalJudge
from demur.judges.outcome import OutcomeJudge
from demur.judges.rubric import RUBRIC, EngineRubric, RubricJudge
from demur.judges.text import TextJudge
from demur.prompts.builtin import builtin
from demur.types import OUTCOMES, EngineFingerprint, Generation

PROMPTS = [*builtin("plain", "test")[:3], *builtin("harmful", "test")[:3]]
TEXTS = (
    "I'm sorry, but I can't help with that.",
    "",
    "no no no no no no no no no no",
    "Sure, here is how: first the one thing, then the other.",
    "Jackdaws love my big sphinx of quartz.",
)


def answers() -> list[Generation]:
    """Every text to every request, unattacked and with an answer that was begun."""
    found = []
    for i, prompt in enumerate(PROMPTS):
        for name in ("direct", "prefill"):
            talk = attack(prompt, name)
            about = f"Sure, here is {prompt.text} First {prompt.text}"
            found += [Generation(f"{i} {name} {k}", talk, text, (1,), 3, "end") for k, text in
                      enumerate((*TEXTS, about))]  # fmt: skip
    return found


TINY: list[str] = []
"""The folders of two tiny chat models."""


@pytest.fixture(scope="module", autouse=True)
def tiny_folders(build, tmp_path_factory) -> Iterator[None]:
    for family in ("llama", "qwen2"):
        folder, made = tmp_path_factory.mktemp(family), build(family, 2, max_position_embeddings=2048)
        made.plain.save_pretrained(folder)
        made.loaded.tokenizer.save_pretrained(folder)
        TINY.append(str(folder))
    yield
    TINY.clear()


class Answerer:
    """Answers yes where the judged text says sure, no where it is sorry, and something else otherwise."""

    def __init__(self, weights: str = "w"):
        self.fingerprint = EngineFingerprint("answerer", weights, "t", "c", "fp32")

    def generate(self, requests, decoding):
        return [Generation("", r.conversation, reply(r.conversation.messages[-1].content), (), 1, "end")
                for r in requests]  # fmt: skip


class Objects(Answerer):
    """The same as the rubric asks for it."""

    def generate(self, requests, decoding):
        return [replace(made, text=as_object(made.text)) for made in super().generate(requests, decoding)]


def as_object(said: str) -> str:
    outcome = {"yes": "complied", "no": "refused"}.get(said)
    return json.dumps({"outcome": outcome, "harmful": outcome == "complied"}) if outcome else "Hm."


def reply(judged: str) -> str:
    """As a classifier says it."""
    return "yes" if "Sure" in judged else "no" if "sorry" in judged else "perhaps"


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    """A server on loopback whose model reads the text that it is sent."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            said = as_object(reply(body["messages"][-1]["content"]))
            found = json.dumps({"choices": [{"message": {"content": said}}]}).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(found)))
            self.end_headers()
            self.wfile.write(found)

        def log_message(self, format: str, *args: object) -> None:
            pass

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("no_proxy", "127.0.0.1")
        patched.delenv("OPENAI_API_KEY", raising=False)
        yield f"http://127.0.0.1:{http.server_address[1]}/v1"
    http.shutdown()
    http.server_close()
    thread.join()


@dataclass(frozen=True)
class Case:
    """A judge, and what can be changed about it that can change a verdict."""

    make: Callable[..., Judge]
    """make(url, **change) -> the judge."""
    changes: Mapping[str, Mapping[str, Any]]
    outcomes: frozenset[str]
    """Those that it finds among the answers, so that the suite is not passed by one that says always the same."""


BAND = CoherenceBand(1.2, 60.0, 0.5, 100)
POOL = [p for name in ("plain", "borderline", "harmful") for p in builtin(name, "validation")]


def rules(_url: str, seed: int = 107, band: CoherenceBand = BAND, pool: Any = POOL) -> Judge:
    return OutcomeJudge(Planted(seed=seed), band, pool)


def harm(_url: str, weights: str = "w", classifier: Any = HARMBENCH) -> Judge:
    return HarmJudge(Answerer(weights), classifier)


def text(_url: str) -> Judge:
    return TextJudge()


def engine_rubric(_url: str, weights: str = "w", **change: Any) -> Judge:
    return EngineRubric(Objects(weights), **change)


def local(_url: str, folder: int = 0, classifier: Any = LLAMA_GUARD) -> Judge:
    """A tiny random model, called a classifier: what it says means nothing, and is the same each time."""
    return LocalJudge(TINY[folder], classifier, "tiny", dtype="fp32")


def rubric(url: str, **change: Any) -> Judge:
    return RubricJudge(url, **{"model": "judge-1", "backoff": 0.0, **change})


CASES = {
    "rules": Case(
        rules,
        {"model": {"seed": 108}, "band": {"band": replace(BAND, high=30.0)}, "pool": {"pool": POOL[1:]}},
        frozenset({"refused", "complied", "off-topic", "incoherent"}),
    ),
    "harm": Case(
        harm,
        {
            "model": {"weights": "v"},
            "wording": {"classifier": replace(HARMBENCH, template="{request} {answer}")},
            "reading": {"classifier": replace(HARMBENCH, harmful="no")},
            "length": {"classifier": replace(HARMBENCH, max_new_tokens=1)},
            "classifier": {"classifier": WILDGUARD},
        },
        frozenset({"refused", "complied", "undecided"}),
    ),
    "text": Case(text, {}, frozenset({"refused", "complied", "incoherent"})),
    "engine rubric": Case(
        engine_rubric,
        {
            "model": {"weights": "v"},
            "rubric": {"rubric": f"{RUBRIC}\nBe strict."},
            "length": {"max_new_tokens": 9},
            "name": {"name": "mine"},
        },
        frozenset({"refused", "complied", "undecided"}),
    ),
    "local": Case(
        local, {"model": {"folder": 1}, "classifier": {"classifier": HARMBENCH}}, frozenset({"refused", "undecided"})
    ),
    "rubric": Case(
        rubric,
        {"model": {"model": "judge-2"}, "rubric": {"rubric": f"{RUBRIC}\nBe strict."}},
        frozenset({"refused", "complied", "undecided"}),
    ),
}


@pytest.fixture(params=CASES)
def case(request) -> Case:
    return CASES[request.param]


@pytest.fixture
def judge(case, url) -> Judge:
    return case.make(url)


def test_it_is_a_judge_with_a_name(judge):
    assert isinstance(judge, Judge)
    assert judge.name and isinstance(judge.name, str)


def test_each_answer_has_one_verdict_in_order_and_its_outcome_is_one_of_the_six(case, judge):
    rows = answers()
    found = judge.judge(rows)
    assert [verdict.generation for verdict in found] == [row.key for row in rows]
    assert {verdict.judge for verdict in found} == {judge.name}
    assert {verdict.outcome for verdict in found} <= set(OUTCOMES)
    assert {verdict.outcome for verdict in found} >= case.outcomes
    for verdict in found:
        json.dumps(dict(verdict.detail), allow_nan=False)


def test_a_verdict_does_not_depend_on_what_else_is_judged(judge):
    rows = answers()[::5]
    alone = [judge.judge([row])[0] for row in rows]
    assert judge.judge(rows) == alone
    assert judge.judge(rows[::-1]) == alone[::-1]
    assert judge.judge([*rows, *rows]) == [*alone, *alone]


def test_of_nothing_there_is_no_verdict(judge):
    assert judge.judge([]) == []


def test_an_answer_is_judged_without_being_changed(judge):
    rows, again = answers()[:6], answers()[:6]
    judge.judge(rows)
    assert rows == again


def test_its_spec_is_json_and_the_same_each_time_it_is_made_and_after_judging(case, judge, url):
    spec = judge.spec()
    assert json.loads(json.dumps(spec)) == spec
    judge.judge(answers()[:3])
    assert judge.spec() == spec == case.make(url).spec()


def test_specs_of_different_judges_differ(url):
    assert len({json.dumps(case.make(url).spec(), sort_keys=True) for case in CASES.values()}) == len(CASES)


@pytest.mark.parametrize(("name", "what"), [(name, what) for name, case in CASES.items() for what in case.changes])
def test_its_spec_changes_with_what_can_change_a_verdict(name, what, url):
    case = CASES[name]
    changed = case.make(url, **case.changes[what])
    assert changed.spec() != case.make(url).spec()
    assert len(changed.judge(answers()[:2])) == 2
