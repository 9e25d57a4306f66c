"""Near-duplicates: texts whose content words have a Jaccard similarity of .6 or more (protocol: Splits).

Clusters are the connected components of "is a near-duplicate of", so a whole cluster can go to one use.
"""

from __future__ import annotations

import math
import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence, Set

THRESHOLD = 0.6

_WORD = re.compile(r"[^\W_]+(?:'[^\W_]+)*")
# NOTE the protocol's counts were checked against this list: 17 of JailbreakBench's 100 requests have a
# near-duplicate in AdvBench, 11 one in harmful_train, 39 rows of HarmBench-val stand in the splits.
_LIST = (
    "a an the and or but of to in on at by for from with as into about than that this these those it its "
    "is are was were be been do does did can could will would should i me my we our you your he she they "
    "them their his her how what when where which who why "
)
_FUNCTION_WORDS = frozenset(_LIST.split())


def content_words(text: str) -> frozenset[str]:
    """The words that carry meaning, in lower case.

    A text of nothing but function words keeps them all, one without words is a word itself,
    so that only texts which say the same are alike.
    """
    words = _WORD.findall(text.replace("\u2019", "'").casefold())
    content = frozenset(word for word in words if word not in _FUNCTION_WORDS)
    return content or frozenset(words) or frozenset((text.strip(),))


def jaccard(a: Set[str], b: Set[str]) -> float:
    """Size of the intersection over size of the union, in [0, 1]; two empty sets are alike (1)."""
    union = len(a | b)
    return len(a & b) / union if union else 1.0


def similarity(a: str, b: str) -> float:
    """Jaccard similarity of two texts' content words, in [0, 1]; symmetric."""
    return jaccard(content_words(a), content_words(b))


def clusters(texts: Sequence[str], threshold: float = THRESHOLD) -> list[int]:
    """For each text the number of its cluster; clusters count from 0 in order of their first text.

    threshold: in (0, 1]. Texts at or above it are joined, and so is what they are joined to.
    """
    parent = list(range(len(texts)))

    def root(i: int) -> int:
        while parent[i] != i:
            parent[i] = parent[parent[i]]
            i = parent[i]
        return i

    for i, j in pairs(texts, threshold):
        a, b = sorted((root(i), root(j)))
        parent[b] = a
    numbers: dict[int, int] = {}
    return [numbers.setdefault(root(i), len(numbers)) for i in range(len(texts))]


def near(texts: Sequence[str], others: Sequence[str], threshold: float = THRESHOLD) -> set[int]:
    """Indices of those `texts` that share a cluster with any of `others`, when all are clustered together."""
    number = clusters([*texts, *others], threshold)
    shared = set(number[len(texts) :])
    return {i for i in range(len(texts)) if number[i] in shared}


def pairs(texts: Sequence[str], threshold: float = THRESHOLD) -> list[tuple[int, int]]:
    """All (i, j), i > j, of texts at or above the threshold.

    Prefix filter (Chaudhuri et al. 2006): with each text's words ordered from rare to common, two texts
    that are alike share a word among the first n - ceil(threshold n) + 1 of either, so that only those
    are indexed and common words are hardly ever looked up.
    """
    return list(_search([content_words(text) for text in texts], threshold))


def first_between(texts: Sequence[str], others: Sequence[str], threshold: float = THRESHOLD) -> tuple[int, int] | None:
    """Index of the first of `texts` that is a near-duplicate of one of `others`, and of that one; None: none is."""
    sets = [content_words(text) for text in (*others, *texts)]
    for i, j in _search(sets, threshold, len(others)):
        return i - len(others), j
    return None


def _search(sets: Sequence[frozenset[str]], threshold: float, indexed: int | None = None) -> Iterator[tuple[int, int]]:
    """(i, j), i > j, of sets at or above the threshold; j only among the first `indexed`, i behind them, if given."""
    if not 0 < threshold <= 1:
        raise ValueError(f"threshold is {threshold}; it must lie above 0 and not above 1")
    count = Counter(word for words in sets for word in words)
    index: dict[str, list[int]] = defaultdict(list)
    for i, words in enumerate(sets):
        rare_first = sorted(words, key=lambda word: (count[word], word))
        prefix = rare_first[: len(words) - math.ceil(threshold * len(words) - 1e-9) + 1]
        if indexed is None or i >= indexed:
            for j in sorted({j for word in prefix for j in index[word]}):
                low, high = sorted((len(words), len(sets[j])))
                if low >= threshold * high - 1e-9 and jaccard(words, sets[j]) >= threshold - 1e-9:
                    yield i, j
        if indexed is None or i < indexed:
            for word in prefix:
                index[word].append(i)
