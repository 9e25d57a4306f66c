"""`clamp`, `multiply` and `splice`: interventions on SAE latents.

clamp:    f_j := value        (constant clamp; O'Brien et al. 2411.11296)
multiply: f_j := factor * f_j (Yeo et al. 2505.23556; a factor of 0 removes the latent, a negative one turns it round)
splice:   x := decode(encode(x))

With the SAE's error kept, x' = x + sum_j (f'_j - f_j) W_dec[j], and only the chosen latents are computed (topk: all,
for they compete); without it x' = decode(f'), as in the first paper.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
from torch import Tensor

from demur.errors import BadSpec, BadVector
from demur.interventions.base import Context, Resid, checked, number, unit
from demur.interventions.intervention import Intervention
from demur.interventions.tensors import pack, unpack
from demur.saes.chosen import Chosen, choose, widened
from demur.saes.load import reload_sae
from demur.saes.operators import decode, encode, indices
from demur.saes.sae import SAE
from demur.types import Site

Mode = Literal["constant", "multiply"]
Amount = float | Sequence[float] | Tensor
"""One number for all latents, or one for each."""

WORDS: dict[Mode, str] = {"constant": "value", "multiply": "factor"}
"""Mode -> what one of its numbers is called; a spec says values and factors."""


@dataclass(frozen=True, eq=False)
class Clamp(Intervention, op="clamp", counts_back=False):
    """Sets or multiplies latents of one SAE. Made by `clamp`, `multiply` and `splice`.

    It keeps the SAE itself only where all of it is needed: for topk, or without the error.
    """

    sites_: frozenset[Site]
    """The SAE's site; empty when nothing would change."""
    latents: Tensor
    """Int [m], or [batch, m] where each row has its own."""
    amounts: Tensor
    """Float32 or wider: values or factors [m], or [batch, 1, m]."""
    mode: Mode
    keep_error: bool
    width: int
    """Of the stream that the SAE reads."""
    source: str
    """The folder that gives the SAE again."""
    sha256: str
    chosen: Chosen
    whole: SAE | None
    without: Tensor | None = None
    """A unit direction [d_model] that was taken out of the decoder rows."""

    def edit(self, resid: Resid, site: Site, context: Context) -> Resid:
        """The stream with its latents changed, computed in float32 or wider, in the stream's dtype.

        Raises BadVector when the stream has another width than the SAE.
        """
        if resid.shape[-1] != self.width:
            raise BadVector(
                f"the stream at {site} has width {resid.shape[-1]}; the SAE {self.source or 'of this clamp'} reads "
                f"{self.width}: give one of this model."
            )
        ready = self.to(resid)
        x = resid.to(ready.amounts.dtype)
        new = ready._added(x) if self.keep_error else ready._rebuilt(x)
        return new.to(resid.dtype)

    def _added(self, x: Resid) -> Resid:
        f = self.chosen.encode(x) if self.whole is None else _gathered(encode(self.whole, x), self.latents)
        return self.chosen.added(x, self.amounts - f if self.mode == "constant" else f * (self.amounts - 1))

    def _rebuilt(self, x: Resid) -> Resid:
        assert self.whole is not None
        f = encode(self.whole, x)
        if self.latents.numel():
            new = self.amounts if self.mode == "constant" else _gathered(f, self.latents) * self.amounts
            index = _index(f, self.latents)
            f = f.scatter(-1, index, new.expand(index.shape))
        return decode(self.whole, f, x)

    def shape(self) -> tuple[Any, ...]:
        """Site, SAE, number of latents, mode, what becomes of the error, and of which direction."""
        aside = None if self.without is None else pack(self.without)["sha256"]
        return ("clamp", *sorted(self.sites), self.sha256, self.latents.shape[-1], self.mode, self.keep_error, aside)

    def stack(self, others: Sequence[Any]) -> Clamp:
        """Row i gets others[i]'s latents and numbers; rows with the same latents share one matrix product."""
        amounts = torch.stack([other.amounts for other in others])[:, None]
        if all(other.latents is self.latents or other.latents.equal(self.latents) for other in others):
            return replace(self, amounts=amounts)
        latents = torch.stack([other.latents for other in others])
        return replace(self, latents=latents, amounts=amounts, chosen=self.chosen.stack([o.chosen for o in others]))

    def to(self, like: Tensor) -> Clamp:
        """On the device of `like`, in float32 or wider: thresholds are too fine for bf16. Itself where that is so."""
        device, dtype = like.device, torch.promote_types(like.dtype, self.amounts.dtype)
        if self.amounts.device == device and self.amounts.dtype == dtype:
            return self
        whole = None if self.whole is None else widened(self.whole, device, dtype)
        amounts, chosen = self.amounts.to(device, dtype), self.chosen.to(device, dtype)
        return replace(self, latents=self.latents.to(device), amounts=amounts, chosen=chosen, whole=whole)

    def spec(self) -> dict[str, Any]:
        """The SAE's folder and hash, latents, numbers, and what becomes of the error. BadSpec without a folder."""
        if not self.source:
            raise BadSpec("this SAE is in no file; save_sae(sae, folder), and clamp load_sae(folder).")
        return {
            "op": "clamp",
            "sae": {"source": self.source, "sha256": self.sha256},
            "latents": self.latents.tolist(),
            f"{WORDS[self.mode]}s": self.amounts.tolist(),
            "error": "keep" if self.keep_error else "drop",
            **({} if self.without is None else {"without": pack(self.without)}),
        }

    @classmethod
    def read(cls, record: Mapping[str, Any]) -> Clamp:
        """`Clamp` from its spec. Loads the SAE, and raises BadFile when its hash is another than the spec's."""
        sae, latents, error = record.get("sae"), record.get("latents"), record.get("error")
        modes: list[Mode] = [mode for mode, word in WORDS.items() if isinstance(record.get(f"{word}s"), list)]
        if not isinstance(sae, dict) or not all(isinstance(sae.get(key), str) for key in ("source", "sha256")):
            raise BadSpec("a clamp spec needs sae: {source: folder, sha256: hash}.")
        if not isinstance(latents, list) or any(type(latent) is not int for latent in latents) or len(modes) != 1:
            raise BadSpec("a clamp spec needs latents: [index, ...], and values or factors: [number, ...].")
        if error not in ("keep", "drop"):
            raise BadSpec(f"a clamp spec needs error: keep or drop, not {str(error)[:40]!r}.")
        loaded = reload_sae(sae["source"], sae["sha256"])
        without = unpack(record["without"]) if "without" in record else None
        return clamped(loaded, latents, record[f"{WORDS[modes[0]]}s"], modes[0], error == "keep", without)


def _index(f: Tensor, latents: Tensor) -> Tensor:
    """Latents [m] or [batch, m] as an index [batch, seq, m] into f [batch, seq, d_sae]."""
    return (latents if latents.ndim == 1 else latents[:, None]).expand(*f.shape[:2], -1)


def _gathered(f: Tensor, latents: Tensor) -> Tensor:
    return f.gather(-1, _index(f, latents))


def clamp(sae: SAE, latents: Sequence[int] | Tensor, value: Amount, keep_error: bool = True) -> Clamp:
    """Hold latents at a value, at every token (O'Brien et al. 2411.11296): f_j := value.

    value: in the latents' own units, one number or one a latent. keep_error: see the module. Without latents, and
    with the error kept, an intervention without sites. Raises BadSpec for a latent that is not there or given twice,
    a number that is not finite, or another number of numbers than latents; BadVector for one with a decoder row of 0.
    """
    return clamped(sae, latents, value, "constant", keep_error)


def multiply(sae: SAE, latents: Sequence[int] | Tensor, factor: Amount, keep_error: bool = True) -> Clamp:
    """Multiply latents by a factor, at every token (Yeo et al. 2505.23556): f_j := factor * f_j.

    factor: one number or one a latent; 1 throughout, with the error kept, gives an intervention without sites.
    Raises as `clamp`.
    """
    return clamped(sae, latents, factor, "multiply", keep_error)


def splice(sae: SAE) -> Clamp:
    """The stream replaced by what the SAE makes of it, decode(encode(x)): no latent changed, the error dropped."""
    return clamped(sae, [], [], "constant", keep_error=False)


def clamped(sae: SAE, latents: Any, amount: Any, mode: Mode, keep_error: bool, without: Tensor | None = None) -> Clamp:
    """`clamp` or `multiply` by name, with a direction that is taken out of the decoder rows (`clamp_features`)."""
    columns = _latents(sae, latents)
    numbers = torch.tensor(numbers_of(amount, len(columns), WORDS[mode]), dtype=torch.float32)
    if len(silent := columns[~sae.weights["W_dec"].detach()[columns].any(-1).to(columns.device)]):
        raise BadVector(
            f"latent {int(silent[0])} of {sae.source or 'this SAE'} writes nothing, for its decoder row is zero: to "
            f"{'hold' if mode == 'constant' else 'multiply'} it would change no answer; leave it out."
        )
    idle = not len(columns) or (mode == "multiply" and bool(numbers.eq(1).all()))
    chosen = choose(sae, columns)
    if without is not None:
        if not keep_error:
            raise BadSpec("a direction is taken out of what is added to the stream; keep the error.")
        axis = unit(checked(without, "the direction to leave out"))
        if len(axis) != sae.d_in:
            raise BadVector(f"the direction to leave out has width {len(axis)}; this SAE's stream has {sae.d_in}.")
        rows = chosen.parts["decoder"]
        without, wide = axis, axis.to(rows)
        chosen = replace(chosen, parts={**chosen.parts, "decoder": rows - (rows @ wide)[:, None] * wide})
    return Clamp(
        sites_=frozenset([] if keep_error and idle else [sae.site]),
        latents=columns,
        amounts=numbers.to(chosen.parts["decoder"]),
        mode=mode,
        keep_error=keep_error,
        width=sae.d_in,
        source=sae.source,
        sha256=sae.sha256,
        chosen=chosen,
        whole=None if keep_error and sae.kind != "topk" else widened(sae),
        without=without,
    )


def _latents(sae: SAE, latents: Any) -> Tensor:
    try:
        columns = indices(sae, latents)
    except (TypeError, ValueError, RuntimeError) as error:
        raise BadSpec(
            f"latents are a list of indices from 0 to {sae.d_sae - 1}; {str(latents)[:40]} is not."
        ) from error
    once, times = columns.unique(return_counts=True)
    if len(once) < len(columns):
        raise BadSpec(f"latent {int(once[times > 1][0])} is given more than once; give each latent once.")
    return columns.clone()


def numbers_of(amount: Any, count: int, what: str) -> list[float]:
    """One number for each of `count` latents; BadSpec for another number of numbers, or what is none."""
    given = amount.tolist() if isinstance(amount, Tensor) else amount
    if not isinstance(given, Sequence) or isinstance(given, str):
        return [number(given, what)] * count
    if len(given) != count:
        raise BadSpec(f"{len(given)} {what}s for {count} latents; give one number, or one a latent.")
    return [number(one, what) for one in given]
