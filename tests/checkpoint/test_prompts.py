"""What the configuration learns from a tokenizer and its chat template."""

import pytest
from jinja2 import TemplateError

import chat_templates
from helpers import assistant, user
from transformers_empathav import EMOTION_LABELS
from transformers_empathav.checkpoint.prompts import (
    EMOTION_ANSWER,
    EMOTION_QUESTION,
    MEMORY_QUESTIONS,
    emotion_prompt,
    memory_frame,
    question_frames,
    takes_parts,
    turn_markers,
)
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
    "mistral": (chat_templates.MISTRAL, ("[INST]", "[/INST]")),
    "mistral 3": (chat_templates.MISTRAL_3, ("[INST]", "[/INST]")),
    "gemma": (chat_templates.GEMMA, ("<turn>user", "<end>")),
    "gemma 3": (chat_templates.GEMMA_3, ("<turn>user", "<end>")),
    "phi": (chat_templates.PHI, ("<|user|>", "<|end|>")),
    "qwen": (chat_templates.QWEN, ("<|im_start|>user", "<|im_end|>")),
    "deepseek": (chat_templates.DEEPSEEK, ("<|user|>", "")),
    "parts": (chat_templates.PARTS, ("<user>", "")),
    "first part": (chat_templates.FIRST_PART, ("user:", "")),
}


# The others take lists of parts by themselves, each in its own way.
TAKING_STRINGS = [name for name in TEMPLATES if name not in ("parts", "first part", "gemma 3")]


@pytest.mark.parametrize("name", TEMPLATES)
def test_turn_markers(name):
    template, expected = TEMPLATES[name]
    processor = tiny_processor(chat_template=template)
    assert tuple(map(processor.tokenizer.decode, turn_markers(processor))) == expected


@pytest.mark.parametrize("name", TEMPLATES)
def test_emotion_prompt_has_one_place_for_the_vectors(name):
    template, _ = TEMPLATES[name]
    processor = tiny_processor(chat_template=template)
    prompt, labels = emotion_prompt(processor)
    assert prompt.count(processor.av_token_id) == 1
    text = processor.tokenizer.decode(prompt)
    assert f"{processor.av_token}{EMOTION_QUESTION}" in text and text.endswith(EMOTION_ANSWER)
    assert [processor.tokenizer.decode(label) for label in labels] == [f" {label}" for label in EMOTION_LABELS]


@pytest.mark.parametrize("name", TEMPLATES)
def test_the_memory_alone_has_its_frame(name):
    template, _ = TEMPLATES[name]
    processor = tiny_processor(chat_template=template)
    before, after = map(processor.tokenizer.decode, memory_frame(processor))
    named = ("chatml", "with a system prompt of its own", "names", "parts", "first part")
    assert ("system" in before) == (name in named)  # the others take no system turn alone, or give it no name
    assert processor.memory_token not in before + after


def test_a_memory_stands_once_in_each_question_about_it(processor):
    frames = [tuple(map(processor.tokenizer.decode, frame)) for frame in question_frames(processor)]
    assert len(frames) == len(MEMORY_QUESTIONS)
    assert any("And to you." in after for _, after in frames)
    assert not any("MEMORY" in side or processor.memory_token in side for frame in frames for side in frame)


@pytest.mark.parametrize("template", [chat_templates.GEMMA, chat_templates.MISTRAL])
def test_questions_that_a_template_cannot_write_are_left_out(template):
    processor = tiny_processor()
    processor.chat_template = processor.tokenizer.chat_template = template
    assert question_frames(processor)


def test_a_template_that_does_not_write_what_the_user_says():
    for template in ("{{ messages | length }}", "{{ messages[0].content }}{{ messages[0].content }}"):
        processor = tiny_processor(chat_template=template)
        with pytest.raises(ValueError, match=r"writes a user's message [02] times, not once"):
            emotion_prompt(processor)


@pytest.mark.parametrize("name", [*TAKING_STRINGS, "adding strings", "beginning with white space"])
def test_a_tokenizer_by_itself_takes_lists_of_text_parts(name):
    tokenizer = tiny_processor().tokenizer
    tokenizer.chat_template = {
        "adding strings": "{% for m in messages %}{{ '<' + m['role'] + '>' + m['content'] }}{% endfor %}",
        "beginning with white space": "\n {% for m in messages %}{{ m.content }}{% endfor %}",
    }.get(name) or TEMPLATES[name][0]
    plain = [{"role": "user", "content": "I won."}, assistant("So good!"), {"role": "user", "content": "Yes"}]
    expected = tokenizer.apply_chat_template(plain, tokenize=False)
    tokenizer.chat_template = takes_parts(tokenizer)
    assert tokenizer.apply_chat_template(plain, tokenize=False) == expected
    parts = [user("I ", "won."), assistant("So good!"), user("Yes")]
    assert tokenizer.apply_chat_template(parts, tokenize=False) == expected
    with pytest.raises(TemplateError, match="give clips to the processor"):
        tokenizer.apply_chat_template([user("look", ("video", "a.mp4"))], tokenize=False)


EITHER = "{% for m in messages %}{{ m.content if m.content is string else m.content[0].text }}{% endfor %}"


@pytest.mark.parametrize("template", [EITHER, chat_templates.PARTS, chat_templates.FIRST_PART])
def test_a_chat_template_that_takes_parts_stays_as_it_is(template):
    tokenizer = tiny_processor().tokenizer
    tokenizer.chat_template = template
    assert takes_parts(tokenizer) == template
