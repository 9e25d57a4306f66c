import shutil
from pathlib import Path

import huggingface_hub
import pytest
import torch

from demur.errors import BadFile, InputError
from demur.saes import load_sae, reload_sae, save_sae
from demur.saes.load import FORMATS


def test_a_folder_is_read_by_path_text_or_with_its_subfolder(sae, tmp_path):
    save_sae(sae(), tmp_path / "layers" / "five")
    hashes = {
        load_sae(tmp_path / "layers" / "five").sha256,
        load_sae(str(tmp_path / "layers" / "five")).sha256,
        load_sae(tmp_path, "layers/five").sha256,
    }
    assert hashes == {sae().sha256}


def test_a_folder_without_an_sae_says_what_was_looked_for_and_what_is_there(sae, tmp_path):
    (tmp_path / "notes.txt").write_text("")
    save_sae(sae(), tmp_path / "layer_3")
    with pytest.raises(BadFile) as caught:
        load_sae(tmp_path)
    text = str(caught.value)
    assert "holds no whole SAE (it has layer_3, notes.txt, but layer_3/ does)" in text
    assert all(name in text for name in FORMATS)
    assert "\n" not in text


@pytest.mark.parametrize("lost", ["cfg.json", "sae_weights.safetensors"])
def test_a_missing_file_is_told_by_what_was_looked_for(sae, tmp_path, lost):
    (save_sae(sae(), tmp_path) / lost).unlink()
    with pytest.raises(BadFile, match=rf"holds no whole SAE .*looked for .*{lost}"):
        load_sae(tmp_path)


@pytest.mark.parametrize("name", ["no/such/folder", "nowhere"])
def test_a_path_that_is_neither_folder_nor_hub_id_is_refused(name):
    with pytest.raises(BadFile, match="no folder .*; give an SAE's folder, or a hub id as OWNER/NAME"):
        load_sae(name)
    with pytest.raises(BadFile, match="no folder"):
        load_sae(Path("owner/name-that-is-a-path"))


@pytest.mark.parametrize("name", ["./foo", "../foo", "~/no-such-sae", "~nobody-of-that-name/sae", "runs/one/sae"])
def test_what_can_only_be_a_path_is_looked_up_nowhere_else(name, tmp_path, monkeypatch):
    def never(*_, **__):
        raise AssertionError("it was looked up")

    monkeypatch.setattr("demur.saes.load.listed", never)
    monkeypatch.setattr(huggingface_hub, "snapshot_download", never)
    (tmp_path / "runs" / "one" / "other").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "runs" / "one" if name.startswith("..") else tmp_path)
    with pytest.raises(BadFile, match=r"^no folder .*; give an SAE's folder\.$"):
        load_sae(name)


def test_a_name_in_a_folder_that_is_here_is_tried_on_the_hub_alone(hub, sae, tmp_path, monkeypatch):
    monkeypatch.setattr("demur.saes.load.listed", lambda name: pytest.fail(f"{name} was looked up"))
    (tmp_path / "owner").mkdir()
    monkeypatch.chdir(tmp_path)
    assert load_sae("owner/name").sha256 == sae().sha256
    assert [repo for repo, _ in hub] == ["owner/name"]


def test_a_name_of_the_registry_is_one_also_beside_the_models_folder(hub, tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr("demur.saes.load.listed", lambda name: asked.append(name))
    (tmp_path / "gemma-2-2b").mkdir()
    monkeypatch.chdir(tmp_path)
    load_sae("gemma-2-2b/20-gemmascope-res-16k")
    assert asked == ["gemma-2-2b/20-gemmascope-res-16k"]


def test_a_missing_subfolder_says_what_is_there(tmp_path):
    (tmp_path / "layer_1").mkdir()
    with pytest.raises(BadFile, match=r"no folder .*layer_2 \(it has layer_1\)"):
        load_sae(tmp_path, "layer_2")


def test_a_scale_is_for_sae_lens_alone(tmp_path, monkeypatch, sae):
    (tmp_path / "params.npz").write_bytes(b"")
    with pytest.raises(InputError, match=r"Gemma Scope SAE, which needs no scale \(got 2.0\)"):
        load_sae(tmp_path, scale=2.0)


@pytest.fixture
def hub(sae, tmp_path, monkeypatch):
    """A hub that holds one SAE, at the top and in a folder; what was asked of it."""
    asked = []
    save_sae(sae(), tmp_path / "repo")
    shutil.copytree(tmp_path / "repo", tmp_path / "repo" / "layer_5" / "width_24")

    def snapshot(repo, **arguments):
        asked.append((repo, arguments))
        return str(tmp_path / "repo")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot)
    return asked


def test_a_hub_id_fetches_the_subfolder_and_the_config_at_the_top(hub, sae):
    assert load_sae("owner/name", "layer_5/width_24", revision="abc").sha256 == sae().sha256
    only = ["layer_5/width_24/*", "config.json"]
    assert hub == [("owner/name", {"revision": "abc", "allow_patterns": only, "ignore_patterns": None})]


def test_a_hub_id_alone_fetches_only_the_top_level(hub, sae):
    assert load_sae("owner/name").sha256 == sae().sha256
    assert hub == [("owner/name", {"revision": None, "allow_patterns": None, "ignore_patterns": ["*/*"]})]


def test_a_folder_of_that_name_wins_over_the_hub(hub, sae, tmp_path, monkeypatch):
    save_sae(sae(seed=1), tmp_path / "owner" / "name")
    monkeypatch.chdir(tmp_path)
    assert load_sae("owner/name").sha256 == sae(seed=1).sha256
    assert hub == []


def test_a_hub_that_does_not_answer_is_one_line_with_a_fix(monkeypatch):
    def down(*_, **__):
        raise ConnectionError("no route\nto host")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", down)
    with pytest.raises(InputError, match=r"owner/name is no folder here .*ConnectionError: no route\); give a local"):
        load_sae("owner/name")


def test_the_source_loads_the_same_sae_from_anywhere(sae, tmp_path, monkeypatch):
    save_sae(sae(), tmp_path / "layers" / "five")
    monkeypatch.chdir(tmp_path)
    sources = {
        load_sae("layers/five").source,
        load_sae("layers", "five").source,
        load_sae(tmp_path, "layers/five").source,
    }
    assert sources == {str(tmp_path / "layers" / "five")}
    monkeypatch.chdir("/")
    assert reload_sae(sources.pop(), sae().sha256).sha256 == sae().sha256


def test_an_sae_is_loaded_again_only_if_it_is_still_the_same(sae, tmp_path):
    folder = str(save_sae(sae(), tmp_path))
    kept = reload_sae(folder, sae().sha256)
    assert reload_sae(folder, sae().sha256) is kept
    with pytest.raises(BadFile, match=r"holds an SAE with sha256 \w{12}..., not 0{12}...: the file changed; give"):
        reload_sae(folder, "0" * 64)


def test_a_copy_with_other_numbers_has_no_source(sae, tmp_path):
    loaded = load_sae(save_sae(sae().to(dtype=torch.bfloat16), tmp_path))
    assert loaded.to(dtype=torch.float32).source == loaded.to("cpu").source == str(tmp_path)
    assert load_sae(save_sae(sae(), tmp_path)).to(dtype=torch.bfloat16).source == ""
