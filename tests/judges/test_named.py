"""Judges by name: what each form stands for, and what is said of one that is none."""

import pytest
from tests.keywords import Keywords

from demur.errors import BadSpec, InputError, UnknownName
from demur.judges.harm import HARMBENCH, LLAMA_GUARD, WILDGUARD, classifier_of
from demur.judges.local import LocalJudge
from demur.judges.named import judge_named, judges_of, tells_harm_alone
from demur.judges.rubric import RubricJudge


def served(text: str) -> RubricJudge:
    judge = judge_named(text)
    assert isinstance(judge, RubricJudge)
    return judge


def local(text: str) -> LocalJudge:
    judge = judge_named(text)
    assert isinstance(judge, LocalJudge)
    return judge


def test_the_rules_are_no_judge_yet_for_they_are_calibrated_on_a_model():
    assert judges_of(None) == judges_of("rules") == judges_of(["rules"]) == (None,)


@pytest.mark.parametrize(
    ("model", "classifier"),
    [
        ("cais/HarmBench-Llama-2-13b-cls", HARMBENCH),
        ("meta-llama/Llama-Guard-3-8B", LLAMA_GUARD),
        ("meta-llama/LlamaGuard-7b", LLAMA_GUARD),
        ("/models/llama_guard_3", LLAMA_GUARD),
        ("allenai/wildguard", WILDGUARD),
        ("some/model", None),
        ("cais/zephyr", None),
    ],
)
def test_a_models_name_says_which_classifier_it_is(model, classifier):
    assert classifier_of(model.rpartition("/")[2]) == classifier
    judge = local(f"hf:{model}")
    assert (judge.model, judge.classifier) == (model, classifier)
    assert tells_harm_alone(judge) == (classifier is not None)
    assert judge.name == f"{classifier.name if classifier else 'rubric'} {model.rpartition('/')[2]}"


def test_a_prompt_may_be_named_and_a_folder_may_hold_an_at_sign():
    assert local("hf:my/model@wildguard").classifier == WILDGUARD
    assert local("hf:allenai/wildguard@rubric").classifier is None
    odd = local("hf:/models/a@b/c")
    assert (odd.model, odd.classifier) == ("/models/a@b/c", None)


def test_an_endpoint_is_an_address_and_a_model():
    judge = served("openai:https://host/v1#org/some-model:8b")
    assert (judge.base_url, judge.model, judge.name) == ("https://host/v1", "org/some-model:8b",
                                                         "rubric org/some-model:8b")  # fmt: skip
    assert (judge.temperature, judge.price) == (0.0, None)


def test_options_of_an_endpoint_each_do_something():
    judge = served("openai:https://h/v1#m?price=0.15,0.6&temperature=none&max_tokens=50&parallel=2&timeout=9&key=MINE")
    assert (judge.model, judge.price, judge.temperature, judge.max_tokens) == ("m", (0.15, 0.6), None, 50)
    assert (judge.parallel, judge.timeout, judge.api_key_env) == (2, 9.0, "MINE")
    assert served("openai:https://h/v1#m?temperature=0.7").temperature == 0.7
    assert served("openai:https://h/v1?version=1#m").base_url == "https://h/v1?version=1"


def test_options_of_a_local_model_say_how_it_is_loaded():
    judge = local("hf:my/model@harmbench?dtype=fp32&device=cpu&revision=main")
    assert judge.loading == {"dtype": "fp32", "device": "cpu", "revision": "main"}
    assert judge.model == "my/model"


@pytest.mark.parametrize(
    ("text", "kind", "said"),
    [
        ("rule", UnknownName, "no judge named 'rule'.*Did you mean 'rules'"),
        ("", UnknownName, "no judge named ''; known: hf:MODEL, .*rules"),
        ("hf:", BadSpec, "judge 'hf:' names no model"),
        ("gpt-4", UnknownName, "openai:URL#MODEL"),
        ("hf:m@harmbnch", UnknownName, "no prompt of a judge named 'harmbnch'.*Did you mean 'harmbench'"),
        ("hf:@harmbench", BadSpec, "names no model; write hf:MODEL"),
        ("openai:https://h/v1", BadSpec, "names no model; write openai:URL#MODEL"),
        ("openai:h#m", BadSpec, "is no http"),
        ("openai:https://h:x/v1#m", BadSpec, "is no address"),
        ("openai:https://h/v1#m?prize=1,2", UnknownName, "no option .*named 'prize'.*Did you mean 'price'"),
        ("openai:https://h/v1#m?price=1", BadSpec, r"price is '1'; write price=0.15,0.6 \(dollars"),
        ("openai:https://h/v1#m?price=-1,2", BadSpec, "price is '-1,2'"),
        ("openai:https://h/v1#m?parallel", BadSpec, "parallel is ''; write parallel=4"),
        ("openai:https://h/v1#m?parallel=0", BadSpec, "parallel is 0; it must be above 0"),
        ("openai:https://h/v1#m?timeout=nan", BadSpec, "timeout is 'nan'"),
        ("hf:m?price=1,2", UnknownName, "no option .*named 'price'; known: device, dtype, revision"),
    ],
)
def test_what_is_no_judge_is_refused_with_what_it_should_be(text, kind, said):
    with pytest.raises(kind, match=said):
        judge_named(text)


def test_judges_of_one_name_are_not_told_apart_and_refused():
    for twice in (["rules", "rules"], [Keywords(), Keywords("no")], ["hf:a/m", "hf:b/m"]):
        with pytest.raises(InputError, match="2 judges are called"):
            judges_of(twice)
    mine = Keywords()
    assert judges_of([mine, "rules"]) == (mine, None)
    assert judges_of((mine,)) == judges_of(mine) == (mine,)
