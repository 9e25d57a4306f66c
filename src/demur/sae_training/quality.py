"""The quality card of an SAE: sparsity, variance explained, cross-entropy when spliced in, dead latents.

On text and chats that the SAE was not trained on; the first token of each passage is left out everywhere.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from demur.engines.base import Row, WhiteBoxEngine
from demur.engines.reading import tokens_of
from demur.errors import InputError
from demur.interventions import at, splice
from demur.saes import SAE, check_model, decode, encode
from demur.types import Figure

DEAD_TOKENS = 200_000
"""Held-out tokens over which a latent has to be silent to count as dead."""
CHUNK = 2048
"""Tokens encoded at once."""

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Fidelity:
    """What one SAE does to one set of passages."""

    set: str
    tokens: int
    l0: float
    """Mean number of active latents a token."""
    explained: float
    """1 - residual variance / variance, over all dimensions but the SAE's outliers."""
    explained_all: float
    """The same over all dimensions."""
    clean: float
    """Cross-entropy of the next token, nats, over the passages read for it."""
    spliced: float
    """With the stream replaced by the reconstruction."""
    ablated: float
    """With the stream replaced by its mean in training."""
    scored: int
    """Tokens whose cross-entropy was taken."""

    @property
    def recovered(self) -> float:
        """Share of the cross-entropy lost to mean-ablation that the reconstruction wins back."""
        return (self.ablated - self.spliced) / (self.ablated - self.clean)


@dataclass(frozen=True)
class Card:
    """An SAE's quality."""

    sae: str
    """Its site."""
    sets: tuple[Fidelity, ...]
    dead: float | None
    """Share of latents silent on all passages together; None under DEAD_TOKENS tokens."""
    silent: float
    """The same share, however few tokens were read."""
    tokens: int
    density: Float[Tensor, " d_sae"]
    """Share of the tokens on which each latent is active."""
    outliers: tuple[int, ...]

    def figures(self) -> list[Figure]:
        """Rows for results.json; shares of variance and cross-entropy carry no interval of their own (low = high)."""
        rows = []
        for fidelity in self.sets:
            for name, metric in METRICS.items():
                value, n = getattr(fidelity, name), fidelity.tokens if name in BY_TOKEN else fidelity.scored
                rows.append(Figure(f"sae {self.sae}", "", fidelity.set, metric, value, n, "tokens", value, value))
        share = self.silent if self.dead is None else self.dead
        name = "silent_share" if self.dead is None else "dead_share"
        rows.append(Figure(f"sae {self.sae}", "", "all", name, share, self.tokens, "tokens", share, share))
        return rows


METRICS = {
    "l0": "l0",
    "explained": "variance_explained",
    "explained_all": "variance_explained_all_dimensions",
    "recovered": "cross_entropy_recovered",
    "clean": "cross_entropy",
    "spliced": "cross_entropy_spliced",
    "ablated": "cross_entropy_mean_ablated",
}
"""Field of Fidelity -> its name in results.json."""
BY_TOKEN = ("l0", "explained", "explained_all")
"""Fields taken over all tokens; the others over those whose cross-entropy was taken."""


def quality(
    engine: WhiteBoxEngine,
    saes: Sequence[SAE],
    sets: Mapping[str, Sequence[Row]],
    means: Sequence[Tensor] | None = None,
    scored: int = 20_000,
    progress: Progress | None = None,
    other_model: bool = False,
) -> list[Card]:
    """A card a SAE, on passages (`engines.reading`) of each set; all SAEs share one reading.

    means: the stream's mean at each SAE's site on its training data [d_model]; by default what `train_sae` noted, or
    the mean over the passages. scored: tokens of each set whose cross-entropy is taken, spread over the set.
    Raises InputError for no passages, BadFile for an SAE of another model.
    """
    if not saes or not sets or not all(sets.values()):
        raise InputError("a quality card needs an SAE and passages of held-out text; there are none.")
    for sae in saes:
        check_model(sae, engine.name, engine.d_model, engine.n_layers, other_model, engine.fingerprint.weights)
    tallies = [{name: _Tally(sae) for name in sets} for sae in saes]
    for name, rows in sets.items():
        done = 0
        for batch in engine.read(rows, sorted({sae.site for sae in saes})):
            for sae, tally in zip(saes, tallies, strict=True):
                tally[name].see(tokens_of(batch, sae.site))
            done += len(batch.mask)
            if progress is not None:
                progress(f"reading {name}", done, len(rows))
    cards = []
    for index, (sae, tally) in enumerate(zip(saes, tallies, strict=True)):
        mean = means[index] if means is not None else _mean(sae, list(tally.values()))
        fidelities = []
        for name, rows in sets.items():
            some = _some(rows, scored)
            clean, spliced, ablated = (
                _loss(engine, some, how) for how in (None, splice(sae), splice(constant(sae, mean)))
            )
            losses = (clean, spliced, ablated)
            n = sum(len(row.tokens) - 1 for row in some)
            fidelities.append(tally[name].fidelity(name, losses, n))
            if progress is not None:
                progress("cross-entropy", index * len(sets) + len(fidelities), len(saes) * len(sets))
        fired = torch.stack([t.fired for t in tally.values()]).sum(0)
        tokens = sum(t.n for t in tally.values())
        silent = float((fired == 0).double().mean())
        dead = silent if tokens >= DEAD_TOKENS else None
        cards.append(Card(str(sae.site), tuple(fidelities), dead, silent, tokens, (fired / tokens).float(),
                          tuple(outliers_of(sae))))  # fmt: skip
    return cards


def constant(sae: SAE, mean: Float[Tensor, " d_model"]) -> SAE:
    """An SAE at the same site that knows the mean and nothing else: splicing it in is mean-ablation."""
    nothing = torch.zeros(sae.d_in, 1)
    weights = {"W_enc": nothing, "W_dec": nothing.T.clone(), "b_enc": torch.zeros(1), "b_dec": mean.float()}
    return SAE("relu", weights, sae.site)


def outliers_of(sae: SAE) -> list[int]:
    """The dimensions that "variance explained" leaves out, as training named them; none for others' SAEs."""
    return [int(i) for i in sae.metadata.get("demur_outliers", ())]


class _Tally:
    """Sums over tokens, in float64."""

    def __init__(self, sae: SAE):
        self.sae = sae
        self.n = 0
        self.sum, self.squares, self.missed = (torch.zeros(sae.d_in, dtype=torch.float64) for _ in range(3))
        self.fired = torch.zeros(sae.d_sae, dtype=torch.float64)

    def see(self, x: Float[Tensor, "tokens d_model"]) -> None:
        for part in x.split(CHUNK):
            latents = encode(self.sae, part)
            wide, rest = part.double(), (part - decode(self.sae, latents, part)).double()
            self.n += len(part)
            self.sum += wide.sum(0)
            self.squares += wide.square().sum(0)
            self.missed += rest.square().sum(0)
            self.fired += (latents > 0).sum(0)

    def fidelity(self, name: str, losses: tuple[float, float, float], scored: int) -> Fidelity:
        variance = self.squares - self.sum.square() / self.n
        keep = torch.ones(len(variance), dtype=torch.bool)
        keep[outliers_of(self.sae)] = False
        explained, everywhere = (float(1 - self.missed[some].sum() / variance[some].sum())
                                 for some in (keep, torch.ones_like(keep)))  # fmt: skip
        return Fidelity(name, self.n, float(self.fired.sum()) / self.n, explained, everywhere, *losses, scored)


def _mean(sae: SAE, tallies: Sequence[_Tally]) -> Tensor:
    if "demur_mean" in sae.metadata:
        return torch.tensor(sae.metadata["demur_mean"])
    total = sum(tally.n for tally in tallies)
    return (torch.stack([tally.sum for tally in tallies]).sum(0) / total).float()


def _some(rows: Sequence[Row], tokens: int) -> list[Row]:
    """Passages of about so many tokens in all, evenly over the set: its wrappers and kinds stand in a row."""
    total = sum(len(row.tokens) for row in rows)
    n = max(1, min(len(rows), round(len(rows) * tokens / total)))
    return [rows[i * len(rows) // n] for i in range(n)]


def _loss(engine: WhiteBoxEngine, rows: Sequence[Row], how: object) -> float:
    """Mean cross-entropy of the next token in nats; the first token of a passage is left as it is."""
    steer = None if how is None else at("after-first", how)  # pyright: ignore[reportArgumentType]
    scored = engine.row_logprobs(rows, steer)
    return -sum(s.total for s in scored) / sum(len(s.logprobs) for s in scored)
