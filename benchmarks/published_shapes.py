"""Shapes of well-known models, as their published config.json gives them: what their sizes depend on, no weights."""

from typing import Any

_LLAMA: dict[str, Any] = {"hidden_act": "silu", "tie_word_embeddings": False}

# name: (model type of transformers, options of its config)
SHAPES: dict[str, tuple[str, dict[str, Any]]] = {
    "bert-base-uncased": ("bert", {"vocab_size": 30522}),
    "roberta-base": ("roberta", {"vocab_size": 50265, "max_position_embeddings": 514, "type_vocab_size": 1}),
    "deberta-v3-base": (
        "deberta-v2",
        {
            **{"hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12, "intermediate_size": 3072, "vocab_size": 128100},
            **{"relative_attention": True, "pos_att_type": ["p2c", "c2p"], "share_att_key": True, "position_buckets": 256},
            **{"norm_rel_ebd": "layer_norm", "type_vocab_size": 0, "position_biased_input": False, "max_relative_positions": -1},
        },
    ),
    "distilbert-base-uncased": ("distilbert", {"vocab_size": 30522}),
    "ModernBERT-base": ("modernbert", {"vocab_size": 50368, "hidden_size": 768, "num_hidden_layers": 22, "intermediate_size": 1152}),
    "gpt2": ("gpt2", {"vocab_size": 50257}),
    "opt-1.3b": (
        "opt",
        {
            **{"hidden_size": 2048, "word_embed_proj_dim": 2048, "num_hidden_layers": 24, "num_attention_heads": 32},
            **{"ffn_dim": 8192, "vocab_size": 50272, "max_position_embeddings": 2048},
        },
    ),
    "Llama-2-7b": (
        "llama",
        _LLAMA | {"hidden_size": 4096, "num_hidden_layers": 32, "num_attention_heads": 32, "intermediate_size": 11008, "vocab_size": 32000},
    ),
    "Llama-3-8B": (
        "llama",
        _LLAMA
        | {"hidden_size": 4096, "num_hidden_layers": 32, "num_attention_heads": 32, "num_key_value_heads": 8}
        | {"intermediate_size": 14336, "vocab_size": 128256},
    ),
    "Mistral-7B": (
        "mistral",
        {"hidden_size": 4096, "num_hidden_layers": 32, "num_attention_heads": 32, "num_key_value_heads": 8}
        | {"intermediate_size": 14336, "vocab_size": 32000, "tie_word_embeddings": False},
    ),
    "Qwen2-7B": (
        "qwen2",
        {"hidden_size": 3584, "num_hidden_layers": 28, "num_attention_heads": 28, "num_key_value_heads": 4}
        | {"intermediate_size": 18944, "vocab_size": 152064, "tie_word_embeddings": False},
    ),
    "Qwen3-8B": (
        "qwen3",
        {"hidden_size": 4096, "num_hidden_layers": 36, "num_attention_heads": 32, "num_key_value_heads": 8, "head_dim": 128}
        | {"intermediate_size": 12288, "vocab_size": 151936, "tie_word_embeddings": False},
    ),
    "gemma-2-2b": (
        "gemma2",
        {"hidden_size": 2304, "num_hidden_layers": 26, "num_attention_heads": 8, "num_key_value_heads": 4, "head_dim": 256}
        | {"intermediate_size": 9216, "vocab_size": 256000},
    ),
    "phi-2": (
        "phi",
        {"hidden_size": 2560, "num_hidden_layers": 32, "num_attention_heads": 32, "intermediate_size": 10240, "vocab_size": 51200}
        | {"tie_word_embeddings": False},
    ),
    "Phi-3-mini": (
        "phi3",
        {"hidden_size": 3072, "num_hidden_layers": 32, "num_attention_heads": 32, "num_key_value_heads": 32}
        | {"intermediate_size": 8192, "vocab_size": 32064, "tie_word_embeddings": False},
    ),
    "falcon-7b": (
        "falcon",
        {"hidden_size": 4544, "num_hidden_layers": 32, "num_attention_heads": 71, "vocab_size": 65024, "multi_query": True}
        | {"new_decoder_architecture": False, "parallel_attn": True, "bias": False},
    ),
    "gpt-neox-20b": (
        "gpt_neox",
        {"hidden_size": 6144, "num_hidden_layers": 44, "num_attention_heads": 64, "intermediate_size": 24576, "vocab_size": 50432},
    ),
    "Mixtral-8x7B": (
        "mixtral",
        {"hidden_size": 4096, "num_hidden_layers": 32, "num_attention_heads": 32, "num_key_value_heads": 8, "vocab_size": 32000}
        | {"intermediate_size": 14336, "num_local_experts": 8, "num_experts_per_tok": 2, "tie_word_embeddings": False},
    ),
    "gpt-oss-20b": (
        "gpt_oss",
        {"hidden_size": 2880, "num_hidden_layers": 24, "num_attention_heads": 64, "num_key_value_heads": 8, "head_dim": 64}
        | {"intermediate_size": 2880, "vocab_size": 201088, "num_local_experts": 32, "num_experts_per_tok": 4},
    ),
}

MIXTURES: dict[str, tuple[str, dict[str, Any]]] = {
    "DeepSeek-V3": (
        "deepseek_v3",
        {"hidden_size": 7168, "num_hidden_layers": 61, "num_attention_heads": 128, "num_key_value_heads": 128}
        | {"intermediate_size": 18432, "moe_intermediate_size": 2048, "n_routed_experts": 256, "n_shared_experts": 1}
        | {"num_experts_per_tok": 8, "first_k_dense_replace": 3, "kv_lora_rank": 512, "q_lora_rank": 1536, "vocab_size": 129280},
    ),
    "Qwen3-30B-A3B": (
        "qwen3_moe",
        {"hidden_size": 2048, "num_hidden_layers": 48, "num_attention_heads": 32, "num_key_value_heads": 4, "head_dim": 128}
        | {"intermediate_size": 6144, "moe_intermediate_size": 768, "num_experts": 128, "num_experts_per_tok": 8, "vocab_size": 151936},
    ),
    "Qwen1.5-MoE-A2.7B": (
        "qwen2_moe",
        {"hidden_size": 2048, "num_hidden_layers": 24, "num_attention_heads": 16, "num_key_value_heads": 16, "vocab_size": 151936}
        | {"intermediate_size": 5632, "moe_intermediate_size": 1408, "shared_expert_intermediate_size": 5632}
        | {"num_experts": 60, "num_experts_per_tok": 4},
    ),
    "OLMoE-1B-7B": (
        "olmoe",
        {"hidden_size": 2048, "num_hidden_layers": 16, "num_attention_heads": 16, "num_key_value_heads": 16, "vocab_size": 50304}
        | {"intermediate_size": 1024, "num_experts": 64, "num_experts_per_tok": 8},
    ),
    "GLM-4.5-Air": (
        "glm4_moe",
        {"hidden_size": 4096, "num_hidden_layers": 46, "num_attention_heads": 96, "num_key_value_heads": 8, "head_dim": 128}
        | {"intermediate_size": 10944, "moe_intermediate_size": 1408, "n_routed_experts": 128, "n_shared_experts": 1}
        | {"num_experts_per_tok": 8, "first_k_dense_replace": 1, "vocab_size": 151552},
    ),
}
"""Five mixtures of experts beside those among `SHAPES`, three of which have shared experts."""

LLAMA_70B: dict[str, Any] = {
    **{"architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": 8192, "num_hidden_layers": 80},
    **{"num_attention_heads": 64, "num_key_value_heads": 8, "intermediate_size": 28672, "vocab_size": 128256},
    **{"tie_word_embeddings": False, "max_position_embeddings": 8192},
}
"""The shape of Llama 3 70B."""
