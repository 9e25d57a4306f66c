"""Where an SAE stands: the hook names of SAELens, Hugging Face, sparsify, dictionary_learning -> a demur `Site`.

Layers count blocks from 0 everywhere here. A module's name means its OUTPUT, so `model.layers.12` is 12.post,
which equals hidden_states[13] of transformers, and `blocks.12.hook_resid_pre` is hidden_states[12].
"""

from __future__ import annotations

import re

from demur.errors import UnknownName
from demur.types import Point, Site

_TRANSFORMER_LENS: dict[str, Point] = {
    "hook_resid_pre": "pre",
    "hook_resid_mid": "mid",
    "hook_resid_post": "post",
    "hook_attn_out": "attn_out",
    "hook_mlp_out": "mlp_out",
    "hook_in": "pre",
    "hook_out": "post",
}
_MODULES: dict[str, Point] = {
    "": "post",
    "output": "post",
    "input": "pre",
    "self_attn": "attn_out",
    "attention": "attn_out",
    "attn": "attn_out",
    "mlp": "mlp_out",
    "post_feedforward_layernorm": "mlp_out",
}
"""What follows `layers.N.`; only families with a norm after the MLP have a post_feedforward_layernorm."""
_SUBMODULES: dict[str, Point] = {
    "resid_pre": "pre",
    "resid_mid": "mid",
    "resid_post": "post",
    "attn_out": "attn_out",
    "mlp_out": "mlp_out",
}
_LETTERS: dict[str, Point] = {"R": "post", "A": "attn_out", "M": "mlp_out"}

_POST_NORMED = re.compile(r"gemma-?[23](?!b)|olmo-?[23]", re.IGNORECASE)
"""Families that norm what attention and MLP write: there a module's output is not yet what the stream gets."""

_KNOWN = (
    "blocks.N.hook_resid_pre, _mid or _post, blocks.N.hook_attn_out, blocks.N.hook_mlp_out, "
    "layers.N (or h.N, blocks.N) with .self_attn or .mlp, resid_post_layer_N, LNR-8x"
)


def site_of(hook: str, model: str = "") -> Site:
    """The site a hook name means. `model`, where known, tells families apart whose modules mean something else.

    Raises UnknownName for a hook that is no site of the stream (attention heads, norms, embeddings, MLP inside).
    """
    text = hook.strip()
    if match := re.fullmatch(r"blocks\.(\d+)\.(hook_\w+)", text):
        if match[2] in _TRANSFORMER_LENS:
            return Site(int(match[1]), _TRANSFORMER_LENS[match[2]])
    elif match := re.fullmatch(r"(?:\w+\.)*(?:layers|h|blocks)\.(\d+)(?:\.(\w+?))?(?:\.output)?", text):
        module = match[2] or ""
        if module in ("self_attn", "attention", "attn", "mlp") and _POST_NORMED.search(model):
            raise UnknownName(
                f"{hook!r} of {model} is read before the norm that follows it, so it is no site; "
                "give an SAE of hook_attn_out, hook_mlp_out or the residual stream."
            )
        if module in _MODULES:
            return Site(int(match[1]), _MODULES[module])
    elif match := re.fullmatch(r"(\w+?)_layer_(\d+)", text):
        if match[1] in _SUBMODULES:
            return Site(int(match[2]), _SUBMODULES[match[1]])
    elif match := re.fullmatch(r"(?:.*-)?L(\d+)([RAM])(?:-\d+x)?", text):
        return Site(int(match[1]), _LETTERS[match[2]])
    raise UnknownName(f"{hook!r} is no site that demur knows; known: {_KNOWN}. Give an SAE of the residual stream.")


def hook_name(site: Site) -> str:
    """SAELens' name of a site: Site(5, "post") -> blocks.5.hook_resid_post."""
    stem = site.point if site.point in ("attn_out", "mlp_out") else f"resid_{site.point}"
    return f"blocks.{site.layer}.hook_{stem}"
