"""A tiny random EmpathAV, untrained and made in memory: for tests, and to try a recipe in seconds."""

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import (
    AutoConfig,
    Blip2QFormerConfig,
    LlamaConfig,
    PreTrainedTokenizerFast,
    ViTImageProcessorPil,
    WhisperConfig,
    WhisperFeatureExtractor,
)

from ..checkpoint.prompts import emotion_prompt, role_token_ids, turn_markers
from ..modeling.configuration_empathav import EmpathAVConfig, FaceEncoderConfig
from ..modeling.modeling_empathav import EmpathAVForCausalLM
from ..processing.processing_empathav import EmpathAVProcessor


CHAT_TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
# Standard deviation of the weights. With the usual 0.02, layers as narrow as these would damp every signal.
LIVELY = 0.2
SPECIAL_TOKENS = ["<|im_start|>", "<|im_end|>", "<|av|>", "<|memory|>"]


def tiny_tokenizer() -> PreTrainedTokenizerFast:
    """A byte-level tokenizer with the markers of ChatML and both placeholders."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {token: index for index, token in enumerate(SPECIAL_TOKENS + alphabet)}
    tokenizer = Tokenizer(models.BPE(vocabulary, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token="<|im_start|>",
        eos_token="<|im_end|>",
        pad_token="<|im_end|>",
        additional_special_tokens=["<|av|>", "<|memory|>"],
        model_max_length=2048,
        chat_template=CHAT_TEMPLATE,
    )


def tiny_processor(**kwargs) -> EmpathAVProcessor:
    """A processor with windows of two seconds; `kwargs` override its settings."""
    return EmpathAVProcessor(
        WhisperFeatureExtractor(feature_size=8, chunk_length=2),
        ViTImageProcessorPil(size={"height": 64, "width": 64}, image_mean=[0.5] * 3, image_std=[0.5] * 3),
        tiny_tokenizer(),
        **{
            "num_query_tokens": 2,
            "memory_tokens_per_utterance": 2,
            "num_frames": 3,
            "window_seconds": 2.0,
            "reply_tokens": 64,
            **kwargs,
        },
    )


def tiny_config(processor: EmpathAVProcessor, **kwargs) -> EmpathAVConfig:
    """The configuration that fits a [`tiny_processor`]; `kwargs` override its fields."""
    prompt_ids, label_ids = emotion_prompt(processor)
    user_turn_ids, turn_end_ids = turn_markers(processor)
    defaults = {
        "text_config": LlamaConfig(
            vocab_size=len(processor.tokenizer),
            hidden_size=32,
            intermediate_size=64,
            num_hidden_layers=2,
            num_attention_heads=4,
            num_key_value_heads=2,
            max_position_embeddings=2048,
            bos_token_id=0,
            eos_token_id=1,
            pad_token_id=1,
            tie_word_embeddings=True,
            initializer_range=LIVELY,
        ),
        "audio_config": WhisperConfig(
            vocab_size=8,
            num_mel_bins=8,
            d_model=16,
            encoder_layers=2,
            encoder_attention_heads=2,
            encoder_ffn_dim=32,
            decoder_layers=1,
            decoder_attention_heads=2,
            decoder_ffn_dim=32,
            max_source_positions=100,
            dropout=0.0,
            init_std=LIVELY,
            pad_token_id=0,
            bos_token_id=0,
            eos_token_id=0,
            decoder_start_token_id=0,
        ),
        "vision_config": FaceEncoderConfig(stem_channels=4, module_channels=[4, 8]),
        "qformer_config": Blip2QFormerConfig(
            hidden_size=16,
            num_hidden_layers=1,
            num_attention_heads=2,
            intermediate_size=32,
            cross_attention_frequency=1,
            encoder_hidden_size=16,
            initializer_range=LIVELY,
            hidden_dropout_prob=0.0,
            attention_probs_dropout_prob=0.0,
        ),
        "compressor_config": AutoConfig.for_model(
            "mamba2",
            hidden_size=32,
            num_hidden_layers=2,
            num_heads=4,
            head_dim=16,
            state_size=8,
            n_groups=1,
            chunk_size=8,
            vocab_size=1,
            bos_token_id=None,
            eos_token_id=None,
            pad_token_id=None,
        ),
        "initializer_range": LIVELY,
        "num_query_tokens": processor.num_query_tokens,
        "memory_tokens_per_utterance": processor.memory_tokens_per_utterance,
        "av_token_id": processor.av_token_id,
        "memory_token_id": processor.memory_token_id,
        "emotion_prompt_ids": prompt_ids,
        "emotion_label_ids": label_ids,
        "user_turn_ids": user_turn_ids,
        "turn_end_ids": turn_end_ids,
        "role_token_ids": role_token_ids(processor),
    }
    return EmpathAVConfig(**{**defaults, **kwargs})


def tiny_model(processor: EmpathAVProcessor, seed: int = 0, **kwargs) -> EmpathAVForCausalLM:
    """A random model in evaluation mode, reproducible by `seed`; `kwargs` override fields of its configuration."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return EmpathAVForCausalLM(tiny_config(processor, **kwargs)).eval()
