"""Tiny random text encoders and classifiers, as directories that the auto classes load."""

import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import BertConfig, BertForSequenceClassification, BertModel, PreTrainedTokenizerFast

from transformers_empathav.modeling.configuration_empathav import EMOTION_LABELS


SPECIAL_TOKENS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]


def letters() -> PreTrainedTokenizerFast:
    """Letters and signs as tokens, between `[CLS]` and `[SEP]`."""
    signs = [chr(code) for code in range(33, 127)]
    pieces = SPECIAL_TOKENS + signs + [f"##{sign}" for sign in signs]
    vocabulary = {token: index for index, token in enumerate(pieces)}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        "[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="[PAD]",
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        model_max_length=128,
    )


def write_encoder(folder, labels=None, seed: int = 0, **config):
    """Writes a BERT of two narrow layers into `folder`, a classifier where it has `labels`, and gives the folder."""
    tokenizer = letters()
    config = BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=128,
        initializer_range=0.5,
        **(
            {}
            if labels is None
            else {"id2label": dict(enumerate(labels)), "label2id": {n: i for i, n in enumerate(labels)}}
        ),
        **config,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = BertModel(config) if labels is None else BertForSequenceClassification(config)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def write_classifier(folder, seed: int = 0):
    """A random classifier of the seven emotions."""
    return write_encoder(folder, EMOTION_LABELS, seed)
