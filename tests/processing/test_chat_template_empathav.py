"""Chat templates of all kinds: what each takes is found out, and nothing that was said is lost."""

import re
from itertools import product

import pytest

from chat_templates import DEEPSEEK, FIRST_PART, GEMMA, GEMMA_3, MISTRAL, MISTRAL_3, PARTS, PHI, QWEN, TEMPLATES
from helpers import assistant, encode, sound, user
from transformers_empathav.processing.chat_template_empathav import TemplateRules
from transformers_empathav.testing.tiny import CHAT_TEMPLATE, tiny_processor


SYSTEM = {"role": "system", "content": "Be kind."}
STRICT = {"later_system": False, "assistant_first": False, "assistant_alone": False, "repeats": False}


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        (CHAT_TEMPLATE, {}),
        (MISTRAL, {"system": False, **STRICT}),
        (MISTRAL_3, {"system": False, **STRICT}),
        (GEMMA, {"system": False, **STRICT}),
        (GEMMA_3, STRICT),
        (PHI, {"system": False, "later_system": False}),
        (QWEN, {"later_system": False, "assistant_alone": False}),
        (DEEPSEEK, {"later_system": False}),
        (PARTS, {"parts": True}),
        (FIRST_PART, {"parts": True}),
        ("{{ raise_exception('never') }}", {}),
        ("nothing", {}),
    ],
)
def test_what_a_template_takes(processor, template, expected):
    assert processor.template_rules(template) == TemplateRules(**expected)


def spoken(roles: tuple[str, ...]) -> list[dict]:
    """One word for each message, which is the word of no other."""
    return [{"role": role, "content": f"word{index}."} for index, role in enumerate(roles)]


@pytest.mark.parametrize("name", TEMPLATES)
@pytest.mark.parametrize("system_prompt", [None, "Be kind."])
def test_nothing_that_was_said_is_lost(name, system_prompt):
    processor = tiny_processor(chat_template=TEMPLATES[name], system_prompt=system_prompt)
    for length in (1, 2, 3, 4):
        for roles in product(("user", "assistant", "system"), repeat=length):
            if "user" not in roles:  # some templates want one
                continue
            inputs = encode(processor, spoken(roles), recent_turns=3)
            history = inputs.get("history_input_ids", [[]])
            verbatim, older = processor.decode(inputs["input_ids"][0]), processor.decode(history[0])
            for index in range(length):
                assert (verbatim + older).count(f"word{index}.") == 1, roles
            assert verbatim.count("Be kind.") == (roles[0] != "system" and system_prompt is not None), roles
            said = re.findall(r"word(\d)", older + verbatim)
            said = [index for index in said if index != "0" or roles[0] != "system"]  # which heads every prompt
            assert said == sorted(said), roles
            utterances = len(re.findall("word", older))
            assert (inputs["input_ids"] == processor.memory_token_id).sum() == utterances * 2, roles


def test_the_verbatim_part_begins_with_the_user(processor):
    chat = [user("a"), assistant("b"), user("c"), assistant("d"), user("e")]
    for recent, expected in ((1, "e"), (2, "e"), (3, "cde"), (4, "cde"), (5, "abcde")):
        text = processor.apply_chat_template(chat, recent_turns=recent, chat_template=GEMMA)
        assert re.findall(r"\n(?:<\|memory\|>)?(\w)<end>", text) == list(expected), recent
    # Where the newest message is the assistant's, the user's before it stays with it.
    text = processor.apply_chat_template(chat[:4], recent_turns=1, chat_template=GEMMA)
    assert text.endswith("<turn>user\n<|memory|>c<end>\n<turn>model\nd<end>\n")


def test_a_greeting_becomes_history(processor):
    inputs = encode(processor, [assistant("Welcome!"), user("Hello")], chat_template=MISTRAL)
    assert processor.decode(inputs["input_ids"][0]) == "<|im_start|>[INST] <|memory|><|memory|>Hello [/INST]"
    assert processor.decode(inputs["history_input_ids"][0]).startswith("assistant: Welcome!")


def test_the_system_prompt_goes_into_the_first_message_of_the_user():
    processor = tiny_processor(chat_template=MISTRAL, system_prompt="Be <|av|> kind.")
    chat = [user("a"), assistant("b"), user("c")]
    text = processor.apply_chat_template(chat)
    assert text == "<|im_start|>[INST] Be < |av|> kind.\n\na [/INST]b<|im_end|>[INST] c [/INST]"
    text = processor.apply_chat_template([SYSTEM, *chat], recent_turns=1)
    assert text == "<|im_start|>[INST] Be kind.<|memory|>\n\nc [/INST]"
    processor.chat_template = PHI
    text = processor.apply_chat_template([SYSTEM, *chat], recent_turns=1, add_generation_prompt=True)
    assert text == "<|user|>\nBe kind.<|memory|>\n\nc<|end|>\n<|assistant|>\n"


def test_neighbours_of_one_role_become_one_message_with_their_clips(processor):
    clips = ("audio", sound(1)), ("audio", sound(2))
    chat = [user("I lost", clips[0]), user(clips[1], "my job"), assistant("Oh"), assistant("dear")]
    inputs = encode(processor, chat, chat_template=MISTRAL)
    clip = processor.av_token * 2
    text = processor.decode(inputs["input_ids"][0])
    assert text == f"<|im_start|>[INST] I lost{clip}\n\n{clip}my job [/INST]Oh\n\ndear<|im_end|>"
    alone = encode(processor, [user(clips[1])])
    assert (inputs["input_features"][1] == alone["input_features"][0]).all()


def test_a_later_system_message_that_is_refused_goes_to_the_user(processor):
    chat = [user("a"), assistant("b"), SYSTEM, user("c")]
    for template in (MISTRAL, MISTRAL_3):
        text = processor.apply_chat_template(chat, chat_template=template)
        assert text.endswith("[INST] Be kind.\n\nc [/INST]")
    assert "user\nBe kind.\n\nc" in processor.apply_chat_template(chat, chat_template=QWEN)
    assert "system\nBe kind.<|im_end|>" in processor.apply_chat_template(chat)


def test_content_is_given_in_parts_to_a_template_that_reads_parts(processor):
    chat = [SYSTEM, user("Listen", ("audio", sound(1)), "well"), assistant("Yes")]
    text = processor.apply_chat_template(chat, chat_template=FIRST_PART)
    assert text == "system: Be kind.\nuser: Listen<|av|>well\nassistant: Yes\n"
    text = processor.apply_chat_template(chat, chat_template=FIRST_PART, continue_final_message=True)
    assert text.endswith("assistant: Yes")
    inputs = encode(processor, chat, chat_template=PARTS)
    assert (inputs["input_ids"] == processor.av_token_id).sum() == 2


@pytest.mark.parametrize(
    ("template", "chat", "reason"),
    [
        ("{% if messages | length > 1 %}{{ raise_exception('one at most') }}{% endif %}{{ messages[0].content }}",
         [user("a"), assistant("b")], "one at most"),
        ("{{ messages[0].content + messages[0].missing }}", [user("a")], "no attribute 'missing'"),
        ("{{ messages[0].content + 1 }}", [user("a")], "can only concatenate str"),
        (QWEN, [assistant("a")], "The user has said nothing"),
        (GEMMA, [assistant("a")], "The roles must alternate"),
    ],
)  # fmt: skip
def test_a_template_that_fails_says_why_itself(processor, template, chat, reason):
    with pytest.raises(ValueError, match=f"The chat template cannot write these messages: .*{reason}") as error:
        processor.apply_chat_template(chat, chat_template=template)
    assert "recent_turns" not in str(error.value) and "\n" not in str(error.value)


def test_what_a_template_takes_is_asked_once(monkeypatch):
    processor, asked = tiny_processor(), []
    render = processor.tokenizer.apply_chat_template
    monkeypatch.setattr(
        processor.tokenizer, "apply_chat_template", lambda *args, **kwargs: asked.append(1) or render(*args, **kwargs)
    )
    for expected in (8, 9):  # seven questions before the first prompt
        processor.apply_chat_template([user("hi")])
        assert len(asked) == expected
