"""Every block of the recipe runs, on files like those it names."""

import re
from pathlib import Path
from typing import Any

from demur.prompts import load, names
from demur.prompts import published as room

RECIPE = Path(__file__).parents[2] / "docs" / "recipes" / "prompt-set.md"


def run(index: int) -> dict[str, Any]:
    blocks = re.findall(r"^```python\n(.*?)^```$", RECIPE.read_text(encoding="utf-8"), re.M | re.S)
    assert len(blocks) == 3
    left: dict[str, Any] = {}
    exec(blocks[index], left)
    return left


def rows(verb: str) -> str:
    return "".join(f"{verb}{i} object{i} somewhere{i}\n" for i in range(40))


def test_a_file_is_loaded_by_its_column(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "requests.csv").write_text("id,question\n1,How?\n2,Why?\n")
    assert [prompt.text for prompt in run(0)["prompts"]] == ["How?", "Why?"]


def test_own_files_are_divided(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "harmful.csv").write_text("prompt\n" + rows("steal"))
    (tmp_path / "harmless.csv").write_text("prompt\n" + rows("paint"))
    left = run(1)
    assert (len(left["fitting"]), len(left["held_out"])) == (20, 5)
    assert not {p.text for p in left["fitting"]} & {p.text for p in left["held_out"]}


def test_a_published_set_is_one_source(folder, monkeypatch):
    (folder / "forbidden").mkdir()
    (folder / "forbidden" / "questions.csv").write_text("topic,question\nlocks,How?\n")
    monkeypatch.setitem(room.SETS, "forbidden", run(2)["source"])
    (prompt,) = load("forbidden")
    assert (prompt.id, prompt.text, prompt.kind, prompt.category) == ("forbidden-0", "How?", "harmful", "locks")
    assert "forbidden" in names()
