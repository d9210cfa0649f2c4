"""What the extractor is trained for: from its vectors alone, the frozen language model has to name the emotion."""

import torch
from torch import nn
from transformers import DynamicCache

from ...modeling.generation_empathav import CACHE, label_prefixes
from ...modeling.modeling_empathav import EmpathAVForCausalLM
from .augmentation import drop_streams, mask_spans


class EmotionTraining(nn.Module):
    r"""
    The module that [`EmotionTrainer`] trains: frozen features in, scores of the labels out. It freezes the model but
    for the extractor without its encoders, whose weights it brings to float32.

    What stands before the emotion vectors in the fixed prompt never changes, so its keys and values are computed once.

    Args:
        model ([`EmpathAVForCausalLM`]): Its language model may be in bfloat16.
        modality_dropout (`float`, *optional*, defaults to 0.0):
            Share of the clips with sound and frames that lose one of them in training.
        time_masking (`float`, *optional*, defaults to 0.0):
            Longest stretch of a clip's sound that is hidden in training, as a share of the clip.

    Attributes:
        words (`torch.Tensor` of shape `(labels, hidden)`):
            A vector for each label, in the language model's embedding space. At first the labels' own embeddings;
            [`learn_words`] finds some that the language model understands better.
        through_language_model (`bool`):
            Whether `forward` asks the language model ([`EmotionTraining.label_scores`]) or compares vectors with
            `words` ([`EmotionTraining.word_scores`]). The trainer sets it.

    Raises:
        `ValueError`: the configuration has no emotion prompt.
    """

    def __init__(self, model: EmpathAVForCausalLM, modality_dropout: float = 0.0, time_masking: float = 0.0):
        super().__init__()
        self.model = model.requires_grad_(False)
        self.modality_dropout, self.time_masking = modality_dropout, time_masking
        self.through_language_model = True
        for name, parameter in self.extractor.float().named_parameters():
            parameter.requires_grad_("_tower." not in name)
        config = model.config
        if config.emotion_prompt_ids is None or config.emotion_label_ids is None:
            raise ValueError(
                "The configuration has no emotion_prompt_ids and emotion_label_ids, so there is no prompt to learn "
                "under: assemble the checkpoint with `empathav assemble`."
            )
        slot = list(config.emotion_prompt_ids).index(config.av_token_id)
        self.before, self.after = list(config.emotion_prompt_ids[:slot]), list(config.emotion_prompt_ids[slot + 1 :])
        self.prefix = None
        self.register_buffer("words", self.label_embeddings(), persistent=False)

    @property
    def extractor(self) -> nn.Module:
        return self.model.model.extractor

    def forward(
        self,
        clips: torch.LongTensor,
        labels: torch.LongTensor | None = None,
        targets: torch.Tensor | None = None,
        competing: torch.Tensor | None = None,
        **media,
    ) -> torch.Tensor:
        r"""
        Args:
            clips (`torch.LongTensor` of shape `(rows,)`): How many clips, in reading order, belong to each row.
            labels, targets, competing (`torch.Tensor`, *optional*): Read by the trainer alone.
            media: Features and masks of the clips, as [`EmotionCollator`] gives them.

        Returns:
            `torch.Tensor` of shape `(rows, labels)`: scores as `EmpathAVForCausalLM.score_emotions` gives them; see
            [`EmotionTraining.probabilities`].
        """
        for name in ("audio_features", "video_features"):
            if name in media:
                media[name] = media[name].to(self.extractor.queries.weight.dtype)
        if self.training:
            if self.modality_dropout:
                streams = drop_streams(media["audio_mask"], media["video_mask"], self.modality_dropout)
                media["audio_mask"], media["video_mask"] = streams
            if self.time_masking and "input_features_mask" in media:
                media["input_features_mask"] = mask_spans(media["input_features_mask"], self.time_masking)
        vectors = self.extractor(**media)
        return self.label_scores(vectors, clips) if self.through_language_model else self.word_scores(vectors, clips)

    def probabilities(self, scores: torch.Tensor) -> torch.Tensor:
        """What `predict_emotion` gives for scores `(rows, labels)`."""
        return (scores / self.model.config.emotion_temperature).softmax(dim=-1)

    def set_feature_dropout(self, share: float):
        """Hides `share` of the encoders' channels, and of their statistics, in training. Call before a training."""
        for name in ("audio_mix", "vision_mix", "audio_statistics", "vision_statistics"):
            getattr(self.extractor, name).dropout.p = share

    @torch.no_grad()
    def start_at_labels(self):
        """
        Scales up the output projection and moves its anchor to the mean of the labels' embeddings. Call once before
        training a fresh extractor, which otherwise returns nearly the same vector for every clip.
        """
        middle = self.words.mean(dim=0)
        self.extractor.open()
        projection = self.extractor.embedding_projection
        projection.linear.weight.mul_(0.3)
        projection.anchor.copy_(middle / middle.square().mean().sqrt())

    @torch.no_grad()
    def label_embeddings(self) -> torch.Tensor:
        """The language model's embedding of each label, `(labels, hidden)`; the mean over a label's tokens."""
        table = self.model.get_input_embeddings()
        tokens = [torch.tensor(ids, device=self.model.device) for ids in self.model.config.emotion_label_ids]
        return torch.stack([table(ids).float().mean(dim=0) for ids in tokens])

    def word_scores(
        self, vectors: torch.Tensor, clips: torch.LongTensor, words: torch.Tensor | None = None
    ) -> torch.Tensor:
        """
        Scores `(rows, labels)` without the language model: the inner product of a row's mean vector with the word of
        each label, centred over the labels. Used in the epochs of `warmup_epochs`, where it costs next to nothing.

        Args:
            vectors (`torch.Tensor` of shape `(clips, num_query_tokens, hidden)`): Of the extractor.
            clips (`torch.LongTensor` of shape `(rows,)`): How many clips belong to each row.
            words (`torch.Tensor` of shape `(labels, hidden)`, *optional*): `self.words` by default.
        """
        words = self.words if words is None else words
        leaning = vectors.float().mean(dim=1) @ (words - words.mean(dim=0)).T
        row = torch.repeat_interleave(torch.arange(len(clips), device=clips.device), clips)
        return leaning.new_zeros(len(clips), len(words)).index_add(0, row, leaning) / clips[:, None]

    def label_scores(self, vectors: torch.Tensor, clips: torch.LongTensor) -> torch.Tensor:
        """
        Scores `(rows, labels)` of the language model, which reads a row's vectors under the fixed prompt: the mean
        log-probability of each label's tokens, as in `EmpathAVForCausalLM.score_emotions`.

        Args:
            vectors (`torch.Tensor` of shape `(clips, num_query_tokens, hidden)`): Of the extractor.
            clips (`torch.LongTensor` of shape `(rows,)`): How many clips belong to each row.
        """
        model, config = self.model, self.model.config
        totals = torch.zeros(len(clips), len(config.emotion_labels), device=vectors.device)
        for prefix, continuations in label_prefixes(config).items():
            after = self.after + list(prefix)
            rows = [[config.av_token_id] * (count * config.num_query_tokens) + after for count in clips.tolist()]
            width = max(map(len, rows))
            padding = [width - len(row) for row in rows]
            ids = torch.tensor([after[-1:] * pad + row for pad, row in zip(padding, rows)], device=vectors.device)
            mask = torch.tensor([[0] * pad + [1] * len(row) for pad, row in zip(padding, rows)], device=vectors.device)
            mask = torch.cat([mask.new_ones(len(rows), len(self.before)), mask], dim=1)
            hidden = model.model(
                input_ids=ids,
                attention_mask=mask,
                position_ids=(mask.cumsum(dim=1) - 1)[:, len(self.before) :],
                av_embeds=vectors,
                use_cache=True,
                **{CACHE: self._prefix(len(rows))},
            ).last_hidden_state
            log_probs = model.lm_head(hidden[:, -1]).float().log_softmax(dim=-1)
            for label, token, length in continuations:
                totals[:, label] = totals[:, label] + log_probs[:, token] / length
        return totals

    @torch.no_grad()
    def _prefix(self, rows: int) -> DynamicCache | None:
        """Keys and values of what stands before the vectors in the prompt, repeated for `rows` rows."""
        if not self.before:
            return None
        if self.prefix is None or self.prefix[0][0].device != self.model.device:
            ids = torch.tensor([self.before], device=self.model.device)
            cache = self.model.model(input_ids=ids, use_cache=True)[CACHE]
            self.prefix = [(layer.keys, layer.values) for layer in cache.layers]
        cache = DynamicCache()
        for index, (keys, values) in enumerate(self.prefix):
            cache.update(keys.expand(rows, -1, -1, -1), values.expand(rows, -1, -1, -1), index)
        return cache
