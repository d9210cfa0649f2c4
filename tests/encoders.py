"""Tiny random text encoders and classifiers in a directory."""

import torch
from tokenizers.processors import TemplateProcessing
from transformers import BertConfig, BertModel

from transformers_empathav.backbones.tiny import tiny_tokenizer


def encoder_directory(folder, cls=BertModel, seed=0, **config):
    """A directory of a BERT two layers deep over bytes, `cls` of transformers."""
    tokenizer = tiny_tokenizer()
    tokenizer.model_max_length = 128
    marks = {"single": "<|im_start|> $A <|im_end|>", "pair": "<|im_start|> $A <|im_end|> $B:1 <|im_end|>:1"}
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
        **marks, special_tokens=[("<|im_start|>", 0), ("<|im_end|>", 1)]
    )
    torch.manual_seed(seed)
    sizes = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
    cls(BertConfig(vocab_size=len(tokenizer), initializer_range=0.5, **sizes, **config)).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder
