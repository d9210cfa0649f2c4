"""Which tokens score an emotion: the prompt around the last user turn, and the labels that may follow it."""

import torch

from .configuration_empathav import EmpathAVConfig


def emotion_prompts(
    config: EmpathAVConfig,
    input_ids: torch.LongTensor,
    attention_mask: torch.Tensor | None = None,
    present: torch.Tensor | None = None,
) -> tuple[list[list[int]], list[int]]:
    r"""
    Writes the fixed prompt around the last user turn of each row.

    Args:
        config ([`EmpathAVConfig`]): Holds the prompt, the placeholders and the ids that open and close a turn.
        input_ids, attention_mask (`torch.Tensor` of shape `(batch, length)`): What `generate` would read.
        present (`torch.Tensor` of shape `(clips,)`, *optional*): True where a clip has a stream; all by default.

    Returns:
        `tuple`: token ids of each row's prompt, and the indices of the clips whose vectors fill its placeholders.
    """
    if config.emotion_prompt_ids is None or config.emotion_label_ids is None:
        raise ValueError(
            "The configuration has no emotion_prompt_ids and emotion_label_ids, so emotions cannot be scored: "
            "assemble the checkpoint with `empathav assemble`, or set both from your tokenizer."
        )
    prompts, used, first_clip = [], [], 0
    slot = list(config.emotion_prompt_ids).index(config.av_token_id)
    before, after = list(config.emotion_prompt_ids[:slot]), list(config.emotion_prompt_ids[slot + 1 :])
    masks = [None] * len(input_ids) if attention_mask is None else attention_mask.tolist()
    for row, mask in zip(input_ids.tolist(), masks):
        row = row if mask is None else [token for token, real in zip(row, mask) if real]
        start, end = last_user_turn(config, row)
        turn = row[start:end]
        first = first_clip + row[:start].count(config.av_token_id) // config.num_query_tokens
        clips = range(first, first + turn.count(config.av_token_id) // config.num_query_tokens)
        clips = [clip for clip in clips if present is None or present[clip]]
        text = [token for token in turn if token not in (config.av_token_id, config.memory_token_id)]
        if text[:1] == before[-1:]:  # the line break after the marker, which the prompt brings itself
            text = text[1:]
        content = [config.av_token_id] * (len(clips) * config.num_query_tokens) if clips else text
        prompts.append(before + content + after)
        used += clips
        first_clip += row.count(config.av_token_id) // config.num_query_tokens
    return prompts, used


def last_user_turn(config: EmpathAVConfig, row: list[int]) -> tuple[int, int]:
    """Start and end of the last user turn, without what opens and closes it; the whole row where none is marked."""
    start = find_last(row, list(config.user_turn_ids))
    return start, start + find_first(row[start:], list(config.turn_end_ids))


def find_last(row: list[int], pattern: list[int]) -> int:
    """Where the last occurrence of `pattern` ends; 0 without one."""
    for start in range(len(row) - len(pattern), -1, -1):
        if pattern and row[start : start + len(pattern)] == pattern:
            return start + len(pattern)
    return 0


def find_first(row: list[int], pattern: list[int]) -> int:
    """Where the first occurrence of `pattern` starts; the length of the row without one."""
    for start in range(len(row) - len(pattern) + 1):
        if pattern and row[start : start + len(pattern)] == pattern:
            return start
    return len(row)


def label_prefixes(config: EmpathAVConfig) -> dict[tuple[int, ...], list[tuple[int, int, int]]]:
    """
    The label tokens by what precedes them: `{prefix: [(label, token, label length), ...]}`.

    Where every label is one token there is the empty prefix alone, and one forward scores all labels.
    """
    prefixes: dict[tuple[int, ...], list[tuple[int, int, int]]] = {}
    for label, tokens in enumerate(config.emotion_label_ids):
        for position, token in enumerate(tokens):
            prefixes.setdefault(tuple(tokens[:position]), []).append((label, token, len(tokens)))
    return prefixes


def emotion_pipeline() -> type:
    """The class of the checkpoint's pipeline; saving a checkpoint copies its file because it is named here."""
    from .emotion_pipeline_empathav import EmotionPipeline

    return EmotionPipeline
