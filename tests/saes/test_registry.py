"""Names are looked up in the registry that sae-lens brings; what the hub would send lies in a folder of the test's."""

import json
from dataclasses import dataclass, field
from importlib import util
from pathlib import Path
from typing import Any

import huggingface_hub
import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from demur.errors import InputError, MissingExtra, UnknownName
from demur.saes import encode, load_sae, reload_sae, save_sae
from demur.saes.load import FORMATS
from demur.saes.registry import READ, Listed, listed
from demur.types import Site

pytestmark = pytest.mark.usefixtures("saelens")


@dataclass
class Hub:
    root: Path
    asked: list[Any] = field(default_factory=list)

    def __call__(self, repo: str) -> Path:
        return self.root / f"models--{repo.replace('/', '--')}" / "snapshots" / "c5ebcd4"


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """hub(repo) -> the folder that a snapshot of it comes from; what was asked of the hub is in hub.asked."""
    made = Hub(tmp_path)

    def snapshot(repo, **arguments):
        made.asked.append((repo, arguments["allow_patterns"]))
        return str(made(repo))

    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot)
    return made


@pytest.fixture
def without_sae_lens(monkeypatch):
    monkeypatch.setattr(
        "demur.saes.registry.find_spec", lambda name: None if name == "sae_lens" else util.find_spec(name)
    )


def gemma_scope(folder: Path, weights) -> None:
    folder.mkdir(parents=True)
    np.savez(folder / "params.npz", **{name: tensor.numpy() for name, tensor in weights("jumprelu").items()})


@pytest.mark.parametrize(
    ("name", "repo", "folder", "format"),
    [
        (
            "gemma-2-2b/20-gemmascope-res-16k",
            "google/gemma-scope-2b-pt-res",
            "layer_20/width_16k/average_l0_71",
            "Gemma Scope",
        ),
        (
            "gemma-scope-2b-pt-res/layer_20/width_16k/average_l0_71",
            "google/gemma-scope-2b-pt-res",
            "layer_20/width_16k/average_l0_71",
            "Gemma Scope",
        ),
        (
            "gpt2-small-res-jb/blocks.8.hook_resid_pre",
            "jbloom/GPT2-Small-SAEs-Reformatted",
            "blocks.8.hook_resid_pre",
            "SAELens",
        ),
        (
            "llama3.1-8b/0-llamascope-att-131k",
            "fnlp/Llama3_1-8B-Base-LXA-32x",
            "Llama3_1-8B-Base-L0A-32x",
            "Llama Scope",
        ),
    ],
)
def test_a_release_and_id_and_a_source_of_neuronpedia_are_a_folder_on_the_hub(name, repo, folder, format):
    found = listed(name)
    assert found is not None
    assert (found.repo, found.folder, found.format) == (repo, folder, format)


def test_every_format_of_the_registry_that_is_read_has_a_reader():
    assert set(READ.values()) <= set(FORMATS)


def test_a_name_that_the_registry_does_not_know_may_be_a_hub_id():
    assert listed("someone/some-saes") is None


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("gpt2-small-res-jb/blocks.80.hook_resid_pre", "give one, as gpt2-small-res-jb/blocks.8.hook_resid_pre"),
        ("gemma-2-2b/20-gemmascope-res-17k", "give one, as gemma-2-2b/20-gemmascope-res-16k"),
        ("gpt2-small-res-jb", "gpt2-small-res-jb alone is the 13 of release"),
    ],
)
def test_another_id_is_refused_with_the_nearest_ones(name, said):
    with pytest.raises(UnknownName, match=said) as caught:
        load_sae(name)
    assert len(str(caught.value)) < 400


def test_what_demur_does_not_read_is_refused_before_anything_is_fetched(hub):
    with pytest.raises(InputError, match="reads one site and writes another"):
        load_sae("gemma-scope-2b-pt-transcoders/layer_0/width_16k/average_l0_76")
    with pytest.raises(InputError, match=r"a format of its own, qwen_scope, .*save_model\(FOLDER\)"):
        load_sae("qwen-scope-3-1.7b-base-w32k-l50/layer0")
    assert hub.asked == []


def test_gemma_scope_is_read_by_neuronpedias_name(hub, weights):
    gemma_scope(hub("google/gemma-scope-2b-pt-res") / "layer_20/width_16k/average_l0_71", weights)
    found = load_sae("gemma-2-2b/20-gemmascope-res-16k")
    assert hub.asked == [("google/gemma-scope-2b-pt-res", ["layer_20/width_16k/average_l0_71/*", "config.json"])]
    assert (found.kind, found.site, found.model) == ("jumprelu", Site(20, "post"), "google/gemma-2-2b")
    assert found.metadata["neuronpedia_id"] == "gemma-2-2b/20-gemmascope-res-16k"
    assert found.source == "gemma-scope-2b-pt-res-canonical/layer_20/width_16k/canonical"
    assert reload_sae(found.source, found.sha256).sha256 == found.sha256


def test_release_and_id_may_come_apart_as_in_sae_lens(hub, weights):
    gemma_scope(hub("google/gemma-scope-2b-pt-res") / "layer_20/width_16k/average_l0_71", weights)
    assert load_sae("gemma-scope-2b-pt-res", "layer_20/width_16k/average_l0_71").site == Site(20, "post")


def test_the_registrys_scale_is_folded_in(hub, sae):
    folder = save_sae(sae(), hub("jbloom/Gemma-2b-Residual-Stream-SAEs") / "gemma_2b_blocks.12.hook_resid_post_16384")
    save_file(load_file(folder / "sae_weights.safetensors"), folder / "sae_weights.safetensors")
    config = json.loads((folder / "cfg.json").read_text())
    (folder / "cfg.json").write_text(json.dumps({**config, "normalize_activations": "expected_average_only_in"}))
    found = load_sae("gemma-2b-res-jb/blocks.12.hook_resid_post")
    assert torch.allclose(found.weights["W_enc"], sae().weights["W_enc"] * 0.21381938399317255)
    assert reload_sae(found.source, found.sha256).sha256 == found.sha256


def test_the_registrys_settings_replace_the_files(hub, sae):
    save_sae(sae(), hub("JoshEngels/Mistral-7B-Residual-Stream-SAEs") / "mistral_7b_layer_8")
    assert load_sae("mistral-7b-res-wg/blocks.8.hook_resid_pre").normalisation == "constant_norm_rescale"


@pytest.mark.parametrize("kind", ["relu", "gated"])
def test_an_sae_of_the_centred_stream_gives_the_same_latents_on_the_raw_one(hub, sae, x, kind):
    made = sae(kind, metadata={"model_name": "gpt2-small", "hook_name": "blocks.5.hook_resid_post"})
    save_sae(made, hub("jbloom/GPT2-Small-SAEs-Reformatted") / "blocks.8.hook_resid_pre")
    found = load_sae("gpt2-small-res-jb/blocks.8.hook_resid_pre")
    raw = x(2, 3)
    centred = raw - raw.mean(dim=-1, keepdim=True)
    assert torch.allclose(encode(found, raw), encode(made, centred), atol=1e-5)
    assert not torch.allclose(encode(made, raw), encode(made, centred), atol=1e-2)


def test_a_hub_that_does_not_answer_is_one_line_with_a_fix(monkeypatch):
    def down(*_, **__):
        raise ConnectionError("no route\nto host")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", down)
    with pytest.raises(
        InputError, match=r"google/gemma-scope-2b-pt-res layer_20\S* .*ConnectionError: no route\); give"
    ):
        load_sae("gemma-2-2b/20-gemmascope-res-16k")


@pytest.mark.parametrize("name", ["gemma-2-2b/20-gemmascope-res-16k", "gpt2-small-res-jb/blocks.8.hook_resid_pre"])
def test_without_sae_lens_the_extra_is_named(without_sae_lens, hub, name):
    with pytest.raises(MissingExtra, match=r"pip install 'demur\[train\]'"):
        load_sae(name)
    assert hub.asked == []


def test_without_sae_lens_a_hub_id_is_asked_for_on_the_hub(without_sae_lens, hub, sae):
    save_sae(sae(), hub("owner/name"))
    assert load_sae("owner/name").sha256 == sae().sha256


def test_an_entry_of_the_registry_has_a_name():
    assert Listed("release", "a/b", "repo", "folder", "SAELens", "model").name == "release/a/b"
