"""Teaching the extractor: from its vectors alone, the frozen language model has to name the emotion."""

import torch
from torch import nn
from transformers import DynamicCache

from ...modeling.generation_empathav import label_prefixes
from ...modeling.modeling_empathav import EmpathAVForCausalLM
from .augmentation import drop_streams, mask_spans


class EmotionTraining(nn.Module):
    r"""
    The model as its trainer calls it: features in, scores of the labels out. Of the model the extractor alone learns,
    without its encoders.

    What stands before the emotion vectors in the fixed prompt never changes, so its keys and values are computed once.

    Args:
        model ([`EmpathAVForCausalLM`]): Its language model may be in a type of half the size.
        modality_dropout (`float`): Share of the clips with sound and frames that lose one of them in training.
        time_masking (`float`): Longest stretch of a clip's sound that is hidden in training, as a share of the clip.
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

    def forward(self, clips: torch.LongTensor, labels: torch.LongTensor | None = None, **media) -> torch.Tensor:
        r"""
        Args:
            clips (`torch.LongTensor` of shape `(rows,)`): How many clips, in reading order, belong to each row.
            labels (`torch.LongTensor` of shape `(rows,)`, *optional*): For the trainer.
            media: What [`EmotionCollator`] gives of the clips.

        Returns:
            `torch.Tensor` of shape `(rows, labels)`: scores as `EmpathAVForCausalLM.score_emotions` gives them.
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
        return self.label_scores(vectors, clips) if self.through_language_model else self.nearest(vectors, clips)

    def hide(self, share: float):
        """From now on training hides `share` of the encoders' channels and of their statistics."""
        for name in ("audio_mix", "vision_mix", "audio_statistics", "vision_statistics"):
            getattr(self.extractor, name).dropout.p = share

    @torch.no_grad()
    def begin(self):
        """
        Brings an untrained extractor to where learning begins: its vectors lie in the middle of the labels' words and
        move with what the clip shows, so that the language model takes them for words of that kind.
        """
        middle = self.words.mean(dim=0)
        self.extractor.open()
        projection = self.extractor.embedding_projection
        projection.linear.weight.mul_(0.3)
        projection.anchor.copy_(middle / middle.square().mean().sqrt())

    @torch.no_grad()
    def label_embeddings(self) -> torch.Tensor:
        """The language model's embeddings of the labels, `(labels, hidden)`; the mean of a label's tokens."""
        table = self.model.get_input_embeddings()
        tokens = [torch.tensor(ids, device=self.model.device) for ids in self.model.config.emotion_label_ids]
        return torch.stack([table(ids).float().mean(dim=0) for ids in tokens])

    def nearest(
        self, vectors: torch.Tensor, clips: torch.LongTensor, words: torch.Tensor | None = None
    ) -> torch.Tensor:
        """
        How far a row's vectors lean towards the word of each label: `(rows, labels)`.

        For the first epochs: it costs nothing. The words are the labels' own embeddings, or what `learn_words` has
        found in their place, `(labels, hidden)`, which the language model understands better.
        """
        words = self.words if words is None else words
        leaning = vectors.float().mean(dim=1) @ (words - words.mean(dim=0)).T
        row = torch.repeat_interleave(torch.arange(len(clips), device=clips.device), clips)
        return leaning.new_zeros(len(clips), len(words)).index_add(0, row, leaning) / clips[:, None]

    def label_scores(self, vectors: torch.Tensor, clips: torch.LongTensor) -> torch.Tensor:
        """`score_emotions` of the vectors `(clips, num_query_tokens, hidden)` under the fixed prompt."""
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
                past_key_values=self._prefix(len(rows)),
                av_embeds=vectors,
                use_cache=True,
            ).last_hidden_state
            log_probs = model.lm_head(hidden[:, -1]).float().log_softmax(dim=-1)
            for label, token, length in continuations:
                totals[:, label] = totals[:, label] + log_probs[:, token] / length
        return totals

    @torch.no_grad()
    def _prefix(self, rows: int) -> DynamicCache | None:
        """Keys and values of what stands before the vectors, for `rows` rows."""
        if not self.before:
            return None
        if self.prefix is None or self.prefix[0][0].device != self.model.device:
            ids = torch.tensor([self.before], device=self.model.device)
            cache = self.model.model(input_ids=ids, use_cache=True).past_key_values
            self.prefix = [(layer.keys, layer.values) for layer in cache.layers]
        cache = DynamicCache()
        for index, (keys, values) in enumerate(self.prefix):
            cache.update(keys.expand(rows, -1, -1, -1), values.expand(rows, -1, -1, -1), index)
        return cache
