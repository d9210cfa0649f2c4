"""Tiny random language models of many families, and encoders beside them, to try whether they can be assembled."""

from pathlib import Path

import torch
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    PreTrainedConfig,
    ViTConfig,
    ViTImageProcessorPil,
    ViTModel,
    WhisperFeatureExtractor,
    WhisperModel,
)

from .tiny import LIVELY, tiny_config, tiny_processor


VOCABULARY = 300
# Fields that most families share; a family's own come after.
COMMON = {
    "vocab_size": VOCABULARY,
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 512,
    "initializer_range": LIVELY,
    "bos_token_id": 0,
    "eos_token_id": 1,
    "pad_token_id": 1,
}
HEADS = {"head_dim": 8}
EXPERTS = {"num_experts": 4, "num_local_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 16}
MAMBA = {"mamba_d_state": 8, "mamba_n_heads": 4, "mamba_d_head": 16, "mamba_chunk_size": 8}
DELTA = {"linear_num_key_heads": 2, "linear_num_value_heads": 4, "linear_key_head_dim": 8, "linear_value_head_dim": 8}
LATENT = {
    "kv_lora_rank": 16, "q_lora_rank": 16, "qk_rope_head_dim": 8, "qk_nope_head_dim": 8, "v_head_dim": 8,
    "num_key_value_heads": 4, "n_routed_experts": 4, "first_k_dense_replace": 1,
}  # fmt: skip
MIXED = {"layer_types": ["linear_attention", "full_attention"]}
FAMILIES = {
    "Apertus": ("apertus", {}),
    "Arcee": ("arcee", HEADS),
    "Bamba": ("bamba", {**MAMBA, "attn_layer_indices": [1]}),
    "BLOOM": ("bloom", {"n_layer": 2, "n_head": 4}),
    "CodeGen": ("codegen", {"n_embd": 32, "n_layer": 2, "n_head": 4, "rotary_dim": 4, "n_inner": 64}),
    "Cohere (Command R)": ("cohere", {}),
    "DeepSeek-V2": ("deepseek_v2", {**EXPERTS, **LATENT, "topk_method": "greedy"}),
    "DeepSeek-V3": ("deepseek_v3", {**EXPERTS, **LATENT, "n_group": 2, "topk_group": 1}),
    "ERNIE 4.5": ("ernie4_5", HEADS),
    "EXAONE 4": ("exaone4", {"layer_types": ["sliding_attention", "full_attention"], "sliding_window": 16}),
    "Falcon": ("falcon", {"new_decoder_architecture": True, "num_kv_heads": 2}),
    "Falcon-H1": ("falcon_h1", {**MAMBA, "mamba_d_ssm": 64, "lm_head_multiplier": 0.04, "embedding_multiplier": 5.7}),
    "Falcon Mamba": ("falcon_mamba", {"state_size": 8}),
    "Gemma": ("gemma", HEADS),
    "Gemma 2": ("gemma2", HEADS),
    "Gemma 3": ("gemma3_text", {**HEADS, "sliding_window": 16}),
    "GLM-4": ("glm4", HEADS),
    "GPT-2": ("gpt2", {"n_embd": 32, "n_layer": 2, "n_head": 4}),
    "GPT-BigCode": ("gpt_bigcode", {"n_embd": 32, "n_layer": 2, "n_head": 4}),
    "GPT-J": ("gptj", {"n_embd": 32, "n_layer": 2, "n_head": 4, "rotary_dim": 4}),
    "GPT-Neo": ("gpt_neo", {"num_layers": 2, "num_heads": 4, "attention_types": [[["global", "local"], 1]]}),
    "GPT-NeoX (Pythia)": ("gpt_neox", {}),
    "gpt-oss": ("gpt_oss", {**EXPERTS, **HEADS, "sliding_window": 16}),
    "Granite": ("granite", {"logits_scaling": 8.0}),
    "Granite 4 (hybrid)": ("granitemoehybrid", {**EXPERTS, **MAMBA, "layer_types": ["mamba", "attention"]}),
    "Helium": ("helium", HEADS),
    "Hunyuan": ("hunyuan_v1_dense", HEADS),
    "Jamba": ("jamba", {**EXPERTS, "mamba_d_state": 8, "attn_layer_period": 2, "attn_layer_offset": 1}),
    "LFM2": ("lfm2", {"layer_types": ["conv", "full_attention"], "block_multiple_of": 8}),
    "Llama": ("llama", {}),
    "Mamba": ("mamba", {"state_size": 8}),
    "Mamba-2": ("mamba2", {"state_size": 8, "num_heads": 4, "head_dim": 16, "n_groups": 1, "chunk_size": 8}),
    "Ministral": ("ministral", {**HEADS, "sliding_window": 16}),
    "Mistral": ("mistral", {"sliding_window": 16}),
    "Mixtral": ("mixtral", EXPERTS),
    "MPT": ("mpt", {"d_model": 32, "n_heads": 4, "n_layers": 2, "max_seq_len": 512}),
    "Nemotron": ("nemotron", {}),
    "Nemotron-H": (
        "nemotron_h",
        {**HEADS, "layers_block_type": ["mamba", "attention"], "ssm_state_size": 8, "mamba_num_heads": 4}
        | {"mamba_head_dim": 16, "n_groups": 1, "chunk_size": 8, "moe_intermediate_size": 16},
    ),
    "OLMo 2": ("olmo2", {}),
    "OLMo 3": ("olmo3", {"sliding_window": 16}),
    "OLMo-hybrid": ("olmo_hybrid", {**MIXED, **DELTA, "linear_num_value_heads": 2}),
    "OLMoE": ("olmoe", EXPERTS),
    "OPT": ("opt", {"ffn_dim": 64, "word_embed_proj_dim": 32}),
    "OPT-350m": ("opt", {"ffn_dim": 64, "word_embed_proj_dim": 16, "do_layer_norm_before": False}),
    "Persimmon": ("persimmon", {}),
    "Phi-2": ("phi", {}),
    "Phi-3, Phi-4": ("phi3", {}),
    "Phi-3.5-MoE": ("phimoe", EXPERTS),
    "Qwen2, Qwen2.5": ("qwen2", {}),
    "Qwen2-MoE": ("qwen2_moe", {**EXPERTS, "shared_expert_intermediate_size": 16}),
    "Qwen3": ("qwen3", HEADS),
    "Qwen3-MoE": ("qwen3_moe", {**EXPERTS, **HEADS}),
    "Qwen3-Next": ("qwen3_next", {**EXPERTS, **DELTA, **HEADS, **MIXED, "shared_expert_intermediate_size": 16}),
    "RecurrentGemma": ("recurrent_gemma", {"lru_width": 32, "num_hidden_layers": 3, "attention_window_size": 64}),
    "RWKV": ("rwkv", {"attention_hidden_size": 32, "context_length": 512}),
    "SmolLM3": ("smollm3", {}),
    "StableLM": ("stablelm", {}),
    "StarCoder2": ("starcoder2", {}),
    "Zamba2": (
        "zamba2",
        {"layers_block_type": ["mamba", "hybrid"], "mamba_d_state": 8, "n_mamba_heads": 4, "chunk_size": 8}
        | {"num_key_value_heads": 4},
    ),
}


def save_tiny_encoders(folder: Path) -> dict[str, str]:
    """Saves a tiny Whisper and a tiny ViT; gives their directories as `audio` and `vision`."""
    audio, vision = folder / "audio", folder / "vision"
    WhisperModel(tiny_config(tiny_processor()).audio_config).save_pretrained(audio)
    WhisperFeatureExtractor(feature_size=8, chunk_length=2).save_pretrained(audio)
    small = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    ViTModel(ViTConfig(**small, image_size=32, patch_size=16), add_pooling_layer=False).save_pretrained(vision)
    ViTImageProcessorPil(size={"height": 32, "width": 32}).save_pretrained(vision)
    return {"audio": str(audio), "vision": str(vision)}


def tiny_llm_config(family: str) -> PreTrainedConfig:
    """The configuration of a tiny model of a family."""
    model_type, own = FAMILIES[family]
    return AutoConfig.for_model(model_type, **{**COMMON, **own})


def save_tiny_llm(family: str, folder: Path):
    """Saves a tiny random model of a family with a tokenizer."""
    torch.manual_seed(0)
    AutoModelForCausalLM.from_config(tiny_llm_config(family)).save_pretrained(folder)
    tiny_processor().tokenizer.save_pretrained(folder)
