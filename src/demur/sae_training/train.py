"""Training an SAE on stored activations with sae-lens' trainer (extra `train`); resumes from its last checkpoint.

demur brings the data and keeps the result; objective, optimiser and dead-latent treatment are sae-lens'.
"""

from __future__ import annotations

import json
import shutil
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from functools import partialmethod
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor

from demur.activations.disk import Rows
from demur.errors import BadFile, InputError
from demur.runs import room, write_text
from demur.saes import SAE, hook_name, load_sae, save_sae, thresholded
from demur.saes.files import read_config
from demur.types import Site

OUTLIERS = 4
"""Dimensions whose variance may be left out of "variance explained", at most (protocol of the quality card)."""
OUTLYING = 25.0
"""A dimension is an outlier when its variance is this many times the median dimension's."""
CHECKPOINT = "checkpoint"
CALIBRATING = 32_768
"""Training tokens on which a threshold is set."""
SCALING = 20
"""Batches whose norm sets the scale; training reads the ones after them."""
TIMED, PRODUCTS = 5, 8.0
"""Products of a batch with the encoder that are timed, and how many of them a step costs (measured)."""


@dataclass(frozen=True, kw_only=True)
class Training:
    """How one SAE is trained."""

    kind: str = "jumprelu"
    """jumprelu, topk or batchtopk. jumprelu: trained as topk, kept with the one threshold at which as many latents are
    active on training tokens (`saes.thresholded`). batchtopk: kept as jumprelu with the threshold it learned (Bussmann
    et al. 2412.06410); its selection over the whole batch is 20 times slower than topk's on a CPU."""
    d_sae: int = 4608
    """Number of latents."""
    k: int = 62
    """Active latents: a token's (topk), or their mean over tokens."""
    active: int | None = None
    """jumprelu: mean active latents of a training token as it is kept; None: k."""
    tokens: int = 3_000_000
    """Tokens to train on; the rows are gone through again when there are fewer."""
    batch: int = 512
    lr: float = 1.2e-3
    warm_up: float = 0.03
    """Share of the steps with a rising learning rate."""
    decay: float = 0.3
    """Share of the steps, the last ones, over which it falls to 0."""
    dead_after: int = 200
    """Steps without firing from which a latent counts as dead in training and gets sae-lens' auxiliary loss."""
    seed: int = 0
    checkpoints: int = 4

    def __post_init__(self) -> None:
        if self.kind not in ("jumprelu", "topk", "batchtopk"):
            raise InputError(f"no SAE training for kind {self.kind!r}; known: jumprelu, topk, batchtopk.")
        for name in ("d_sae", "k", "tokens", "batch"):
            if getattr(self, name) < 1:
                raise InputError(f"{name} is {getattr(self, name)}; give a positive number.")
        if self.k > self.d_sae:
            raise InputError(f"k is {self.k}, but there are {self.d_sae} latents; give a smaller k.")
        if self.active is not None and not (self.kind == "jumprelu" and 1 <= self.active <= 2 * self.k):
            raise InputError(f"active is {self.active}; jumprelu keeps 1 to {2 * self.k} latents of a token, others k.")
        if not 0 <= self.seed < 2**63:
            raise InputError(f"seed is {self.seed}; give a number from 0 to 2^63 - 1.")
        if self.tokens < self.batch:
            raise InputError(f"{self.tokens} tokens make no batch of {self.batch}; train on more.")


def train_sae(
    rows: Rows,
    site: Site,
    training: Training,
    out: str | Path,
    model: str,
    progress: Callable[[int, int], None] | None = None,
    metadata: dict[str, Any] | None = None,
) -> SAE:
    """Train on the rows of `site` and write SAELens' layout to `out`; a finished one is read instead.

    A broken-off training goes on at its last checkpoint. Raises InputError without sae-lens, when the rows are too
    few, or when `out` was begun with other settings; BadFile for a damaged checkpoint, OutOfRoom when the disk is full.
    """
    out = Path(out)
    settings = json.loads(json.dumps({"training": asdict(training), "site": str(site), "rows": rows.spec,
                                      "count": rows.count}))  # fmt: skip
    noted = out / "training.json"
    if noted.exists() and read_config(noted) != settings:
        raise InputError(f"{out} was begun with other settings (see {noted.name}); give another folder, or remove it.")
    if (out / "cfg.json").exists():
        return load_sae(out)
    write_text(noted, json.dumps(settings, indent=1) + "\n")
    with room(out):
        trained = _run(rows, site, training, out, model, progress)
    if training.kind == "jumprelu":
        some = next(rows.shuffled(site, min(rows.count, CALIBRATING), training.seed))
        trained = thresholded(trained, some, training.active)
    mean, variance = rows.moments(site)
    outliers = outlying(variance)
    made = {
        **trained.metadata,
        **(metadata or {}),
        "model_name": model,
        "hook_name": hook_name(site),
        "demur_training": asdict(training),
        "demur_outliers": outliers,
        "demur_tokens": training.tokens,
        "demur_mean": [round(float(x), 5) for x in mean],
    }
    sae = replace(trained, metadata=made, site=site).to("cpu", torch.float32)
    save_sae(sae, out)
    shutil.rmtree(out / CHECKPOINT, ignore_errors=True)
    return load_sae(out)


def expected_seconds(d_in: int, training: Training) -> float:
    """About how long `train_sae` will take on this machine: its steps, by the products that a step is made of."""
    x, weight = torch.randn(training.batch, d_in), torch.randn(d_in, training.d_sae)
    started = time.perf_counter()
    for _ in range(TIMED):
        torch.matmul(x, weight)
    return PRODUCTS * (time.perf_counter() - started) / TIMED * (training.tokens // training.batch)


def outlying(variance: Tensor) -> list[int]:
    """The dimensions [at most OUTLIERS] whose variance is OUTLYING times the median one, largest first."""
    top = torch.topk(variance, min(OUTLIERS, len(variance)))
    bound = OUTLYING * float(variance.median())
    return [int(i) for value, i in zip(top.values, top.indices, strict=True) if float(value) > bound]


def _run(
    rows: Rows, site: Site, training: Training, out: Path, model: str, progress: Callable[[int, int], None] | None
) -> SAE:
    try:
        from sae_lens import BatchTopKTrainingSAE, BatchTopKTrainingSAEConfig, TopKTrainingSAE, TopKTrainingSAEConfig
        from sae_lens.config import SAETrainerConfig
        from sae_lens.saes.sae import SAEMetadata
        from sae_lens.training.sae_trainer import SAETrainer
    except ImportError as error:
        raise InputError("training an SAE needs sae-lens; install it with: pip install 'demur[train]'.") from error
    steps = training.tokens // training.batch
    common: dict[str, Any] = {"d_in": rows.width, "d_sae": training.d_sae, "dtype": "float32", "device": "cpu",
                              "normalize_activations": "expected_average_only_in",
                              "metadata": SAEMetadata(model_name=model, hook_name=hook_name(site))}  # fmt: skip
    torch.manual_seed(training.seed)
    if training.kind == "batchtopk":
        sae: Any = BatchTopKTrainingSAE(BatchTopKTrainingSAEConfig(k=float(training.k), **common))
    else:
        sae = TopKTrainingSAE(TopKTrainingSAEConfig(k=training.k, **common))
    config = SAETrainerConfig(
        total_training_samples=steps * training.batch,
        train_batch_size_samples=training.batch,
        lr=training.lr,
        lr_end=0.0,
        lr_warm_up_steps=int(steps * training.warm_up),
        lr_decay_steps=int(steps * training.decay),
        autocast=True,
        dead_feature_window=training.dead_after,
        feature_sampling_window=steps + 1,
        n_checkpoints=training.checkpoints,
        checkpoint_path=str(out / CHECKPOINT),
        n_batches_for_norm_estimate=SCALING,
    )
    last = _latest(out / CHECKPOINT)
    if last is not None:
        with _reading(last):
            sae.load_weights_from_checkpoint(last)
    provider = _Provider(rows, site, training, progress, steps)
    trainer = SAETrainer(config, sae, provider)
    if last is not None:
        with _reading(last):
            trainer.load_trainer_state(last)
        # Not n_training_steps: sae-lens writes a checkpoint before it counts the step.
        provider.seek(SCALING + trainer.n_training_samples // training.batch)
        trainer.checkpoint_thresholds = [t for t in trainer.checkpoint_thresholds if t > trainer.n_training_samples]
    # Its bars would be written between the caller's progress.
    from tqdm.std import tqdm

    quiet = partialmethod(tqdm.__init__, disable=True)
    with warnings.catch_warnings(), patch.object(tqdm, "__init__", quiet):
        warnings.simplefilter("ignore")
        trainer.fit()
        kept = out / CHECKPOINT / "inference"
        sae.save_inference_model(str(kept))
    return load_sae(kept)


class _Provider(Iterator[Tensor]):
    """Batches for sae-lens: first those that set the scale, then one a step; a resumed training goes on behind them."""

    def __init__(
        self, rows: Rows, site: Site, training: Training, progress: Callable[[int, int], None] | None, steps: int
    ):
        self.rows, self.site, self.training, self.progress, self.steps = rows, site, training, progress, steps
        self.number = 0
        self.batches = rows.shuffled(site, training.batch, training.seed)

    def seek(self, number: int) -> None:
        self.number = number
        self.batches = self.rows.shuffled(self.site, self.training.batch, self.training.seed, number)

    def __next__(self) -> Tensor:
        if self.progress is not None:
            self.progress(min(max(0, self.number - SCALING), self.steps), self.steps)
        self.number += 1
        return next(self.batches)


@contextmanager
def _reading(checkpoint: Path) -> Iterator[None]:
    """BadFile for whatever sae-lens raises on a checkpoint that it cannot read."""
    try:
        yield
    except Exception as error:  # safetensors', torch's and json's errors share no base class
        raise BadFile(f"the checkpoint {checkpoint} cannot be read ({type(error).__name__}); remove it, and training "
                      "goes on at the one before.") from error  # fmt: skip


def _latest(folder: Path) -> Path | None:
    """The checkpoint of the most steps that is whole (sae-lens writes the scaler's file last), or None."""
    found = [path for path in folder.glob("[0-9]*") if (path / "activation_scaler.json").exists()]
    return max(found, key=lambda path: int(path.name), default=None)
