"""Looking at a latent: where it is most active, what its decoder row writes, how often, how near to refusal."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from demur.engines.base import Row, WhiteBoxEngine
from demur.reports.looks import Look, Passage
from demur.saes import SAE, decoder_rows, encode_some
from demur.saes.operators import indices as checked
from demur.types import Direction

NEAR = 12
"""Tokens shown before the most active one; half as many after it."""


def look(
    engine: WhiteBoxEngine,
    sae: SAE,
    latents: Sequence[int],
    rows: Sequence[Row],
    direction: Direction | None = None,
    contexts: int = 8,
    words: int = 10,
) -> list[Look]:
    """Look at some latents of one SAE on passages (`engines.reading`), all in one reading.

    The first token of a passage is left out. Raises BadSpec for a latent that is not there.
    """
    columns = checked(sae, latents)
    best: list[list[tuple[float, int, list[float]]]] = [[] for _ in latents]
    fired, total, number = torch.zeros(len(columns)), 0, 0
    for batch in engine.read(rows, [sae.site]):
        active = encode_some(sae, batch.tensors[sae.site], columns) * batch.mask[..., None]
        active[:, 0] = 0
        fired += (active > 0).sum((0, 1))
        total += int(batch.mask.sum()) - len(batch.mask)
        peaks = active.amax(1)
        for i in range(len(columns)):
            for row in (peaks[:, i] > 0).nonzero()[:, 0].tolist():
                best[i].append((float(peaks[row, i]), number + row, active[row, :, i].tolist()))
            best[i] = sorted(best[i], key=lambda seen: (-seen[0], seen[1]))[:contexts]
        number += len(batch.mask)
    vectors = decoder_rows(sae, columns)
    unit = vectors / vectors.norm(dim=-1, keepdim=True)
    logits = engine.lens(unit)
    logits = logits - logits.mean(-1, keepdim=True)
    found = []
    for i, index in enumerate(columns.tolist()):
        passages = tuple(_passage(engine, rows[row], values) for _, row, values in best[i])
        cosine = None if direction is None else float(unit[i] @ direction.vector.to(unit))
        ends = [torch.topk(sign * logits[i], words) for sign in (1, -1)]
        promoted, lowered = (tuple((engine.decode([t]), s * v) for v, t in
                                   zip(end.values.tolist(), end.indices.tolist(), strict=True))
                             for s, end in zip((1, -1), ends, strict=True))  # fmt: skip
        largest = best[i][0][0] if best[i] else 0.0
        found.append(Look(str(sae.site), index, float(fired[i]) / max(total, 1), largest, passages, promoted, lowered,
                          cosine, total))  # fmt: skip
    return found


def _passage(engine: WhiteBoxEngine, row: Row, values: Sequence[float]) -> Passage:
    peak = max(range(len(row.tokens)), key=lambda at: values[at])
    start, stop = max(0, peak - NEAR), min(len(row.tokens), peak + NEAR // 2)
    words = tuple(engine.decode([token]) for token in row.tokens[start:stop])
    return Passage(row.label, words, tuple(values[start:stop]))
