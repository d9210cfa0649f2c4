"""Words by which the frozen language model can be told how likely each emotion is; learned without any clip."""

import os

import torch
from safetensors.torch import load_file, save_file
from tqdm import trange

from .objective import EmotionTraining


STEP = 0.25  # how far a vector moves along a word for a log-odd of 1, in shares of the anchor's size


def learn_words(
    training: EmotionTraining,
    steps: int,
    batch_size: int = 32,
    learning_rate: float = 0.03,
    spread: float = 4.0,
    seed: int = 0,
) -> list[float]:
    r"""
    Learns a word for each label, and the anchor from which vectors lean towards them, and puts both in their places.

    The language model hardly follows a vector between two labels' embeddings. So distributions of the labels are drawn
    at random, vectors are written for them (the anchor, moved along each word by the label's log-odds), and words and
    anchor change until the distribution is what the language model says of the vectors, and what `nearest` says too.
    What an extractor then learns towards these words, the language model reads.

    Args:
        training ([`EmotionTraining`]): Its language model is asked and stays as it is.
        steps (`int`): Steps of Adam, with a cosine schedule.
        batch_size (`int`): Distributions of a step.
        learning_rate (`float`): In units of the size of the labels' embeddings.
        spread (`float`): Largest standard deviation of the log-odds that are drawn.
        seed (`int`): Of what is drawn.

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
        vectors = written(training, origin, words, odds)
        said, leaning = training.label_scores(vectors, clips), training.nearest(vectors, clips, words)
        losses = [
            torch.nn.functional.kl_div(one.log_softmax(dim=1), wanted, reduction="batchmean")
            for one in (said, leaning)
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


def written(training: EmotionTraining, anchor: torch.Tensor, words: torch.Tensor, odds: torch.Tensor) -> torch.Tensor:
    """Vectors `(rows, num_query_tokens, hidden)` that say log-odds `(rows, labels)`, as long as the extractor's."""
    directions = words - words.mean(dim=0)
    directions = directions / directions.square().mean(dim=1, keepdim=True).sqrt()
    vectors = anchor + STEP * (odds - odds.mean(dim=1, keepdim=True)) @ directions
    vectors = torch.nn.functional.rms_norm(vectors, vectors.shape[-1:]) * training.extractor.embedding_projection.scale
    return vectors[:, None].expand(-1, training.model.config.num_query_tokens, -1)


def save_words(training: EmotionTraining, path: str | os.PathLike):
    """Keeps words and anchor for a run that is resumed, and for the other processes."""
    anchor = training.extractor.embedding_projection.anchor.detach()
    save_file({"words": training.words.contiguous(), "anchor": anchor.contiguous()}, str(path))


def load_words(training: EmotionTraining, path: str | os.PathLike):
    """Takes what [`save_words`] kept."""
    found = load_file(str(path), device=str(training.words.device))
    training.words = found["words"]
    with torch.no_grad():
        training.extractor.embedding_projection.anchor.copy_(found["anchor"])
