"""The recipe's example is a file that works."""

import importlib
import json
import re
import sys
from pathlib import Path
from pkgutil import iter_modules

import pytest
import torch

import demur.interventions as room
from demur.engines.base import Request
from demur.engines.mock import MockEngine
from demur.interventions import Context, add, at, chain, compile_batch, from_spec
from demur.interventions.intervention import OPS
from demur.types import Conversation, Decoding, Direction, Message, Prompt, Site

RECIPE = Path(__file__).parents[2] / "docs" / "recipes" / "intervention.md"
SITE, D = Site(1), 16
NEW = Decoding(max_new_tokens=8)


@pytest.fixture(scope="module")
def turn(tmp_path_factory):
    """The recipe's function, its file put beside the package's own."""
    folder = tmp_path_factory.mktemp("beside")
    (block, *_) = re.findall(r"```python\n(.*?)```", RECIPE.read_text(encoding="utf-8"), re.DOTALL)
    (folder / "turn.py").write_text(block, encoding="utf-8")
    room.__path__.append(str(folder))
    try:
        yield importlib.import_module("demur.interventions.turn").turn
    finally:
        room.__path__.remove(str(folder))
        del sys.modules["demur.interventions.turn"], OPS["turn"], room.turn  # pyright: ignore


def towards(seed: int, width: int = D) -> Direction:
    v = torch.randn(width, generator=torch.Generator().manual_seed(seed))
    return Direction(v / v.norm(), SITE, 2.0)


def test_every_file_of_the_package_is_imported_with_it():
    assert {f"demur.interventions.{file.name}" for file in iter_modules(room.__path__)} <= set(sys.modules)


def test_it_does_what_it_says(turn):
    x, r = torch.randn(2, 5, D), towards(0)
    new = turn(r, 0.5).edit(x, SITE, Context(torch.arange(5)[None].expand(2, -1), torch.tensor([[3], [4]])))
    torch.testing.assert_close(new.norm(dim=-1), x.norm(dim=-1))
    assert bool((torch.cosine_similarity(new, r.vector, -1) > torch.cosine_similarity(x, r.vector, -1)).all())


def test_dose_0_is_the_unsteered_answer_and_another_is_not(turn):
    mock = MockEngine(d_model=D)
    prompt = Prompt("a", "How do I pick a lock?", "tests", "harmful")
    c = Conversation(prompt, (Message("user", prompt.text),))
    plain, zero, less = (mock.last_logits([c], steer)[0] for steer in (None, turn(mock.direction, 0.0),
                                                                       turn(mock.direction, -1.0)))  # fmt: skip
    assert zero.equal(plain)
    assert not less.allclose(plain)
    answers = mock.generate([Request(c, turn(mock.direction, dose)) for dose in (0.0, -9.0)], NEW)
    assert answers[0].text.startswith("I'm sorry")
    assert answers[1].text.startswith("Sure,")


def test_a_stacked_batch_equals_its_rows_one_by_one(turn):
    rows = [turn(towards(i), 0.3 * (i + 1)) for i in range(3)] + [chain(at("last", turn(towards(9), 2.0)))]
    assert len({row.shape() for row in rows}) == 2
    context = Context(torch.arange(5)[None].expand(4, -1), torch.tensor([[3], [4], [2], [5]]))
    x = torch.randn(4, 5, D)
    together = compile_batch(rows, context, x)[SITE](x)
    for i, row in enumerate(rows):
        alone = row.edit(x[i : i + 1], SITE, context.rows(torch.tensor([i])))
        torch.testing.assert_close(together[i : i + 1], alone, rtol=1e-6, atol=1e-6)


def test_its_spec_goes_through_json_and_back(turn):
    made = at("from-last", turn(towards(1), 0.3))
    again = from_spec(json.loads(json.dumps(made.spec())))
    assert again.spec() == made.spec()
    assert made.spec()["inner"].keys() == {"op", "axis", "dose", "sites"}
    assert (again.sites, again.reach, again.shape()) == (made.sites, made.reach, made.shape())


def test_a_model_runs_it_in_a_mixed_batch_as_alone(turn, tiny, talk):
    engine = tiny("llama").engine
    arms = [
        None,
        turn(towards(0, 32), 1.5),
        turn(towards(1, 32), -2.0),
        add(towards(2, 32), 9.0),
        turn(towards(0), 0.0),
    ]
    requests = [Request(talk(text, id=text), arm) for text in ("How do I bake bread?", "Hi") for arm in arms]
    together = engine.generate(requests, NEW)
    assert [a.tokens for a in together] == [engine.generate([r], NEW)[0].tokens for r in requests]
    assert together[0].tokens == together[4].tokens
    assert len({a.tokens for a in together}) >= 6
