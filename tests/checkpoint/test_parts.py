"""Pretrained parts by directory: which serve, and which are refused."""

import numpy as np
import pytest
import torch
from transformers import (
    ASTConfig,
    ASTFeatureExtractor,
    ASTModel,
    CLIPConfig,
    CLIPImageProcessorPil,
    CLIPModel,
    LlamaForCausalLM,
    ResNetConfig,
    ResNetModel,
    Speech2TextConfig,
    Speech2TextModel,
    SwinConfig,
    SwinModel,
    ViTImageProcessorPil,
    WhisperFeatureExtractor,
    WhisperForAudioClassification,
    WhisperModel,
)

from transformers_empathav.checkpoint.parts import choose_placeholders, load_audio, load_language_model, load_vision
from transformers_empathav.testing.tiny import tiny_config, tiny_processor, tiny_tokenizer


@pytest.fixture
def whisper_config():
    return tiny_config(tiny_processor()).audio_config


@pytest.fixture
def llm():
    return LlamaForCausalLM(tiny_config(tiny_processor()).text_config).eval()


def test_a_bare_whisper_gives_its_encoder_and_no_recogniser(whisper_config, tmp_path):
    original = WhisperModel(whisper_config).eval()
    original.save_pretrained(tmp_path)
    WhisperFeatureExtractor(feature_size=8, chunk_length=2).save_pretrained(tmp_path)
    tower, _, asr = load_audio(str(tmp_path))
    assert asr is None
    features = torch.randn(1, 8, 200)
    with torch.no_grad():
        assert torch.equal(tower(features).last_hidden_state, original.encoder(features).last_hidden_state)


def test_weights_that_are_not_there_are_refused(whisper_config, tmp_path):
    """A classifier keeps its encoder under another name, so that a whole Whisper would silently begin at random."""
    model = WhisperModel(whisper_config)
    state = {name: value for name, value in model.state_dict().items() if "encoder.layers.1" not in name}
    model.save_pretrained(tmp_path, state_dict=state)
    WhisperFeatureExtractor(feature_size=8, chunk_length=2).save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="lacks .* weights"):
        load_audio(str(tmp_path))


def test_a_fine_tuned_classifier_of_whisper_is_read_or_refused(whisper_config, tmp_path):
    original = WhisperForAudioClassification(whisper_config).eval()
    original.save_pretrained(tmp_path)
    WhisperFeatureExtractor(feature_size=8, chunk_length=2).save_pretrained(tmp_path)
    try:
        tower, _, _ = load_audio(str(tmp_path))
    except ValueError as error:
        assert "lacks" in str(error)
    else:
        for name, value in original.encoder.state_dict().items():
            assert torch.equal(tower.state_dict()[name], value), name


def test_encoders_of_another_build_are_refused(tmp_path):
    sizes = {"d_model": 16, "encoder_layers": 1, "decoder_layers": 1, "encoder_attention_heads": 2}
    sizes |= {"decoder_attention_heads": 2, "encoder_ffn_dim": 16, "decoder_ffn_dim": 16, "vocab_size": 10}
    Speech2TextModel(Speech2TextConfig(**sizes)).save_pretrained(tmp_path / "s2t")
    with pytest.raises(ValueError, match="has a decoder: take Whisper"):
        load_audio(str(tmp_path / "s2t"))

    small = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    ASTModel(ASTConfig(**small, max_length=32, num_mel_bins=16)).save_pretrained(tmp_path / "ast")
    ASTFeatureExtractor(max_length=32, num_mel_bins=16).save_pretrained(tmp_path / "ast")
    with pytest.raises(ValueError, match="cannot be the audio encoder"):
        load_audio(str(tmp_path / "ast"))

    pictures = ViTImageProcessorPil(size={"height": 32, "width": 32})
    for name, network in (
        ("resnet", ResNetModel(ResNetConfig(embedding_size=8, hidden_sizes=[8, 16], depths=[1, 1]))),
        ("swin", SwinModel(SwinConfig(image_size=32, embed_dim=8, depths=[1, 1], num_heads=[1, 2], window_size=4))),
    ):
        network.save_pretrained(tmp_path / name)
        pictures.save_pretrained(tmp_path / name)
        with pytest.raises(ValueError, match="cannot be the vision encoder"):
            load_vision(str(tmp_path / name))


def test_clip_gives_its_image_half(tmp_path):
    small = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    original = CLIPModel(
        CLIPConfig(text_config=small, vision_config={**small, "image_size": 32, "patch_size": 16})
    ).eval()
    original.save_pretrained(tmp_path)
    CLIPImageProcessorPil(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32}).save_pretrained(tmp_path)
    tower, image_processor = load_vision(str(tmp_path))
    frame = np.random.default_rng(0).integers(0, 255, (40, 60, 3), dtype=np.uint8)
    pixels = image_processor(images=frame, return_tensors="pt")["pixel_values"]
    with torch.no_grad():
        expected = original.get_image_features(pixel_values=pixels)
        pooled = original.visual_projection(tower(pixels).pooler_output)
    assert torch.equal(pooled, expected if isinstance(expected, torch.Tensor) else expected.pooler_output)


def test_language_models_need_a_chat_template(llm, tmp_path):
    tokenizer = tiny_tokenizer()
    tokenizer.chat_template = None
    llm.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="no chat template"):
        load_language_model(str(tmp_path))


def test_a_language_model_without_padding_pads_with_its_end(llm, tmp_path):
    tokenizer = tiny_tokenizer()
    tokenizer.pad_token, tokenizer.model_max_length = None, int(1e30)
    llm.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    _, loaded = load_language_model(str(tmp_path))
    assert loaded.pad_token == loaded.eos_token
    assert loaded.model_max_length == llm.config.max_position_embeddings


def test_placeholders_are_reserved_tokens_that_the_template_does_not_use(llm):
    tokenizer = tiny_tokenizer()
    tokenizer.add_special_tokens(
        {"additional_special_tokens": ["<unused0>", "<unused1>", "<unused2>"]}, replace_extra_special_tokens=False
    )
    tokenizer.chat_template = "<unused1>" + tokenizer.chat_template
    assert choose_placeholders(tokenizer, llm) == ("<unused0>", "<unused2>")
