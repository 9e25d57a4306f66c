"""One batch whose rows have different interventions, compiled into few edits a site.

Rows of equal shape (same operations at the same sites, other numbers) are stacked and run as one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from demur.interventions.base import Context
from demur.interventions.intervention import Intervention
from demur.types import Site


@dataclass(frozen=True)
class _Group:
    rows: Tensor | None
    """Row indices, or None for the whole batch."""
    stacked: Intervention


def compile_batch(
    interventions: Sequence[Intervention | None], context: Context, like: Tensor
) -> dict[Site, Callable[[Tensor], Tensor]]:
    """Edits by site for a batch; row i of the stream gets interventions[i] (None: nothing).

    like: any tensor in the stream's dtype, on its device.
    """
    by_shape: dict[tuple[object, ...], list[int]] = {}
    for row, intervention in enumerate(interventions):
        if intervention is not None and intervention.sites:
            by_shape.setdefault(intervention.shape(), []).append(row)
    groups: list[_Group] = []
    for rows in by_shape.values():
        members = [member for row in rows if (member := interventions[row]) is not None]
        first = members[0]
        same = all(member is first for member in members)
        stacked = first if same else first.stack(members)
        index = None if len(rows) == len(interventions) else torch.tensor(rows, device=like.device)
        groups.append(_Group(index, stacked.to(like)))
    sites = {site for group in groups for site in group.stacked.sites}
    return {site: _edit(site, [g for g in groups if site in g.stacked.sites], context) for site in sorted(sites)}


def _edit(site: Site, groups: list[_Group], context: Context) -> Callable[[Tensor], Tensor]:
    contexts = [context if group.rows is None else context.rows(group.rows) for group in groups]
    return partial(_edited, site, groups, contexts)


def _edited(site: Site, groups: list[_Group], contexts: list[Context], resid: Tensor) -> Tensor:
    # No closure: tests that check shapes would wrap a new one for every site of every pass.
    if groups[0].rows is None:
        return groups[0].stacked.edit(resid, site, contexts[0])
    new = resid.clone()
    for group, part in zip(groups, contexts, strict=True):
        assert group.rows is not None
        new[group.rows] = group.stacked.edit(resid[group.rows], site, part)
    return new
