"""Continuations of one context as trees: tokens that several begin with are computed once (Miao et al. 2305.09781)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import torch
from jaxtyping import Bool, Int
from torch import Tensor

NODES = 64
"""Tokens of a tree, at most (a longer single continuation is a tree of its own): every token looks at all of them."""


@dataclass
class Tree:
    """Tokens fed after one context; node 0 is the context's last token."""

    tokens: list[int]
    parents: list[int] = field(default_factory=lambda: [-1])
    depths: list[int] = field(default_factory=lambda: [0])
    paths: dict[int, list[int]] = field(default_factory=dict)
    """Continuation -> the nodes that predict its tokens, one each."""
    children: dict[tuple[int, int], int] = field(default_factory=dict)
    """(node, token) -> the node that follows."""

    def lacks(self, answer: Sequence[int]) -> int:
        """How many nodes it needs more to hold an answer."""
        node: int | None = 0
        for held, token in enumerate(answer[:-1]):
            node = self.children.get((node, token))
            if node is None:
                return len(answer) - 1 - held
        return 0

    def grow(self, index: int, answer: Sequence[int]) -> None:
        """Add an answer, as continuation `index`; its last token need not be fed."""
        path = [0]
        for token in answer[:-1]:
            place = (path[-1], token)
            if place not in self.children:
                self.children[place] = len(self.tokens)
                self.tokens.append(token)
                self.parents.append(path[-1])
                self.depths.append(len(path))
            path.append(self.children[place])
        self.paths[index] = path


def trees(last: int, answers: Iterable[tuple[int, Sequence[int]]]) -> list[Tree]:
    """(continuation, its tokens) of one context that ends with `last` -> few trees of at most NODES tokens."""
    grown: list[Tree] = []
    for index, answer in sorted(answers, key=lambda pair: tuple(pair[1])):
        if not grown or len(grown[-1].tokens) + grown[-1].lacks(answer) > NODES:
            grown.append(Tree([last]))
        grown[-1].grow(index, answer)
    return grown


def lines(some: Sequence[Tree]) -> tuple[Int[Tensor, "n nodes"], Bool[Tensor, "n nodes nodes"]]:
    """Of each tree, padded to the largest: depths [n, nodes], and which nodes each node sees, itself and those it
    follows [n, nodes, nodes]. Padding sees itself."""
    width = max(len(tree.tokens) for tree in some)
    depths = torch.zeros(len(some), width, dtype=torch.long)
    seen = torch.eye(width, dtype=torch.bool).repeat(len(some), 1, 1)
    for row, tree in enumerate(some):
        depths[row, : len(tree.depths)] = torch.tensor(tree.depths)
        mine = seen[row].numpy()
        for node, parent in enumerate(tree.parents[1:], 1):
            mine[node] |= mine[parent]
    return depths, seen
