"""Prompts as text alone."""

from helpers import assistant
from transformers_empathav.writers.sampling import as_text


def test_neighbours_of_one_role_become_one_message_of_words():
    prompt = [
        {"role": "user", "content": "One.", "speaker": "Ann"},
        {
            "role": "user",
            "content": [{"type": "audio", "path": "a.wav"}, {"type": "text", "text": "Two."}],
            "emotion": "sad",
        },
        assistant("Three."),
    ]
    assert as_text(prompt) == [{"role": "user", "content": "One.\nTwo."}, assistant("Three.")]
