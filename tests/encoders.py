"""Tiny random encoders of many families, saved as a Hub id would give them."""

from pathlib import Path

import torch
from transformers import (
    HubertConfig,
    HubertModel,
    ParakeetEncoder,
    ParakeetEncoderConfig,
    ParakeetFeatureExtractor,
    PixtralImageProcessorPil,
    PixtralVisionConfig,
    PixtralVisionModel,
    Qwen2AudioEncoder,
    Qwen2AudioEncoderConfig,
    SeamlessM4TFeatureExtractor,
    SEWConfig,
    SEWModel,
    Siglip2Config,
    Siglip2ImageProcessorPil,
    Siglip2Model,
    UniSpeechConfig,
    UniSpeechModel,
    VideoMAEConfig,
    VideoMAEImageProcessorPil,
    VideoMAEModel,
    ViTImageProcessorPil,
    ViTMAEConfig,
    ViTMAEModel,
    VJEPA2Config,
    VJEPA2Model,
    Wav2Vec2BertConfig,
    Wav2Vec2BertModel,
    Wav2Vec2Config,
    Wav2Vec2FeatureExtractor,
    Wav2Vec2Model,
    WavLMConfig,
    WavLMModel,
    WhisperFeatureExtractor,
)


SMALL = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 16}
SAMPLES = {
    **SMALL, "conv_dim": [8, 8], "conv_stride": [20, 16], "conv_kernel": [20, 16], "num_feat_extract_layers": 2,
    "num_conv_pos_embeddings": 4, "num_conv_pos_embedding_groups": 2, "vocab_size": 8,
}  # fmt: skip
WAVE, PICTURE = {"return_attention_mask": True}, {"image_size": 32, "patch_size": 16}
SQUARE = {"height": 32, "width": 32}
# Model, its configuration, and what prepares its input.
AUDIO = {
    "wav2vec2": lambda: (Wav2Vec2Model, Wav2Vec2Config(**SAMPLES), Wav2Vec2FeatureExtractor(**WAVE)),
    "hubert": lambda: (HubertModel, HubertConfig(**SAMPLES), Wav2Vec2FeatureExtractor(**WAVE)),
    "hubert-large": lambda: (
        HubertModel,
        HubertConfig(**SAMPLES, feat_extract_norm="layer", do_stable_layer_norm=True),
        Wav2Vec2FeatureExtractor(**WAVE),
    ),
    "wavlm": lambda: (WavLMModel, WavLMConfig(**SAMPLES), Wav2Vec2FeatureExtractor(**WAVE)),
    "unispeech": lambda: (UniSpeechModel, UniSpeechConfig(**SAMPLES), Wav2Vec2FeatureExtractor(**WAVE)),
    "sew": lambda: (SEWModel, SEWConfig(**SAMPLES), Wav2Vec2FeatureExtractor(**WAVE)),
    "wav2vec2-bert": lambda: (
        Wav2Vec2BertModel,
        Wav2Vec2BertConfig(**SMALL, conv_depthwise_kernel_size=3),
        SeamlessM4TFeatureExtractor(),
    ),
    "parakeet": lambda: (
        ParakeetEncoder,
        ParakeetEncoderConfig(**SMALL, subsampling_conv_channels=8),
        ParakeetFeatureExtractor(feature_size=80),
    ),
    "qwen2-audio": lambda: (
        Qwen2AudioEncoder,
        Qwen2AudioEncoderConfig(
            num_mel_bins=8, encoder_layers=2, encoder_attention_heads=2, encoder_ffn_dim=16, d_model=16,
            max_source_positions=100,
        ),
        WhisperFeatureExtractor(feature_size=8, chunk_length=2),
    ),
}  # fmt: skip
VISION = {
    "vit_mae": lambda: (ViTMAEModel, ViTMAEConfig(**SMALL, **PICTURE), ViTImageProcessorPil(size=SQUARE)),
    "pixtral": lambda: (
        PixtralVisionModel,
        PixtralVisionConfig(**SMALL, **PICTURE),
        PixtralImageProcessorPil(size={"longest_edge": 32}, patch_size={"height": 16, "width": 16}),
    ),
    "siglip2": lambda: (
        Siglip2Model,
        Siglip2Config(text_config={**SMALL, "vocab_size": 8}, vision_config={**SMALL, "num_patches": 4}),
        Siglip2ImageProcessorPil(max_num_patches=4),
    ),
    "videomae": lambda: (
        VideoMAEModel,
        VideoMAEConfig(**SMALL, **PICTURE, num_frames=2),
        VideoMAEImageProcessorPil(size={"shortest_edge": 32}, crop_size=SQUARE),
    ),
    "vjepa2": lambda: (
        VJEPA2Model,
        VJEPA2Config(
            hidden_size=16, num_hidden_layers=2, num_attention_heads=2, crop_size=32, frames_per_clip=2,
            pred_hidden_size=16, pred_num_attention_heads=2, pred_num_hidden_layers=1, pred_num_mask_tokens=2,
        ),
        ViTImageProcessorPil(size=SQUARE),
    ),
}  # fmt: skip


def save_encoder(kind: str, folder: Path) -> str:
    """Saves a tiny encoder with what prepares its input; gives the directory."""
    model, config, prepare = (AUDIO | VISION)[kind]()
    torch.manual_seed(0)
    model(config).eval().save_pretrained(folder)
    prepare.save_pretrained(folder)
    return str(folder)
