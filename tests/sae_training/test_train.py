import json
import shutil

import pytest
import torch

from demur.activations.disk import Rows
from demur.errors import InputError
from demur.sae_training.train import CHECKPOINT, SCALING, Training, outlying, train_sae
from demur.saes import decode, encode, load_sae
from demur.types import Site

SITE = Site(1, "post")
SMALL = Training(d_sae=48, k=4, tokens=64 * 60, batch=64, lr=3e-3, dead_after=20)


@pytest.fixture
def rows(tmp_path):
    """Sparse sums of 24 planted directions in 16 dimensions."""
    generator = torch.Generator().manual_seed(0)
    atoms = torch.nn.functional.normalize(torch.randn(24, 16, generator=generator), dim=-1)
    latents = torch.rand(4096, 24, generator=generator) * (torch.rand(4096, 24, generator=generator) < 0.08)
    stored = Rows(tmp_path / "rows", [SITE], 16, {})
    stored.append({SITE: latents @ atoms + 0.5}, 1)
    return stored


@pytest.mark.parametrize("kind", ["jumprelu", "topk", "batchtopk"])
def test_a_trained_sae_reconstructs_what_it_was_trained_on(rows, tmp_path, kind):
    pytest.importorskip("sae_lens")
    training = Training(kind=kind, d_sae=48, k=4, tokens=64 * 900, batch=64, lr=3e-3, dead_after=20)
    sae = train_sae(rows, SITE, training, tmp_path / "sae", "tiny")
    assert sae.kind == ("topk" if kind == "topk" else "jumprelu")
    assert sae.site == SITE
    x = next(rows.shuffled(SITE, 2048, 9))
    missed = (x - decode(sae, encode(sae, x))).square().sum() / (x - x.mean(0)).square().sum()
    assert missed < 0.35
    assert sae.metadata["demur_training"]["k"] == 4


def test_a_broken_off_training_ends_as_the_unbroken_one(rows, tmp_path, monkeypatch):
    pytest.importorskip("sae_lens")
    whole = train_sae(rows, SITE, SMALL, tmp_path / "whole", "tiny")
    real = Rows.shuffled

    def broken(self, site, batch, seed, start=0):
        for number, x in enumerate(real(self, site, batch, seed, start)):
            if number == SCALING + 40:
                raise KeyboardInterrupt
            yield x

    monkeypatch.setattr(Rows, "shuffled", broken)
    with pytest.raises(KeyboardInterrupt):
        train_sae(rows, SITE, SMALL, tmp_path / "broken", "tiny")
    monkeypatch.setattr(Rows, "shuffled", real)
    steps = []
    resumed = train_sae(rows, SITE, SMALL, tmp_path / "broken", "tiny", lambda done, total: steps.append(done))
    assert min(steps) > 20
    assert resumed.sha256 == whole.sha256
    assert not (tmp_path / "broken" / CHECKPOINT).exists()


def test_a_finished_training_is_read_not_run(rows, tmp_path):
    pytest.importorskip("sae_lens")
    first = train_sae(rows, SITE, SMALL, tmp_path / "sae", "tiny")
    steps = []
    again = train_sae(rows, SITE, SMALL, tmp_path / "sae", "tiny", lambda *at: steps.append(at))
    assert not steps
    assert again.sha256 == first.sha256 == load_sae(tmp_path / "sae").sha256


def test_a_folder_begun_with_other_settings_is_refused(rows, tmp_path):
    pytest.importorskip("sae_lens")
    train_sae(rows, SITE, SMALL, tmp_path / "sae", "tiny")
    with pytest.raises(InputError, match="other settings"):
        train_sae(rows, SITE, Training(d_sae=32, k=4, tokens=64 * 60, batch=64), tmp_path / "sae", "tiny")


def test_training_goes_on_only_at_a_whole_checkpoint(rows, tmp_path):
    pytest.importorskip("sae_lens")
    out = tmp_path / "sae"
    (out / CHECKPOINT / "640").mkdir(parents=True)
    (out / CHECKPOINT / "640" / "trainer_state.pt").write_bytes(b"torn")
    assert train_sae(rows, SITE, SMALL, out, "tiny").d_sae == 48


@pytest.mark.parametrize(("field", "value"), [("kind", "vanilla"), ("d_sae", 0), ("k", 99), ("tokens", 5)])
def test_settings_that_mean_nothing_are_refused(field, value):
    with pytest.raises(InputError):
        Training(**{"d_sae": 48, "k": 4, field: value})


def test_at_most_four_dimensions_that_stand_out_are_named():
    variance = torch.ones(20)
    assert outlying(variance) == []
    variance[[3, 5]] = torch.tensor([100.0, 400.0])
    assert outlying(variance) == [5, 3]
    variance[[6, 7, 8]] = 50.0
    assert len(outlying(variance)) == 4


def test_without_sae_lens_the_error_names_the_extra(rows, tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "sae_lens", None)
    with pytest.raises(InputError, match=r"demur\[train\]"):
        train_sae(rows, SITE, SMALL, tmp_path / "none", "tiny")
    shutil.rmtree(tmp_path / "none")
    assert json.loads((rows.folder / "rows.json").read_text())["rows"] == 4096
