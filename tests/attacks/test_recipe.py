"""The recipe's file, put beside the families and nothing else changed, is an attack like any other."""

import re
from pathlib import Path

import pytest

import demur.attacks
from demur.attacks.registry import find, names
from demur.prompts.builtin import builtin

RECIPE = Path(__file__).parents[2] / "docs" / "recipes" / "attack.md"


@pytest.fixture
def found(tmp_path, monkeypatch):
    (block,) = re.findall(r"^```python\n(.*?)^```$", RECIPE.read_text(encoding="utf-8"), re.M | re.S)
    (tmp_path / "riddle.py").write_text(block, encoding="utf-8")
    monkeypatch.setattr(demur.attacks, "__path__", [*demur.attacks.__path__, str(tmp_path)])
    return find()


def test_the_recipes_file_is_found_behind_the_families_that_there_are(found):
    assert tuple(found) == (*names(), "riddle")
    assert (found["riddle"].name, found["riddle"].group) == ("riddle", "framing")


def test_the_recipes_attack_wraps_the_request_one_way_a_prompt(found):
    prompts = builtin("harmful", "validation")
    texts = [found["riddle"].apply(prompt).messages[-1].content or "" for prompt in prompts]
    assert all(prompt.text in text and "riddle" in text for prompt, text in zip(prompts, texts, strict=True))
    assert texts == [found["riddle"].apply(prompt).messages[-1].content for prompt in prompts]
    assert len({text.replace(prompt.text, "") for prompt, text in zip(prompts, texts, strict=True)}) == 2
