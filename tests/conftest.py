"""Tiny random models of every family, and a tiny tokenizer with a chat template. No network, no files."""

import copy
from dataclasses import dataclass
from functools import cache
from typing import Any

import pytest
import tests.checked  # noqa: F401  `make check` names it to jaxtyping, which looks it up before it is asked
import torch

from demur.engines.hf import HFEngine
from demur.models.load import LoadedModel
from demur.saes.sae import NEEDS, SAE
from demur.types import Conversation, Decoding, Message, Prompt, Site

torch.set_num_threads(1)
"""Tiny products gain nothing from threads, and lose much when the machine is busy."""


@pytest.fixture(scope="module", autouse=True)
def _cache_of_the_module(tmp_path_factory):
    """No test reads or writes the user's cache, nor another module's."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DEMUR_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(autouse=True)
def _cache_of_the_test(_cache_of_the_module, tmp_path_factory, monkeypatch):
    """Nor another test's; a module's own fixtures share one."""
    monkeypatch.setenv("DEMUR_CACHE", str(tmp_path_factory.mktemp("cache")))


TEMPLATE = (
    "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\n' + m['content'] + '<|im_end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
CORPUS = [
    "You are a helpful assistant. How do I bake bread with yeast, flour and warm water?",
    "I'm sorry, but I can't help with that. Here is how to pick a lock: first, take a thin wire.",
    "user assistant system what is the capital of France? Write a short poem about the sea and the wind.",
]
WINDOW = 8
SMALL = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "max_position_embeddings": 256,
    "tie_word_embeddings": False,
}
YARN = {"rope_type": "yarn", "rope_theta": 1e4, "factor": 4.0, "original_max_position_embeddings": 64}
MIXED = ["sliding_attention", "full_attention", "sliding_attention"]
EXPERTS = {"num_experts": 4, "num_experts_per_tok": 2}
FALCON = {"alibi": False, "head_dim": ...}
GEMMA3 = {"sliding_window": WINDOW, "query_pre_attn_scalar": 8, "layer_types": MIXED}
EXTRA: dict[str, tuple[str, dict[str, Any]]] = {
    "llama": ("LlamaConfig", {}),
    "mistral": ("MistralConfig", {"sliding_window": WINDOW}),
    "qwen2": ("Qwen2Config", {"use_sliding_window": True, "sliding_window": WINDOW, "max_window_layers": 1}),
    "qwen3": ("Qwen3Config", {}),
    "gemma": ("GemmaConfig", {}),
    "gemma2": (
        "Gemma2Config",
        {
            "sliding_window": WINDOW,
            "query_pre_attn_scalar": 8,
            "attn_logit_softcapping": 5.0,
            "final_logit_softcapping": 10.0,
        },
    ),
    "gemma3_text": ("Gemma3TextConfig", GEMMA3),
    "phi3": ("Phi3Config", {"sliding_window": WINDOW}),
    "gpt2": ("GPT2Config", {}),
    "gpt_neox": ("GPTNeoXConfig", {"use_parallel_residual": True, "rotary_pct": 0.5}),
    "gpt_neox_serial": ("GPTNeoXConfig", {"use_parallel_residual": False}),
    "mixtral": ("MixtralConfig", {"sliding_window": WINDOW, "num_local_experts": 4}),
    "qwen2_moe": (
        "Qwen2MoeConfig",
        {**EXPERTS, "moe_intermediate_size": 24, "shared_expert_intermediate_size": 40, "decoder_sparse_step": 2},
    ),
    "qwen3_moe": ("Qwen3MoeConfig", {**EXPERTS, "moe_intermediate_size": 24, "norm_topk_prob": True}),
    "gemma3": ("Gemma3Config", {"text_config": GEMMA3, "vision_config": SMALL | {"image_size": 28}}),
    "phi": ("PhiConfig", {"partial_rotary_factor": 0.5}),
    "olmo": ("OlmoConfig", {"clip_qkv": 1.0}),
    "olmo2": ("Olmo2Config", {}),
    "olmo3": ("Olmo3Config", {"sliding_window": WINDOW, "layer_types": MIXED}),
    "granite": (
        "GraniteConfig",
        {
            "residual_multiplier": 0.4,
            "embedding_multiplier": 3.0,
            "attention_multiplier": 0.2,
            "logits_scaling": 5.0,
        },
    ),
    "gpt_oss": (
        "GptOssConfig",
        {
            **{"sliding_window": WINDOW, "layer_types": MIXED, "num_local_experts": 4, "num_experts_per_tok": 2},
            "rope_parameters": {**YARN, "truncate": False},
        },
    ),
    "llama4_text": (
        "Llama4TextConfig",
        {
            "intermediate_size_mlp": 40,
            "num_local_experts": 4,
            "interleave_moe_layer_step": 2,
            "attention_chunk_size": WINDOW,
            "no_rope_layers": [1, 0, 1],
            "attn_temperature_tuning": True,
            "floor_scale": 8192,
        },
    ),
    "smollm3": ("SmolLM3Config", {"no_rope_layers": [1, 0, 1]}),
    "stablelm": ("StableLmConfig", {"use_parallel_residual": True, "partial_rotary_factor": 0.5}),
    "stablelm_serial": ("StableLmConfig", {"use_parallel_residual": False, "qk_layernorm": True}),
    "cohere": ("CohereConfig", {"logit_scale": 0.25, "use_qk_norm": True}),
    "cohere2": ("Cohere2Config", {"logit_scale": 0.25, "sliding_window": WINDOW, "layer_types": MIXED}),
    "glm": ("GlmConfig", {}),
    "glm4": ("Glm4Config", {}),
    "deepseek_v3": (
        "DeepseekV3Config",
        {
            **EXPERTS,
            **{"moe_intermediate_size": 24, "n_routed_experts": 4, "n_group": 2, "topk_group": 1},
            **{"first_k_dense_replace": 1, "num_key_value_heads": 4, "kv_lora_rank": 12, "q_lora_rank": 16},
            **{"qk_rope_head_dim": 4, "qk_nope_head_dim": 8, "v_head_dim": 6, "head_dim": 4},
        },
    ),
    "falcon": ("FalconConfig", {**FALCON, "parallel_attn": True, "multi_query": True}),
    "falcon_new": ("FalconConfig", {**FALCON, "new_decoder_architecture": True, "num_kv_heads": 2}),
    "falcon_serial": ("FalconConfig", {**FALCON, "parallel_attn": False, "multi_query": False}),
}
"""Name -> config class and what is special (`...`: a setting that it has not). A new line in demur/models/families.py
needs one here."""


def pytest_collection_modifyitems(config, items):
    """Where types and shapes are checked while tests run, `unchecked` ones run apart (`make check`)."""
    if config.getoption("jaxtyping_packages", None):
        for item in items:
            if item.get_closest_marker("unchecked"):
                item.add_marker(pytest.mark.skip(reason="runs without checks of types and shapes"))


@dataclass(frozen=True)
class Tiny:
    """A tiny model as demur loads it, and a copy that transformers runs with its own eager attention."""

    loaded: LoadedModel
    plain: Any

    @property
    def engine(self) -> HFEngine:
        return HFEngine(self.loaded, slots=32)


@cache
def tokenizer():
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=320,
        special_tokens=["<|pad|>", "<|im_start|>", "<|im_end|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    backend.train_from_iterator(CORPUS * 3, trainer)
    fast = PreTrainedTokenizerFast(tokenizer_object=backend, pad_token="<|pad|>", eos_token="<|im_end|>")
    fast.chat_template = TEMPLATE
    return fast


def _scramble(model: Any, seed: int) -> None:
    """Weights large enough that attention matters and that the best token wins by a clear margin."""
    random = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, value in sorted(model.named_parameters()):
            noise = torch.randn(value.shape, generator=random)
            if value.ndim == 2:
                value.copy_(noise if "embed" in name or "wte" in name else 1.5 * noise / value.shape[-1] ** 0.5)
            elif value.ndim == 3:  # experts
                value.copy_(1.5 * noise / value.shape[-2] ** 0.5)
            else:
                value.add_(0.1 * noise)


def build(family: str, seed: int = 0, **changes: Any) -> Tiny:
    """A new tiny model; `changes` go to its config."""
    import transformers

    from demur.models.wrap import from_parts

    kind, extra = EXTRA[family]
    words = tokenizer()
    settings = {**SMALL, **extra, "vocab_size": len(words), "pad_token_id": 0, "bos_token_id": None, **changes}
    settings["eos_token_id"] = words.eos_token_id
    settings = {name: value for name, value in settings.items() if value is not ...}
    if "text_config" in settings:
        outer = {name: settings.pop(name) for name in ("text_config", "vision_config")}
        settings = {**outer, "text_config": settings | outer["text_config"], "tie_word_embeddings": False}
    config = getattr(transformers, kind)(**settings)
    model = transformers.AutoModelForCausalLM.from_config(config, attn_implementation="eager")
    _scramble(model, seed)
    # Many end tokens, so that rows finish at different steps and waiting rows join.
    model.generation_config.eos_token_id = [words.eos_token_id, *range(6, len(words), 11)]
    model.generation_config.pad_token_id = 0
    model.eval().requires_grad_(False)
    plain = copy.deepcopy(model)
    return Tiny(from_parts(model, words, f"tiny-{family}"), plain)


_built = cache(build)


@pytest.fixture(scope="session")
def tiny():
    """tiny(family) -> Tiny, built once. A test that changes the weights takes `build` instead."""
    return _built


@pytest.fixture(scope="session", name="build")
def _build():
    """build(family, seed, **config) -> a Tiny of the test's own."""
    return build


@pytest.fixture(scope="session", params=[*EXTRA])
def model_family(request) -> str:
    """Every family that demur knows, one after the other."""
    return request.param


@pytest.fixture(scope="session")
def talk():
    """talk("text", system=..., prefill=..., id=...) -> Conversation."""

    def make(text: str, system: str = "", prefill: str = "", id: str = "", kind: Any = "unknown") -> Conversation:
        messages = (Message("system", system),) if system else ()
        prompt = Prompt(id or f"p-{text[:12]}", text, "tests", kind)
        return Conversation(prompt, (*messages, Message("user", text)), prefill)

    return make


LOW = Site(1)


def random_sae(kind: Any = "relu", site: Site = LOW, d_in: int = 8, d_sae: int = 24, seed: int = 0, **fields: Any):
    """A random SAE of which about half the latents fire (topk: 5) and decoder rows have norm 1."""
    random = torch.Generator().manual_seed(seed)
    shapes = {"W_enc": (d_in, d_sae), "W_dec": (d_sae, d_in), "b_dec": (d_in,)}
    weights = {name: torch.randn(shapes.get(name, (d_sae,)), generator=random) for name in NEEDS[kind]}
    weights |= {name: part / d_in**0.5 for name, part in weights.items() if name in ("W_enc", "W_dec")}
    if "threshold" in weights:
        weights["threshold"] = 0.3 * weights["threshold"].abs()
    known = {"k": 5 if kind == "topk" else 0, "apply_b_dec_to_input": True, "weights": weights, "site": site}
    return SAE(kind, **{**known, **fields})


@pytest.fixture(scope="session", name="random_sae")
def _random_sae():
    """random_sae(kind, site, d_in, d_sae, seed, **fields) -> SAE."""
    return random_sae


@pytest.fixture(scope="session")
def decoding() -> Decoding:
    return Decoding(max_new_tokens=24)


@pytest.fixture(scope="session")
def judge(decoding):
    """A judge with an engine of its own, so that an evaluator's engine counts the evaluator's calls only."""
    from tests.planted import Planted

    from demur.evaluation.judging import calibrated_judge

    return calibrated_judge(Planted(), decoding)
