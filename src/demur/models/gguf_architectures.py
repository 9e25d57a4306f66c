"""What llama.cpp's architectures are in transformers: a config out of a GGUF file's fields, and its changes undone.

One entry of `ARCHITECTURES` an architecture. Tensors are named by the gguf package's own map; an entry says only what
the file does not hold as transformers does.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from demur.directions.gguf_file import GGUFFile
from demur.errors import BadFile, unknown

Config = dict[str, Any]
LONGROPE = ("rope_factors_long.weight", "rope_factors_short.weight")
"""The tensors of Phi-3's scaling: a factor for each frequency."""


@dataclass(frozen=True)
class Architecture:
    """How one of llama.cpp's architectures becomes a model folder."""

    entries: Callable[[Stated], Config]
    """config.json's entries."""
    undo: Callable[[str, Tensor, Config], Tensor] = lambda name, value, config: value
    """(llama.cpp's name, its tensor, config) -> the tensor as transformers has it."""

    def config(self, file: GGUFFile) -> Config:
        """config.json's entries for a file. BadFile where its fields are lacking, or are not what they are called."""
        try:
            return self.entries(Stated(file))
        except (TypeError, ValueError, ArithmeticError, LookupError, RuntimeError) as error:
            raise BadFile(f"{file.path}: its fields make no {self.entries.__name__[1:]} model: {error}.") from error


@dataclass(frozen=True)
class Stated:
    """The fields of one architecture in a file."""

    file: GGUFFile

    @property
    def architecture(self) -> str:
        """llama.cpp's name of it."""
        return self.file.fields["general.architecture"]

    def __call__(self, key: str, default: Any = None) -> Any:
        """`ARCHITECTURE.key`, else the default. BadFile when neither is there."""
        value = self.file.fields.get(f"{self.architecture}.{key}", default)
        if value is None:
            raise BadFile(f"{self.file.path} does not state {self.architecture}.{key}; convert it again.")
        return value

    def has(self, *names: str) -> bool:
        """Whether the file has one of these tensors in its first block."""
        return any(f"blk.0.{name}" in self.file.tensors for name in names)

    def rope(self, theta: float = 10000.0) -> Config:
        """`rope_parameters`: its base and its scaling, in transformers' words. BadFile for a scaling not known here."""
        base = {"rope_theta": float(self("rope.freq_base", theta))}
        kind = self("rope.scaling.type", "none")
        if "rope_freqs.weight" in self.file.tensors:
            return {**base, **_llama3(self, base["rope_theta"])}
        if any(name in self.file.tensors for name in LONGROPE):
            return {**base, **_longrope(self)}
        if kind == "linear":
            return {**base, "rope_type": "linear", "factor": self("rope.scaling.factor")}
        if kind == "yarn":
            length = self("rope.scaling.original_context_length")
            return {**base, "rope_type": "yarn", "factor": self("rope.scaling.factor"),
                    "original_max_position_embeddings": length}  # fmt: skip
        if kind != "none":
            raise BadFile(
                f"{self.file.path} has rope scaling {kind!r}; known: none, linear, yarn, and longrope with "
                f"{' and '.join(LONGROPE)}."
            )
        return {**base, "rope_type": "default"}


def architecture_of(file: GGUFFile) -> Architecture:
    """The entry of a file's architecture; UnknownName for one without."""
    name = str(file.fields.get("general.architecture"))
    if name not in ARCHITECTURES:
        raise unknown("GGUF architecture", name, ARCHITECTURES, f"{file.path} cannot be converted.")
    return ARCHITECTURES[name]


def _decoder(stated: Stated, model_type: str, kind: str, **more: Any) -> Config:
    """What most families share. more: entries that come after, or replace."""
    heads, width = stated("attention.head_count"), stated("embedding_length")
    if not isinstance(heads, int):
        raise BadFile(f"{stated.file.path}: its layers have different numbers of heads, which is not read.")
    ids = {f"{name}_token_id": stated.file.fields.get(f"tokenizer.ggml.{key}_token_id")
           for name, key in (("bos", "bos"), ("eos", "eos"), ("pad", "padding"))}  # fmt: skip
    return {
        "architectures": [kind],
        "model_type": model_type,
        "vocab_size": stated.file.tensors["token_embd.weight"].shape[0],
        "hidden_size": width,
        "intermediate_size": stated("feed_forward_length"),
        "num_hidden_layers": stated("block_count"),
        "num_attention_heads": heads,
        "num_key_value_heads": stated("attention.head_count_kv", heads),
        "head_dim": stated("attention.key_length", width // heads),
        "hidden_act": "silu",
        "max_position_embeddings": stated("context_length"),
        "rms_norm_eps": more.get("layer_norm_eps") or stated("attention.layer_norm_rms_epsilon"),
        "rope_parameters": stated.rope(),
        "tie_word_embeddings": "output.weight" not in stated.file.tensors,
        "attention_bias": stated.has("attn_q.bias"),
        "mlp_bias": stated.has("ffn_up.bias"),
        **more,
        **ids,
    }


def _llama(stated: Stated) -> Config:
    experts = stated("expert_count", 0)
    if not experts:
        return _decoder(stated, "llama", "LlamaForCausalLM")
    used = stated("expert_used_count")
    return _decoder(stated, "mixtral", "MixtralForCausalLM", num_local_experts=experts, num_experts_per_tok=used)


def _qwen2(stated: Stated) -> Config:
    return _decoder(stated, "qwen2", "Qwen2ForCausalLM")


def _qwen3(stated: Stated) -> Config:
    return _decoder(stated, "qwen3", "Qwen3ForCausalLM")


def _qwen3moe(stated: Stated) -> Config:
    return _decoder(stated, "qwen3_moe", "Qwen3MoeForCausalLM", num_experts=stated("expert_count"),
                    num_experts_per_tok=stated("expert_used_count"), norm_topk_prob=True,
                    moe_intermediate_size=stated("expert_feed_forward_length"), decoder_sparse_step=1,
                    intermediate_size=stated("feed_forward_length", 0) or stated("expert_feed_forward_length"),
                    mlp_only_layers=[])  # fmt: skip


def _gemma(stated: Stated) -> Config:
    return _decoder(stated, "gemma", "GemmaForCausalLM", hidden_act="gelu_pytorch_tanh")


def _gemma2(stated: Stated) -> Config:
    return _decoder(stated, "gemma2", "Gemma2ForCausalLM", **_sandwich(stated, 46),
                    sliding_window=stated("attention.sliding_window", 4096),
                    attn_logit_softcapping=stated("attn_logit_softcapping", 50.0),
                    final_logit_softcapping=stated("final_logit_softcapping", 30.0))  # fmt: skip


def _gemma3(stated: Stated) -> Config:
    # llama.cpp's own: every 6th layer sees all, the others a window, with a rope base of 10,000 and no scaling.
    layers = [("full" if layer % 6 == 5 else "sliding") + "_attention" for layer in range(stated("block_count"))]
    rope = {"sliding_attention": {"rope_theta": float(stated("rope.freq_base_swa", 10000.0)), "rope_type": "default"},
            "full_attention": stated.rope(1e6)}  # fmt: skip
    return _decoder(stated, "gemma3_text", "Gemma3ForCausalLM", **_sandwich(stated, 62), layer_types=layers,
                    sliding_window=stated("attention.sliding_window"), rope_parameters=rope,
                    final_logit_softcapping=stated("final_logit_softcapping", 0.0) or None)  # fmt: skip


def _sandwich(stated: Stated, large: int) -> Config:
    """Activation and attention scale of Gemma 2 and 3. large: the depth of the 27B, which alone scales by the width."""
    heads = stated("attention.head_count")
    scale = stated("embedding_length") // heads if stated("block_count") == large else stated("attention.key_length")
    return {"hidden_activation": "gelu_pytorch_tanh", "query_pre_attn_scalar": scale}


def _phi3(stated: Stated) -> Config:
    rope = {**stated.rope(), **_partial(stated)}
    length = stated("rope.scaling.original_context_length", stated("context_length"))
    window = stated("attention.sliding_window", 0) or None
    return _decoder(stated, "phi3", "Phi3ForCausalLM", rope_parameters=rope, sliding_window=window,
                    original_max_position_embeddings=length)  # fmt: skip


def _olmo2(stated: Stated) -> Config:
    if stated("attention.sliding_window", 0):
        raise BadFile(f"{stated.file.path} is an OLMo 3 (olmo2 with a sliding window), which is not known.")
    return _decoder(stated, "olmo2", "Olmo2ForCausalLM")


def _granite(stated: Stated) -> Config:
    if stated("expert_count", 0):
        raise BadFile(f"{stated.file.path} is a Granite with experts, which is not known.")
    return _decoder(stated, "granite", "GraniteForCausalLM", attention_multiplier=stated("attention.scale"),
                    embedding_multiplier=stated("embedding_scale"), residual_multiplier=stated("residual_scale"),
                    logits_scaling=stated("logit_scale"))  # fmt: skip


def _smollm3(stated: Stated) -> Config:
    # llama.cpp's own: every 4th layer has no rope.
    rope = [int(layer % 4 != 3) for layer in range(stated("block_count"))]
    return _decoder(stated, "smollm3", "SmolLM3ForCausalLM", no_rope_layers=rope, no_rope_layer_interval=4)


def _gpt2(stated: Stated) -> Config:
    shared = _decoder(stated, "gpt2", "GPT2LMHeadModel", layer_norm_eps=stated("attention.layer_norm_epsilon"))
    return {key: shared[key] for key in ("architectures", "model_type", "vocab_size", "tie_word_embeddings")} | {
        "n_embd": shared["hidden_size"],
        "n_inner": shared["intermediate_size"],
        "n_layer": shared["num_hidden_layers"],
        "n_head": shared["num_attention_heads"],
        "n_positions": shared["max_position_embeddings"],
        "layer_norm_epsilon": shared["layer_norm_eps"],
        **{key: shared[key] for key in ("bos_token_id", "eos_token_id", "pad_token_id")},
    }


def _gptneox(stated: Stated) -> Config:
    rope = {**stated.rope(), **_partial(stated)}
    return _decoder(stated, "gpt_neox", "GPTNeoXForCausalLM", hidden_act="gelu", rope_parameters=rope,
                    layer_norm_eps=stated("attention.layer_norm_epsilon"), attention_bias=stated.has("attn_qkv.bias"),
                    use_parallel_residual=stated("use_parallel_residual", True))  # fmt: skip


def _partial(stated: Stated) -> Config:
    """The share of a head that turns, where it is not all of it."""
    head = stated("embedding_length") // stated("attention.head_count")
    turns = stated("rope.dimension_count", head)
    return {"partial_rotary_factor": turns / head} if turns != head else {}


def _llama3(stated: Stated, theta: float) -> Config:
    """The scaling that `rope_freqs.weight` holds, frequency by frequency: Llama 3.1's rule, or BadFile."""
    factors = stated.file.floats("rope_freqs.weight").flatten()
    rule = {"rope_type": "llama3", "factor": float(factors.max()), "low_freq_factor": 1.0, "high_freq_factor": 4.0,
            "original_max_position_embeddings": 8192}  # fmt: skip
    lengths = 2 * math.pi * theta ** (torch.arange(len(factors)) / len(factors))
    smooth = ((rule["original_max_position_embeddings"] / lengths - 1) / 3).clamp(0, 1)
    if not torch.allclose(1 / ((1 - smooth) / rule["factor"] + smooth), factors, rtol=1e-3):
        raise BadFile(f"{stated.file.path}: its rope_freqs.weight is not Llama 3.1's scaling, and no other is known.")
    return rule


def _longrope(stated: Stated) -> Config:
    """The scaling by two factors a frequency: one for texts beyond the length it was first trained at, one below."""
    length = stated("rope.scaling.original_context_length", stated("context_length"))
    long, short = ([float(str(factor)) for factor in stated.file.floats(name).numpy()] for name in LONGROPE)
    scale = stated("rope.scaling.attn_factor", 0.0)
    return {"rope_type": "longrope", "long_factor": long, "short_factor": short,
            "original_max_position_embeddings": length, "factor": stated("context_length") / length,
            **({"attention_factor": scale} if scale > 0 else {})}  # fmt: skip


def _unpermuted(name: str, value: Tensor, config: Config) -> Tensor:
    """Rows of queries and keys back from llama.cpp's order (pairs side by side) to halves of a head."""
    heads = {"attn_q": "num_attention_heads", "attn_k": "num_key_value_heads"}.get(name.split(".")[-2])
    if heads is None:
        return value
    return value.view(config[heads], -1, 2, *value.shape[1:]).transpose(1, 2).reshape(value.shape)


def _offset(name: str, value: Tensor, config: Config) -> Tensor:
    """Norms are stored as 1 + w."""
    return value.float() - 1 if name.endswith("norm.weight") else value


def _transposed(name: str, value: Tensor, config: Config) -> Tensor:
    """GPT-2's linear maps are stored [in, out] by transformers."""
    turned = name.endswith(".weight") and name.split(".")[-2] in ("attn_qkv", "attn_output", "ffn_up", "ffn_down")
    return value.transpose(0, 1) if turned else value


def _by_head(name: str, value: Tensor, config: Config) -> Tensor:
    """Queries, keys and values back from three blocks to each head's own."""
    if "attn_qkv" not in name:
        return value
    blocks = value.view(3, config["num_attention_heads"], -1, *value.shape[1:])
    return blocks.transpose(0, 1).reshape(value.shape)


ARCHITECTURES: Mapping[str, Architecture] = {
    "llama": Architecture(_llama, _unpermuted),
    "qwen2": Architecture(_qwen2),
    "qwen3": Architecture(_qwen3),
    "qwen3moe": Architecture(_qwen3moe),
    "gemma": Architecture(_gemma, _offset),
    "gemma2": Architecture(_gemma2, _offset),
    "gemma3": Architecture(_gemma3, _offset),
    "phi3": Architecture(_phi3),
    "olmo2": Architecture(_olmo2),
    "granite": Architecture(_granite, _unpermuted),
    "smollm3": Architecture(_smollm3, _unpermuted),
    "gpt2": Architecture(_gpt2, _transposed),
    "gptneox": Architecture(_gptneox, _by_head),
}
"""Mistral and Mixtral are llama to llama.cpp."""
