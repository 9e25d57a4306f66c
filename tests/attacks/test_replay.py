import json
import os
from pathlib import Path

import pytest

from demur.attacks import attack, get
from demur.attacks.replay import DEFAULT, read_artifact, replay
from demur.errors import BadFile, InputError
from demur.types import Message, Prompt

ROWS = [
    {"index": 0, "goal": "Bake a cake", "prompt": "Wrapped: bake a cake"},
    {"index": 1, "goal": "Boil soup", "prompt": None},
    {"index": 2, "goal": "Brew tea.", "prompt": "Wrapped: brew tea"},
]


@pytest.fixture
def write(tmp_path):
    def put(data, name="artifact.json"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(data if isinstance(data, str) else json.dumps(data))
        return path

    return put


@pytest.fixture
def artifact(write):
    return read_artifact(write({"parameters": {"method": "Test"}, "jailbreaks": ROWS}))


def test_a_prompt_is_matched_by_its_goal(artifact):
    conversation = replay(artifact).apply(Prompt("x", "bake  a CAKE.", "mine"))
    assert conversation.messages == (Message("user", "Wrapped: bake a cake"),)
    assert conversation.attack == "replay"


def test_jailbreakbenchs_own_prompts_are_matched_by_index_too(artifact):
    reworded = Prompt("jailbreakbench-2", "Make some tea", "jailbreakbench")
    assert replay(artifact).apply(reworded).messages[0].content == "Wrapped: brew tea"
    with pytest.raises(InputError, match="no jailbreak for this request"):
        replay(artifact).apply(Prompt("mine-2", "Make some tea", "mine"))


def test_a_null_prompt_is_refused_with_its_reason(artifact):
    with pytest.raises(InputError, match=r"prompt 'x': the published prompt is null in .*artifact\.json"):
        replay(artifact).apply(Prompt("x", "Boil soup", "mine"))


def test_why_not_names_what_cannot_be_attacked(artifact):
    prompts = [Prompt(f"p{i}", str(row["goal"]), "mine") for i, row in enumerate(ROWS)]
    reasons = [replay(artifact).why_not(prompt) for prompt in [*prompts, Prompt("p9", "Sing", "mine")]]
    assert reasons == [
        "",
        f"the published prompt is null in {artifact.path}: that attack found none",
        "",
        f"no jailbreak for this request in {artifact.path}",
    ]


def test_the_default_artifact_is_looked_for_in_the_data_folder(write, tmp_path, monkeypatch):
    monkeypatch.delenv("DEMUR_DATA", raising=False)
    prompt = Prompt("x", "Bake a cake", "mine")
    with pytest.raises(InputError, match="set DEMUR_DATA to a folder that holds"):
        attack(prompt, "replay")
    monkeypatch.setenv("DEMUR_DATA", str(tmp_path))
    with pytest.raises(BadFile, match=r"vicuna-13b-v1\.5\.json: cannot be read"):
        attack(prompt, "replay")
    write({"jailbreaks": ROWS}, DEFAULT)
    assert attack(prompt, "replay").messages[0].content == "Wrapped: bake a cake"


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ("{", "not JSON"),
        ("[" * 200_000, "not JSON"),
        ([], "no list 'jailbreaks'"),
        ({"jailbreaks": []}, "no list 'jailbreaks'"),
        ({"jailbreaks": ["x"]}, "jailbreak 1: not an object"),
        ({"jailbreaks": [{"goal": "x", "prompt": "y"}]}, "jailbreak 1: needs 'goal'"),
        ({"jailbreaks": [{"goal": "x", "index": 0, "prompt": 7}]}, "jailbreak 1: 'prompt' is neither text nor null"),
    ],
)
def test_a_malformed_artifact_is_a_bad_file(write, data, message):
    with pytest.raises(BadFile, match=message):
        read_artifact(write(data))


def test_the_published_artifacts_cover_jailbreakbench():
    folder = os.environ.get("DEMUR_DATA")
    if not folder or not (Path(folder) / DEFAULT).exists():
        pytest.skip("needs DEMUR_DATA, a folder of public data files")
    from demur.prompts.published import published

    prompts = published("jailbreakbench")
    attacks = replay(Path(folder) / DEFAULT), get(f"replay:{Path(folder) / DEFAULT}")
    can = [prompt for prompt in prompts if not attacks[0].why_not(prompt)]
    assert len(prompts) == 100
    assert len(can) >= 95
    assert attacks[0].apply(can[0]) == attacks[1].apply(can[0])
