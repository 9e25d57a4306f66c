"""Tiny random models written as .gguf files, in llama.cpp's names and layouts; and the folders that they should become.

What llama.cpp's converter does to the weights is written here once more, forwards, apart from demur's way back.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import torch
from gguf import GGMLQuantizationType as Type
from tests.conftest import TEMPLATE, tokenizer

SMALL: dict[str, Any] = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 256,
    "rms_norm_eps": 3e-6,
    "rope_parameters": {"rope_type": "default", "rope_theta": 20000.0},
    "tie_word_embeddings": False,
}
HEAD = {"head_dim": 16}
EXPERTS = {"num_experts_per_tok": 2}
MODELS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "llama": ("llama", "LlamaConfig", HEAD),
    "llama with biases": ("llama", "LlamaConfig", {"attention_bias": True, "mlp_bias": True}),
    "mixtral": ("llama", "MixtralConfig", {**EXPERTS, "num_local_experts": 4, **HEAD}),
    "qwen2": ("qwen2", "Qwen2Config", {}),
    "qwen2 tied": ("qwen2", "Qwen2Config", {"tie_word_embeddings": True}),
    "qwen3": ("qwen3", "Qwen3Config", HEAD),
    "qwen3_moe": ("qwen3moe", "Qwen3MoeConfig", {**EXPERTS, **HEAD, "num_experts": 4, "moe_intermediate_size": 32,
                                                 "norm_topk_prob": True}),
    "gemma": ("gemma", "GemmaConfig", {**HEAD, "tie_word_embeddings": True}),
    "gemma2": ("gemma2", "Gemma2Config", {**HEAD, "tie_word_embeddings": True, "sliding_window": 8,
                                          "query_pre_attn_scalar": 16, "attn_logit_softcapping": 20.0,
                                          "final_logit_softcapping": 10.0}),
    "gemma3": ("gemma3", "Gemma3TextConfig", {
        **HEAD, "tie_word_embeddings": True, "sliding_window": 8, "query_pre_attn_scalar": 16, "num_hidden_layers": 7,
        "rope_parameters": {"sliding_attention": {"rope_type": "default", "rope_theta": 10000.0},
                            "full_attention": {"rope_type": "linear", "factor": 8.0, "rope_theta": 30000.0}}}),
    "phi3": ("phi3", "Phi3Config", {"sliding_window": 8}),
    "phi3 long": ("phi3", "Phi3Config", {"original_max_position_embeddings": 64, "rope_parameters": {
        "rope_type": "longrope", "rope_theta": 20000.0, "factor": 4.0, "original_max_position_embeddings": 64,
        "long_factor": [1.5, 2.0, 3.0, 4.0], "short_factor": [1.0, 1.1, 1.2, 1.3]}}),
    "olmo2": ("olmo2", "Olmo2Config", {}),
    "granite": ("granite", "GraniteConfig", {"attention_multiplier": 0.2, "embedding_multiplier": 3.0,
                                             "residual_multiplier": 0.5, "logits_scaling": 2.0}),
    "smollm3": ("smollm3", "SmolLM3Config", {"no_rope_layer_interval": 4}),
    "gpt2": ("gpt2", "GPT2Config", {"tie_word_embeddings": True}),
    "gptneox": ("gptneox", "GPTNeoXConfig", {"rope_parameters": {"rope_type": "default", "rope_theta": 20000.0,
                                                                 "partial_rotary_factor": 0.5}}),
    "gptneox serial": ("gptneox", "GPTNeoXConfig", {"use_parallel_residual": False}),
    "llama 3.1": ("llama", "LlamaConfig", {"max_position_embeddings": 32768, "rope_parameters": {
        "rope_type": "llama3", "rope_theta": 500000.0, "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
        "original_max_position_embeddings": 8192}}),
    "qwen2 yarn": ("qwen2", "Qwen2Config", {"rope_parameters": {
        "rope_type": "yarn", "rope_theta": 20000.0, "factor": 4.0, "original_max_position_embeddings": 64}}),
}  # fmt: skip
"""Name -> llama.cpp's architecture, transformers' config class and what is special."""


def model(name: str, **changes: Any) -> Any:
    """A tiny random model of transformers', float32."""
    import transformers

    _, kind, extra = MODELS[name]
    words = tokenizer()
    ids = {"pad_token_id": 0, "bos_token_id": None, "eos_token_id": words.eos_token_id}
    config = getattr(transformers, kind)(
        **copy.deepcopy({**SMALL, **extra, "vocab_size": len(words), **ids, **changes})
    )
    torch.manual_seed(0)
    made = transformers.AutoModelForCausalLM.from_config(config)
    random = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for _, value in sorted(made.named_parameters()):
            noise = torch.randn(value.shape, generator=random)
            value.copy_(1.5 * noise / value.shape[-1] ** 0.5 if value.ndim > 1 else 0.1 * noise + value)
    return made.eval()


def write(path: Path, name: str, made: Any, store: Type | Callable[[str], Type] = Type.F32, **fields: Any) -> Path:
    """The model as a .gguf file. store: the type of the matrices, or (name) -> type. fields: instead of the usual."""
    architecture = MODELS[name][0]
    writer = gguf.GGUFWriter(path, architecture)
    for key, value in {**_fields(architecture, made.config), **_words(), **fields}.items():
        if value is not None:
            key = key if key.partition(".")[0] in ("tokenizer", "general") else f"{architecture}.{key}"
            _add(writer, key, value)
    for key, value in tensors(name, made).items():
        kind = Type.F32 if value.ndim == 1 else store if isinstance(store, Type) else store(key)
        packed = pack(value, kind)
        writer.add_tensor(key, packed, raw_dtype=None if packed.dtype.kind == "f" else kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def pack(value: np.ndarray, kind: Type) -> np.ndarray:
    """A float32 array in a type; random blocks with small scales for those that can only be unpacked."""
    if kind == Type.F32:
        return value
    if kind == Type.F16:
        return value.astype(np.float16)
    try:
        return gguf.quantize(value, kind)
    except NotImplementedError:
        block, size = gguf.GGML_QUANT_SIZES[kind]
        random = np.random.default_rng(int(kind))
        packed = random.integers(0, 256, (*value.shape[:-1], value.shape[-1] // block, size), np.uint8)
        scales = {"Q2_K": (80, 82), "Q3_K": (108,), "Q4_K": (0, 2), "Q5_K": (0, 2), "Q6_K": (208,)}[kind.name]
        for at in scales:
            scale = random.uniform(0.5e-4, 1.5e-4, packed.shape[:-1]).astype(np.float16)
            packed[..., at : at + 2] = scale[..., None].view(np.uint8)
        return packed.reshape(*value.shape[:-1], -1)


def tensors(name: str, made: Any) -> dict[str, np.ndarray]:
    """The weights under llama.cpp's names, as its converter lays them out."""
    architecture, config = MODELS[name][0], made.config
    kind = next(key for key, said in gguf.MODEL_ARCH_NAMES.items() if said == architecture)
    names = gguf.get_tensor_name_map(kind, config.num_hidden_layers)
    found: dict[str, np.ndarray] = {}
    for key, parameter in made.named_parameters():
        value = parameter.detach().numpy()
        if key.endswith("gate_up_proj") and value.ndim == 3:
            block = f"blk.{key.split('.')[2]}"
            gate, up = np.split(value, 2, axis=1)
            found |= {f"{block}.ffn_gate_exps.weight": gate, f"{block}.ffn_up_exps.weight": up}
            continue
        short = names.get_name(key.replace("experts.down_proj", "experts.down_proj.weight"), (".weight", ".bias"))
        assert short is not None, key
        part = short.split(".")[-2]
        heads = {"attn_q": config.num_attention_heads,
                 "attn_k": getattr(config, "num_key_value_heads", 0)}.get(part)  # fmt: skip
        if architecture in ("llama", "granite", "smollm3") and heads:
            value = value.reshape(heads, 2, -1, *value.shape[1:]).swapaxes(1, 2).reshape(value.shape)
        if architecture.startswith("gemma") and short.endswith("norm.weight"):
            value = value + 1
        if architecture == "gpt2" and value.ndim == 2 and part in ("attn_qkv", "attn_output", "ffn_up", "ffn_down"):
            value = value.T
        if architecture == "gptneox" and part == "attn_qkv":
            value = value.reshape(config.num_attention_heads, 3, -1, *value.shape[1:]).swapaxes(0, 1)
            value = value.reshape(-1, *value.shape[3:])
        found[short] = np.ascontiguousarray(value)
    rope = config.rope_parameters if architecture != "gpt2" else {}
    if rope.get("rope_type") == "llama3":
        found["rope_freqs.weight"] = _llama3(rope, config.hidden_size // config.num_attention_heads)
    if rope.get("rope_type") == "longrope":
        found |= {f"rope_factors_{length}.weight": np.array(rope[f"{length}_factor"], np.float32)
                  for length in ("long", "short")}  # fmt: skip
    return found


def _llama3(rope: dict[str, Any], head: int) -> np.ndarray:
    """Each frequency's divisor, by the three cases of Llama 3.1's rule."""
    long, short = (rope["original_max_position_embeddings"] / rope[f"{end}_freq_factor"] for end in ("low", "high"))
    factors = []
    for i in range(0, head, 2):
        length = 2 * np.pi * rope["rope_theta"] ** (i / head)
        if length < short:
            factors.append(1.0)
        elif length > long:
            factors.append(rope["factor"])
        else:
            share = rope["original_max_position_embeddings"] / length
            smooth = (share - rope["low_freq_factor"]) / (rope["high_freq_factor"] - rope["low_freq_factor"])
            factors.append(1 / ((1 - smooth) / rope["factor"] + smooth))
    return np.array(factors, np.float32)


def _fields(architecture: str, config: Any) -> dict[str, Any]:
    head = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    rope = getattr(config, "rope_parameters", None) or {}
    rope = rope.get("full_attention", rope)
    scaled = {"linear": "linear", "yarn": "yarn"}.get(rope.get("rope_type", ""))
    share = rope.get("partial_rotary_factor", 1.0)
    capped = architecture in ("gemma2",)
    return {
        "block_count": config.num_hidden_layers,
        "context_length": config.max_position_embeddings,
        "embedding_length": config.hidden_size,
        "feed_forward_length": 4 * config.hidden_size if architecture == "gpt2" else config.intermediate_size,
        "attention.head_count": config.num_attention_heads,
        "attention.head_count_kv": getattr(config, "num_key_value_heads", None),
        "attention.key_length": head if head != config.hidden_size // config.num_attention_heads else None,
        "attention.layer_norm_rms_epsilon": getattr(config, "rms_norm_eps", None),
        "attention.layer_norm_epsilon": getattr(config, "layer_norm_eps", getattr(config, "layer_norm_epsilon", None)),
        "attention.sliding_window": getattr(config, "sliding_window", None),
        "rope.freq_base": rope.get("rope_theta"),
        "rope.dimension_count": int(head * share),
        "rope.scaling.type": scaled,
        "rope.scaling.factor": rope["factor"] if scaled else None,
        "rope.scaling.original_context_length": rope.get(
            "original_max_position_embeddings", getattr(config, "original_max_position_embeddings", None)
        ),
        "expert_count": getattr(config, "num_local_experts", None),
        "expert_used_count": getattr(config, "num_experts_per_tok", None),
        "expert_feed_forward_length": getattr(config, "moe_intermediate_size", None),
        "use_parallel_residual": getattr(config, "use_parallel_residual", None),
        "attn_logit_softcapping": config.attn_logit_softcapping if capped else None,
        "final_logit_softcapping": config.final_logit_softcapping if capped else None,
        "attention.scale": getattr(config, "attention_multiplier", None),
        "embedding_scale": getattr(config, "embedding_multiplier", None),
        "residual_scale": getattr(config, "residual_multiplier", None),
        "logit_scale": getattr(config, "logits_scaling", None),
    }


def _words() -> dict[str, Any]:
    """The tiny tokenizer, byte-level, as GPT-2's."""
    words = tokenizer()
    stated = json.loads(words.backend_tokenizer.to_str())
    special = {token["content"] for token in stated["added_tokens"]}
    vocab = sorted(words.get_vocab(), key=words.get_vocab().__getitem__)
    return {
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.pre": "gpt-2",
        "tokenizer.ggml.tokens": vocab,
        "tokenizer.ggml.token_type": [3 if token in special else 1 for token in vocab],
        "tokenizer.ggml.merges": [" ".join(pair) for pair in stated["model"]["merges"]],
        "tokenizer.ggml.eos_token_id": words.eos_token_id,
        "tokenizer.ggml.padding_token_id": 0,
        "tokenizer.ggml.add_bos_token": False,
        "tokenizer.chat_template": TEMPLATE,
    }


def _add(writer: gguf.GGUFWriter, key: str, value: Any) -> None:
    if isinstance(value, bool):
        writer.add_bool(key, value)
    elif isinstance(value, int):
        writer.add_uint32(key, value)
    elif isinstance(value, float):
        writer.add_float32(key, value)
    elif isinstance(value, str):
        writer.add_string(key, value)
    else:
        writer.add_array(key, value)
