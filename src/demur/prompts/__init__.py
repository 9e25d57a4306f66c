"""Prompts: sets of requests, built-in, published or from any file, and the items capability is scored on."""

from demur.prompts.builtin import builtin_items
from demur.prompts.duplicates import clusters, near
from demur.prompts.files import read_prompts
from demur.prompts.load import load, load_items, names
from demur.prompts.own import own_sets
from demur.prompts.pairs import Pair, caa_pairs
from demur.prompts.published import published_items
from demur.prompts.sets import PromptSets, builtin_sets

__all__ = [
    "Pair",
    "PromptSets",
    "builtin_items",
    "builtin_sets",
    "caa_pairs",
    "clusters",
    "load",
    "load_items",
    "names",
    "near",
    "own_sets",
    "published_items",
    "read_prompts",
]
