"""A vector for each emotion that the frozen language model understands better than the label's own embedding."""

import logging
import os
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save
from tqdm import trange
from transformers import TrainingArguments

from ...modeling.file_writing_empathav import write_file
from ..arguments import resumes
from .objective import EmotionTraining


logger = logging.getLogger(__name__)

WORDS_FILE = "words.safetensors"
STEP = 0.25  # how far a vector moves along a word for a log-odd of 1, in shares of the anchor's size


def find_words(training: EmotionTraining, steps: int, arguments: TrainingArguments):
    r"""
    Learns words ([`learn_words`]) before the first training, or takes those of the run that is resumed. No clip takes
    part, so all folds may share them. They are kept in `words.safetensors` in the output directory, from which all
    processes read them.

    Args:
        training ([`EmotionTraining`]): Gets the words.
        steps (`int`): Steps of `learn_words`; 0 keeps the labels' own embeddings.
        arguments (`TrainingArguments`): Names the output directory, the device, the seed, and whether to resume.
    """
    if not steps:
        return
    path = Path(arguments.output_dir) / WORDS_FILE
    training.to(arguments.device)
    with arguments.main_process_first(local=False, desc="words"):
        if arguments.process_index == 0 and not (resumes(arguments) and path.is_file()):
            divergences = learn_words(training, steps, seed=arguments.seed)
            logger.info(f"words: the language model is off by {np.mean(divergences[-10:]):.3f} nats")
            path.parent.mkdir(parents=True, exist_ok=True)
            save_words(training, path)
        load_words(training, path)


def learn_words(
    training: EmotionTraining,
    steps: int,
    batch_size: int = 32,
    learning_rate: float = 0.03,
    spread: float = 4.0,
    seed: int = 0,
) -> list[float]:
    r"""
    Learns a vector for each label, its word, and the anchor between the words. Call it before training, after
    [`EmotionTraining.start_at_labels`]; the words replace `training.words` and the anchor that of the extractor.

    The language model hardly follows a vector between the embeddings of two labels. Here distributions over the labels
    are drawn at random, and a vector is made for each: the anchor, moved along each word by the label's log-odds.
    Words and anchor are trained until the language model, reading the vector, gives back the distribution, and
    `word_scores` does too. The language model then reads what an extractor learns by `word_scores`.

    Args:
        training ([`EmotionTraining`]): Its language model is asked and stays as it is.
        steps (`int`): Steps of Adam, with a cosine schedule.
        batch_size (`int`, *optional*, defaults to 32): Distributions of a step.
        learning_rate (`float`, *optional*, defaults to 0.03): In units of the size of the labels' embeddings.
        spread (`float`, *optional*, defaults to 4.0): Largest standard deviation of the log-odds that are drawn.
        seed (`int`, *optional*, defaults to 0): Of what is drawn.

    Returns:
        `list[float]`: for each step the Kullback-Leibler divergence, in nats, of what the language model says from the
        distributions that were drawn.
    """
    generator = torch.Generator().manual_seed(seed)
    anchor = training.extractor.embedding_projection.anchor
    words, origin = training.words.clone().requires_grad_(), anchor.detach().clone().requires_grad_()
    size = float(words.detach().square().mean().sqrt())
    optimizer = torch.optim.Adam([words, origin], lr=learning_rate * size)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    clips, divergences = torch.ones(batch_size, dtype=torch.long, device=words.device), []
    for _ in (progress := trange(steps, desc="words", mininterval=1.0)):
        odds = torch.randn(batch_size, len(words), generator=generator) * spread
        odds = (odds * torch.rand(batch_size, 1, generator=generator)).to(words.device)
        wanted = odds.softmax(dim=1)
        vectors = vectors_for(training, origin, words, odds)
        losses = [
            torch.nn.functional.kl_div(scores.log_softmax(dim=1), wanted, reduction="batchmean")
            for scores in (training.label_scores(vectors, clips), training.word_scores(vectors, clips, words))
        ]
        optimizer.zero_grad()
        sum(losses).backward()
        optimizer.step()
        schedule.step()
        divergences.append(float(losses[0].detach()))
        progress.set_postfix(divergence=f"{divergences[-1]:.3f}")
    training.words = words.detach()
    with torch.no_grad():
        anchor.copy_(origin)
    return divergences


def vectors_for(
    training: EmotionTraining, anchor: torch.Tensor, words: torch.Tensor, odds: torch.Tensor
) -> torch.Tensor:
    """Vectors `(rows, num_query_tokens, hidden)` for log-odds `(rows, labels)`, of the norm of the extractor's."""
    vectors = anchor + STEP * (odds - odds.mean(dim=1, keepdim=True)) @ directions_of(words)
    vectors = torch.nn.functional.rms_norm(vectors, vectors.shape[-1:]) * training.extractor.embedding_projection.scale
    return vectors[:, None].expand(-1, training.model.config.num_query_tokens, -1)


def directions_of(words: torch.Tensor) -> torch.Tensor:
    """Where each word lies from their mean, `(labels, hidden)`, with a root mean square of 1."""
    directions = words - words.mean(dim=0)
    return directions / directions.square().mean(dim=1, keepdim=True).sqrt()


def save_words(training: EmotionTraining, path: str | os.PathLike):
    """Writes words and anchor to a safetensors file."""
    anchor = training.extractor.embedding_projection.anchor.detach()
    write_file(path, save({"words": training.words.contiguous(), "anchor": anchor.contiguous()}))


def load_words(training: EmotionTraining, path: str | os.PathLike):
    """Reads words and anchor that [`save_words`] wrote."""
    found = load_file(str(path), device=str(training.words.device))
    training.words = found["words"]
    with torch.no_grad():
        training.extractor.embedding_projection.anchor.copy_(found["anchor"])
