"""Token ids that a configuration holds: emotion prompt, labels, role names, and markers of a user turn."""

from jinja2 import TemplateError
from transformers import PreTrainedTokenizerBase

from ..modeling.configuration_empathav import EMOTION_LABELS
from ..processing.messages_empathav import ROLES
from ..processing.processing_empathav import EmpathAVProcessor
from ..processing.prompt_empathav import PromptWriter


EMOTION_QUESTION = "\nHow does the person who says this feel?"
EMOTION_ANSWER = "They feel"
SENTINEL = "SENTINEL"
MEMORY = "MEMORY"
# Conversations that hold a memory and ask for what is in it, of [`question_frames`].
MEMORY_QUESTIONS = [
    [{"role": role, "content": content} for role, content in turns]
    for turns in (
        (("system", MEMORY), ("user", "Write down what was said, word for word.")),
        (("system", f"You are a kind listener.\n{MEMORY}"), ("user", "What have we said so far?")),
        (("system", f"Be warm and brief.\n{MEMORY}"), ("user", "Please repeat the words that came before this.")),
        (("system", f"Before this:\n{MEMORY}"), ("user", "Copy it here.")),
        (
            ("system", MEMORY),
            ("user", "Good to talk to you."),
            ("assistant", "And to you. What is on your mind?"),
            ("user", "I lost the thread. How did we get here?"),
        ),
        (
            ("system", f"You are a helpful assistant.\n{MEMORY}"),
            ("user", "Okay."),
            ("assistant", "Shall I read back to you what was said?"),
            ("user", "Yes, line by line."),
        ),
        (("user", f"{MEMORY}\nThese are notes. Spell them out."),),
    )
]
# Put before a chat template that reads content as a string: joins content that is a list of parts.
JOIN_PARTS = """
{%- set joined = namespace(messages=[], text='') -%}
{%- for message in messages -%}
{%- if message['content'] is iterable and message['content'] is not string -%}
{%- set joined.text = '' -%}
{%- for part in message['content'] -%}
{%- if part['type'] != 'text' -%}
{{- raise_exception('The tokenizer reads text alone: give clips to the processor of AutoProcessor.') -}}
{%- endif -%}
{%- set joined.text = joined.text + part['text'] -%}
{%- endfor -%}
{%- set message = dict(message, content=joined.text) -%}
{%- endif -%}
{%- set joined.messages = joined.messages + [message] -%}
{%- endfor -%}
{%- set messages = joined.messages -%}
{{- '' }}"""


def emotion_prompt(processor: EmpathAVProcessor) -> tuple[list[int], list[list[int]]]:
    """
    Token ids of the emotion prompt, which holds the placeholder once, and of each label with a leading space.

    Args:
        processor ([`EmpathAVProcessor`]): Its chat template frames the prompt.

    Raises:
        `ValueError`: If the chat template does not write what a user says.
    """
    tokenizer = processor.tokenizer
    question = [{"role": "user", "content": processor.av_token + EMOTION_QUESTION}]
    prompt = PromptWriter(processor, add_generation_prompt=True).render(question) + EMOTION_ANSWER
    prompt_ids = tokenizer(prompt, add_special_tokens=False)["input_ids"]
    if (places := prompt_ids.count(processor.av_token_id)) != 1:
        raise ValueError(
            f"The chat template writes a user's message {places} times, not once: take a language model whose "
            "template writes 'content' as a string or as parts {'type': 'text', 'text': ...}."
        )
    label_ids = [tokenizer(" " + label, add_special_tokens=False)["input_ids"] for label in EMOTION_LABELS]
    return prompt_ids, label_ids


def role_token_ids(processor: EmpathAVProcessor) -> dict[str, list[int]]:
    """Token ids of each role's name, with which an utterance of the history begins."""
    return {role: processor.tokenizer(role, add_special_tokens=False)["input_ids"] for role in ROLES}


def turn_markers(processor: EmpathAVProcessor) -> tuple[list[int], list[int]]:
    """
    Token ids that open and close a user turn in the processor's chat template.

    White space at their ends is stripped, since the tokenizer may merge it with the user's text.
    """
    tokenizer, writer = processor.tokenizer, PromptWriter(processor)
    user, assistant = ({"role": role, "content": SENTINEL} for role in ("user", "assistant"))

    def after_last(*turns):
        return writer.render(list(turns)).split(SENTINEL)[-1]

    rendered = writer.render([user, assistant, user])
    opening = rendered.split(SENTINEL)[2].removeprefix(after_last(user, assistant))
    closing = after_last(user)
    return tuple(tokenizer(text.strip(), add_special_tokens=False)["input_ids"] for text in (opening, closing))


def memory_frame(processor: EmpathAVProcessor) -> tuple[list[int], list[int]]:
    """
    Token ids before and after a memory in the prompt of `recall`: a system turn, or a user's where the template takes
    no system turn alone, then the start of the reply.

    Raises:
        `ValueError`: If the chat template writes neither.
    """
    problem = None
    for role in ("system", "user"):
        try:
            if frame := frame_of([{"role": role, "content": processor.memory_token}], processor):
                return frame
        except ValueError as error:
            problem = error
    raise ValueError("The chat template writes no message that is alone: give another chat_template.") from problem


def question_frames(processor: EmpathAVProcessor) -> list[tuple[list[int], list[int]]]:
    """
    As `memory_frame`, in the ways in which a conversation holds a memory: behind a system prompt, before turns that
    are verbatim, with a request to write down what was said. A compressor that learned in all of them can be read in
    others. Those that the chat template cannot write are left out.
    """
    frames = []
    for messages in MEMORY_QUESTIONS:
        written = [{**turn, "content": turn["content"].replace(MEMORY, processor.memory_token)} for turn in messages]
        try:
            frames.append(frame_of(written, processor))
        except ValueError:
            continue
    return [frame for frame in frames if frame]


def frame_of(messages: list[dict], processor: EmpathAVProcessor) -> tuple[list[int], list[int]] | None:
    """Token ids before and after the memory in messages that hold it once, else `None`."""
    text, mark = PromptWriter(processor, add_generation_prompt=True).render(messages), processor.memory_token
    if text.count(mark) != 1:
        return None
    return tuple(processor.tokenizer(side, add_special_tokens=False)["input_ids"] for side in text.split(mark))


def takes_parts(tokenizer: PreTrainedTokenizerBase) -> str:
    """
    The tokenizer's chat template, made to take content that is a list of text parts, if it reads strings alone.

    The pipeline "text-generation" and servers call the tokenizer alone, with such lists.
    """
    template = tokenizer.chat_template
    if not isinstance(template, str):  # several, by name
        return template

    def written(content) -> str:
        try:
            return tokenizer.apply_chat_template([{"role": "user", "content": content}], tokenize=False)
        except (TemplateError, TypeError):
            return ""

    as_text, as_parts = written(SENTINEL), written([{"type": "text", "text": SENTINEL}])
    return JOIN_PARTS + template if SENTINEL in as_text and as_parts != as_text else template
