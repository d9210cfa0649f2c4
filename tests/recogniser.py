"""A tiny random speech recogniser without a decoder, on disk."""

import json
from pathlib import Path

import torch
from transformers import (
    Wav2Vec2Config,
    Wav2Vec2CTCTokenizer,
    Wav2Vec2FeatureExtractor,
    Wav2Vec2ForCTC,
    Wav2Vec2Processor,
)

from transformers_empathav.chat.responder import Responder
from transformers_empathav.chat.transcriber import Transcriber


def listening(responder: Responder, folder: Path) -> Transcriber:
    """Saves the recogniser to `folder` and opens it for a responder."""
    letters = {letter: index for index, letter in enumerate(["<pad>", "<s>", "</s>", "<unk>", "|", *"abcdefg"])}
    (folder / "vocab.json").write_text(json.dumps(letters))
    tokenizer = Wav2Vec2CTCTokenizer(str(folder / "vocab.json"), do_lower_case=False)
    config = Wav2Vec2Config(
        vocab_size=len(letters), hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16,
        conv_dim=[8, 8], conv_stride=[20, 16], conv_kernel=[20, 16], num_feat_extract_layers=2,
        num_conv_pos_embeddings=4, num_conv_pos_embedding_groups=2,
    )  # fmt: skip
    torch.manual_seed(0)
    recogniser = Wav2Vec2ForCTC(config).eval()
    torch.nn.init.normal_(recogniser.lm_head.weight)
    recogniser.save_pretrained(folder)
    Wav2Vec2Processor(Wav2Vec2FeatureExtractor(), tokenizer).save_pretrained(folder)
    return Transcriber(str(folder), 16000, responder.device, torch.float32)
