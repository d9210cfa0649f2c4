"""Chat templates that behave as published ones do: what they refuse, leave out, and read as a list of parts."""

ALTERNATE = (
    "{% if (turn.role == 'user') != (loop.index0 is even) %}"
    "{{ raise_exception('The roles must alternate, and the user begins.') }}{% endif %}"
)
# Mistral 7B: no system message, user and assistant in turn.
MISTRAL = (
    "{{ bos_token }}{% for turn in messages %}" + ALTERNATE + "{% if turn.role == 'user' %}"
    "[INST] {{ turn.content }} [/INST]{% elif turn.role == 'assistant' %}{{ turn.content }}{{ eos_token }}"
    "{% else %}{{ raise_exception('There are user and assistant alone.') }}{% endif %}{% endfor %}"
)
# Mistral 7B v0.3: the system message stands in the last of the user's, and so is lost where there is none.
MISTRAL_3 = (
    "{% set first = messages[0] %}{% set turns = messages[1:] if first.role == 'system' else messages %}"
    "{{ bos_token }}{% for turn in turns %}" + ALTERNATE + "{% if turn.role == 'user' %}"
    "[INST] {% if loop.last and first.role == 'system' %}{{ first.content + '\n\n' }}{% endif %}"
    "{{ turn.content }} [/INST]{% else %} {{ turn.content }}{{ eos_token }}{% endif %}{% endfor %}"
)
# Gemma 2: no system message, user and model in turn.
GEMMA = (
    "{{ bos_token }}{% if messages[0].role == 'system' %}{{ raise_exception('No system role here.') }}{% endif %}"
    "{% for turn in messages %}" + ALTERNATE + "<turn>{{ 'model' if turn.role == 'assistant' else turn.role }}\n"
    "{{ turn.content | trim }}<end>\n{% endfor %}{% if add_generation_prompt %}<turn>model\n{% endif %}"
)
# Gemma 3: the system message stands in the first of the user's, in turn; content is a string or parts.
GEMMA_3 = (
    "{% set first = messages[0] %}{% set turns = messages %}{% set before = '' %}{% if first.role == 'system' %}"
    "{% set turns = messages[1:] %}{% if first.content is string %}{% set before = first.content + '\n\n' %}"
    "{% else %}{% set before = first.content[0].text + '\n\n' %}{% endif %}{% endif %}{{ bos_token }}"
    "{% for turn in turns %}" + ALTERNATE + "<turn>{{ 'model' if turn.role == 'assistant' else turn.role }}\n"
    "{{ before if loop.first }}{% if turn.content is string %}{{ turn.content | trim }}{% else %}"
    "{% for part in turn.content %}{{ part.text | trim }}{% endfor %}{% endif %}<end>\n{% endfor %}"
    "{% if add_generation_prompt %}<turn>model\n{% endif %}"
)
# Phi 3 mini, as it was first published: a system message is left out without a word.
PHI = (
    "{% for turn in messages if turn.role != 'system' %}<|{{ turn.role }}|>\n{{ turn.content }}<|end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>\n{% endif %}"
)
# Qwen 3.5: a system message at the beginning alone, and nothing without a user's message.
QWEN = (
    "{% if messages | selectattr('role', 'equalto', 'user') | list | length == 0 %}"
    "{{ raise_exception('The user has said nothing.') }}{% endif %}{% for turn in messages %}"
    "{% if turn.role == 'system' and not loop.first %}{{ raise_exception('The system begins.') }}{% endif %}"
    "<|im_start|>{{ turn.role }}\n{{ turn.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
# DeepSeek R1: of several system messages the last one is written, at the beginning.
DEEPSEEK = (
    "{% set kept = namespace(system='') %}{% for turn in messages if turn.role == 'system' %}"
    "{% set kept.system = turn.content %}{% endfor %}{{ bos_token }}{{ kept.system }}"
    "{% for turn in messages if turn.role != 'system' %}<|{{ turn.role }}|>{{ turn.content }}{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
# Many models that see: content is a list of parts and nothing else.
PARTS = (
    "{% for turn in messages %}<{{ turn.role }}>{% for part in turn.content %}"
    "{% if part['type'] == 'text' %}{{ part['text'] }}{% else %}<image>{% endif %}{% endfor %}\n{% endfor %}"
)
FIRST_PART = "{% for turn in messages %}{{ turn.role + ': ' + turn['content'][0]['text'] + '\n' }}{% endfor %}"

TEMPLATES = {
    "mistral": MISTRAL,
    "mistral 3": MISTRAL_3,
    "gemma": GEMMA,
    "gemma 3": GEMMA_3,
    "phi": PHI,
    "qwen": QWEN,
    "deepseek": DEEPSEEK,
    "parts": PARTS,
    "first part": FIRST_PART,
}
