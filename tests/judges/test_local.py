"""Judges that are models on this machine: in memory only while they judge."""

import gc
import weakref

import pytest
from tests.judges.scorer import answer, prompts

from demur.engines.hf import HFEngine
from demur.errors import BadFile, InputError
from demur.judges.base import Resident
from demur.judges.harm import HARMBENCH, LLAMA_GUARD, WILDGUARD
from demur.judges.local import LocalJudge

PROMPT = prompts()[0]
ROWS = [answer(PROMPT, text, f"k{i}") for i, text in enumerate(("yes, here it is", "", "no"))]


@pytest.fixture(scope="module")
def folder(build, tmp_path_factory):
    """A tiny chat model with room for a rubric."""
    where, made = tmp_path_factory.mktemp("judge"), build("llama", 2, max_position_embeddings=1500)
    made.plain.save_pretrained(where)
    made.loaded.tokenizer.save_pretrained(where)
    return where


@pytest.fixture(scope="module")
def bare(folder, tmp_path_factory):
    """The same without a chat template, as classifiers are often published."""
    from transformers import AutoTokenizer

    where = tmp_path_factory.mktemp("bare")
    for file in folder.iterdir():
        if "template" not in file.name and file.is_file():
            (where / file.name).write_bytes(file.read_bytes())
    words = AutoTokenizer.from_pretrained(folder)
    words.chat_template = None
    words.save_pretrained(where)
    return where


def local(folder, classifier, name="tiny", **more) -> LocalJudge:
    return LocalJudge(str(folder), classifier, name, dtype="fp32", **more)


@pytest.mark.parametrize("classifier", [HARMBENCH, LLAMA_GUARD, WILDGUARD, None])
def test_it_judges_under_its_own_name_and_lets_go_of_the_weights(folder, classifier, monkeypatch):
    loaded, real = [], HFEngine.__init__

    def init(self, *args, **more):
        real(self, *args, **more)
        loaded.append(weakref.ref(self))

    monkeypatch.setattr(HFEngine, "__init__", init)
    judge = local(folder, classifier)
    assert isinstance(judge, Resident) and not loaded
    first = judge.judge(ROWS)
    assert [verdict.generation for verdict in first] == ["k0", "k1", "k2"]
    assert {verdict.judge for verdict in first} == {"tiny"}
    assert len(loaded) == 1 and loaded[0]() is not None
    judge.release()
    gc.collect()
    assert loaded[0]() is None
    assert judge.judge(ROWS) == first and len(loaded) == 2


def test_its_spec_is_known_without_its_weights_once_it_was_asked_for(folder):
    judge = local(folder, HARMBENCH)
    spec = judge.spec()
    judge.release()
    assert judge.spec() == spec and not judge._held
    assert spec != local(folder, HARMBENCH, "other").spec() != local(folder, WILDGUARD, "other").spec()


def test_a_classifier_without_a_chat_template_gets_the_one_it_was_trained_with(bare):
    for classifier in (HARMBENCH, WILDGUARD):
        assert len(local(bare, classifier).judge(ROWS)) == 3
    engine = local(bare, HARMBENCH)._load()
    row = engine.row(HARMBENCH.conversation(ROWS[0]))
    text = engine.decode(list(row.tokens))
    assert "[INST]" in text and "[/INST]" in text
    with pytest.raises(BadFile, match="has no chat template"):
        local(bare, None).judge(ROWS)
    with pytest.raises(BadFile, match="has no chat template"):
        local(bare, LLAMA_GUARD).spec()


def test_an_answer_for_which_it_has_no_room_is_undecided_and_the_others_are_judged(folder):
    long = answer(PROMPT, "the sea and the wind " * 2000, "long")
    for classifier in (HARMBENCH, None):
        found = local(folder, classifier).judge([ROWS[0], long, ROWS[2]])
        assert [verdict.generation for verdict in found] == ["k0", "long", "k2"]
        assert found[1].outcome == "undecided" and "1500" in found[1].detail["reason"]
        assert found[1].detail["harmful"] is None
        assert (found[0], found[2]) == tuple(local(folder, classifier).judge([ROWS[0], ROWS[2]]))


def test_what_cannot_be_loaded_is_said(tmp_path):
    with pytest.raises(InputError, match=str(tmp_path)):
        local(tmp_path, HARMBENCH).spec()
