"""What the configuration learns from a tokenizer and its chat template."""

import pytest

from transformers_empathav import EMOTION_LABELS
from transformers_empathav.checkpoint.prompts import EMOTION_ANSWER, EMOTION_QUESTION, emotion_prompt, turn_markers
from transformers_empathav.testing.tiny import tiny_processor


TEMPLATES = {
    "chatml": (
        "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
        "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}",
        ("<|im_start|>user", "<|im_end|>"),
    ),
    "with a system prompt of its own": (
        "{% if messages[0].role != 'system' %}<|im_start|>system\nBe kind.<|im_end|>\n{% endif %}"
        "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
        "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}",
        ("<|im_start|>user", "<|im_end|>"),
    ),
    "instructions in brackets": (
        "{% for m in messages %}{% if m.role == 'user' %}[INST] {{ m.content }} [/INST]{% else %} {{ m.content }}</s>"
        "{% endif %}{% endfor %}",
        ("[INST]", "[/INST]"),
    ),
    "names": (
        "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}"
        "{% if add_generation_prompt %}assistant:{% endif %}",
        ("user:", ""),
    ),
}


@pytest.mark.parametrize("name", TEMPLATES)
def test_turn_markers(name):
    template, expected = TEMPLATES[name]
    processor = tiny_processor()
    processor.tokenizer.chat_template = template
    assert tuple(map(processor.tokenizer.decode, turn_markers(processor))) == expected


@pytest.mark.parametrize("name", TEMPLATES)
def test_emotion_prompt_has_one_place_for_the_vectors(name):
    template, _ = TEMPLATES[name]
    processor = tiny_processor()
    processor.tokenizer.chat_template = template
    prompt, labels = emotion_prompt(processor)
    assert prompt.count(processor.av_token_id) == 1
    text = processor.tokenizer.decode(prompt)
    assert f"{processor.av_token}{EMOTION_QUESTION}" in text and text.endswith(EMOTION_ANSWER)
    assert [processor.tokenizer.decode(label) for label in labels] == [f" {label}" for label in EMOTION_LABELS]
