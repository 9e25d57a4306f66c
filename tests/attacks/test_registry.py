import pkgutil

import pytest

import demur.attacks
from demur.attacks import ATTACKS, GROUPS, attack, get, names
from demur.errors import BadFile, UnknownName
from demur.types import Prompt

HELPERS = {"family", "registry"}


def test_every_file_of_the_room_is_a_registered_family():
    files = {module.name for module in pkgutil.iter_modules(demur.attacks.__path__)} - HELPERS
    assert files == set(names())


def test_a_family_is_registered_under_its_own_name_and_a_known_group():
    assert all(attack.name == name and attack.group in GROUPS for name, attack in ATTACKS.items())


def test_the_groups_divide_the_families():
    assert names("instruction") == ("prefix_injection", "refusal_suppression")
    assert names("framing") == ("persona", "fiction", "authority")
    assert names("context") == ("prefill", "few_shot", "escalation", "continuation")
    assert names("encoding") == ("payload_splitting", "base64", "rot13", "leetspeak")
    assert names("artifact") == ("replay",)
    assert sorted(name for group in GROUPS for name in names(group)) == sorted(names())


def test_get_gives_the_attack_that_attack_applies():
    prompt = Prompt("p", "Hi", "s")
    assert attack(prompt, "fiction") == get("fiction").apply(prompt)


def test_an_unknown_attack_lists_the_known_ones():
    with pytest.raises(UnknownName, match=r"no attack named 'prefil'; known: .*rot13.*Did you mean 'prefill'"):
        get("prefil")


def test_an_artifact_is_named_behind_replay(tmp_path):
    with pytest.raises(BadFile, match=r"none\.json: cannot be read"):
        get(f"replay:{tmp_path / 'none.json'}")
