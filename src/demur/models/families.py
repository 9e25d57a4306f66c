"""Where each model family keeps its blocks and the points inside them: one line a family."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from demur.errors import BadSpec, unknown
from demur.types import POINTS, Point


@dataclass(frozen=True)
class Family:
    """Paths in a transformers causal language model.

    `attn` and `mlp` name the submodule whose output is ADDED to the residual stream: in the families that
    normalise it before (gemma2, olmo2, glm4) that is the norm after attention or MLP.
    """

    blocks: str
    attn: str = "self_attn"
    mlp: str = "mlp"
    parallel: bool | tuple[str, ...] = False
    """Whether attention and MLP read the same input, so that `mid` does not exist; or config flags that say so, any."""
    multiplier: str = ""
    """The block's attribute by which it multiplies what it adds."""
    masked: bool = False
    """Older than transformers' attention interface: attention is its own and takes a mask; blocks return tuples."""
    refuses: tuple[tuple[str, str], ...] = ()
    """Config flags under which demur's passes would not be the model's own, with the reason."""

    @property
    def body(self) -> str:
        """Path of the text model, which embeds tokens, runs the blocks and ends with the final norm."""
        return self.blocks.rpartition(".")[0]


_AFTER_NORMS = ("post_attention_layernorm", "post_feedforward_layernorm")
_TWO_WAY = (("use_bidirectional_attention", "tokens see what comes after them"),)
_ALIBI = (
    ("alibi", "the bias by distance (ALiBi) is made from a mask of whole rows, which demur's passes do not have"),
)

FAMILIES: dict[str, Family] = {
    "llama": Family("model.layers"),
    "mistral": Family("model.layers"),
    "mixtral": Family("model.layers"),
    "qwen2": Family("model.layers"),
    "qwen2_moe": Family("model.layers"),
    "qwen3": Family("model.layers"),
    "qwen3_moe": Family("model.layers"),
    "gemma": Family("model.layers"),
    "gemma2": Family("model.layers", *_AFTER_NORMS),
    "gemma3_text": Family("model.layers", *_AFTER_NORMS, refuses=_TWO_WAY),
    "gemma3": Family("model.language_model.layers", *_AFTER_NORMS, refuses=_TWO_WAY),
    "phi": Family("model.layers", parallel=True),
    "phi3": Family("model.layers"),
    "olmo": Family("model.layers"),
    "olmo2": Family("model.layers", *_AFTER_NORMS),
    "olmo3": Family("model.layers", *_AFTER_NORMS),
    "granite": Family("model.layers", multiplier="residual_multiplier"),
    "gpt_oss": Family("model.layers"),
    "llama4_text": Family("model.layers", mlp="feed_forward"),
    "llama4": Family("language_model.model.layers", mlp="feed_forward"),
    "smollm3": Family("model.layers"),
    "stablelm": Family("model.layers", parallel=("use_parallel_residual",)),
    "cohere": Family("model.layers", parallel=True),
    "cohere2": Family("model.layers", parallel=True),
    "glm": Family("model.layers"),
    "glm4": Family("model.layers", "post_self_attn_layernorm", "post_mlp_layernorm"),
    "deepseek_v3": Family("model.layers"),
    "falcon": Family(
        "transformer.h",
        "self_attention",
        parallel=("parallel_attn", "new_decoder_architecture"),
        masked=True,
        refuses=_ALIBI,
    ),
    "gpt2": Family("transformer.h", "attn"),
    "gpt_neox": Family("gpt_neox.layers", "attention", parallel=("use_parallel_residual",)),
}


def family_of(config: object) -> Family:
    """The family of a transformers config.

    Raises UnknownName for one that has no line here, BadSpec where a flag of the config is set that the family refuses.
    """
    kind = getattr(config, "model_type", type(config).__name__)
    if kind not in FAMILIES:
        raise unknown("model family", str(kind), FAMILIES, "Add one line to demur/models/families.py.")
    family, text = FAMILIES[kind], text_config(config)
    for flag, why in family.refuses:
        if getattr(text, flag, False):
            raise BadSpec(f"a {kind} model with {flag} in its config cannot be run: {why}; take one without it.")
    return family


def points_of(family: Family, config: object) -> tuple[Point, ...]:
    """The points that exist in models of this family with this config."""
    flags = family.parallel
    if flags is True or (flags and any(getattr(text_config(config), flag, False) for flag in flags)):
        return tuple(point for point in POINTS if point != "mid")
    return POINTS


def text_config(config: Any) -> Any:
    """The config of the language model in a model that also sees; of any other, the config itself."""
    inner = getattr(config, "get_text_config", None)
    return config if inner is None else inner()
