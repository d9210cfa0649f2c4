"""Audio-Visual Emotion Extractor: turns a clip's voice and face into vectors that the language model reads."""

import torch
from torch import nn
from torch.nn.utils.rnn import pad_sequence
from transformers import AutoModel, PreTrainedConfig, PreTrainedModel
from transformers import initialization as init
from transformers.models.whisper.modeling_whisper import WhisperEncoder

from .configuration_empathav import EmpathAVConfig, FaceEncoderConfig
from .face_encoder_empathav import FaceEncoder
from .layers_empathav import EmbeddingProjection, LayerMix, LayerStatistics, sinusoids
from .precision_empathav import KeepsFloat32
from .voice_span_empathav import voice_alone


# Index into `source_embedding`: which stream a token of the Q-Former's input comes from.
NOTHING, AUDIO, VIDEO = range(3)


def build_encoder(config: PreTrainedConfig) -> PreTrainedModel:
    """Builds the encoder of a config: Whisper's without its decoder, [`FaceEncoder`], or any `AutoModel`."""
    if config.model_type == FaceEncoderConfig.model_type:  # by name: with remote code the class may exist twice
        return FaceEncoder._from_config(config)
    if config.model_type == "whisper":
        return WhisperEncoder._from_config(config)
    return AutoModel.from_config(config)


class AudioVisualEmotionExtractor(KeepsFloat32, PreTrainedModel):
    r"""
    Turns clips into emotion vectors: two frozen encoders, and a Q-Former whose learnable queries attend to both (arXiv
    2412.17572; Q-Former: arXiv 2301.12597).

    A clip may have sound, frames, both or neither. Missing streams are masked out of the cross-attention. One learned
    token is always visible, so a clip without any stream has defined vectors too. Beside the Q-Former, statistics of
    the whole clip are added to the output of each query, see [`LayerStatistics`].

    Args:
        config ([`EmpathAVConfig`]): The configuration of the whole model.
    """

    config: EmpathAVConfig
    base_model_prefix = "extractor"
    main_input_name = "input_features"
    input_modalities = ("audio", "video")
    _supports_sdpa = True
    _no_split_modules = ["AudioVisualEmotionExtractor"]  # its streams meet in one Q-Former
    # In bfloat16 Whisper's output changes by a tenth, and a channel's mean may be many times its standard deviation.
    _keep_in_fp32_modules_strict = [
        "audio_tower", "vision_tower", "channel_shift", "channel_scale",
        "audio_statistics.limit", "vision_statistics.limit",
    ]  # fmt: skip

    def __init__(self, config: EmpathAVConfig):
        super().__init__(config)
        width = config.qformer_config.encoder_hidden_size
        # Built in float32 whatever the default dtype: weights on disk (`device_map`) are read in the dtype built with.
        self.audio_tower = build_encoder(config.audio_config).float().requires_grad_(False)
        self.vision_tower = build_encoder(config.vision_config).float().requires_grad_(False)
        self.audio_mix = LayerMix(config.audio_config.num_hidden_layers + 1, config.audio_config.hidden_size)
        # The convolutional face encoder widens from layer to layer, so only its last feature map is used.
        equal_width = config.vision_config.model_type != FaceEncoderConfig.model_type
        layers = config.vision_config.num_hidden_layers + 1 if equal_width else 1
        self.vision_mix = LayerMix(layers, config.vision_config.hidden_size)
        read_width = config.qformer_config.hidden_size
        self.audio_statistics = LayerStatistics(
            len(self.audio_mix.logits), config.audio_config.hidden_size, read_width
        )
        self.vision_statistics = LayerStatistics(layers, config.vision_config.hidden_size, read_width)
        self.audio_projection = nn.Sequential(
            nn.LayerNorm(config.audio_config.hidden_size), nn.Linear(config.audio_config.hidden_size, width)
        )
        self.vision_projection = nn.Sequential(
            nn.LayerNorm(config.vision_config.hidden_size), nn.Linear(config.vision_config.hidden_size, width)
        )
        self.source_embedding = nn.Embedding(3, width)
        self.queries = nn.Embedding(config.num_query_tokens, config.qformer_config.hidden_size)
        self.qformer = AutoModel.from_config(config.qformer_config)
        self.embedding_projection = EmbeddingProjection(
            config.qformer_config.hidden_size, config.text_config.hidden_size, config.text_config.initializer_range
        )
        self.post_init()

    @torch.no_grad()
    def _init_weights(self, module: nn.Module):
        if isinstance(module, EmbeddingProjection):
            module.reset(std=0.1 * self.config.initializer_range)
        elif isinstance(module, LayerMix | LayerStatistics):
            module.reset()
        elif isinstance(module, nn.Linear):
            init.normal_(module.weight, std=module.in_features**-0.5)
            init.zeros_(module.bias)
        elif isinstance(module, nn.Embedding):
            init.normal_(module.weight, std=0.1 if module is self.source_embedding else 1.0)
        elif isinstance(module, nn.LayerNorm):
            init.ones_(module.weight)
            init.zeros_(module.bias)

    @torch.no_grad()
    def open(self):
        """
        Scales up the output projection. Call once before training: a fresh extractor otherwise returns nearly the same
        vector for every clip.
        """
        weight = self.embedding_projection.linear.weight
        self.embedding_projection.open(gain=float(weight.shape[1] ** -0.5 / weight.float().std()))

    def encode_audio(
        self, input_features: torch.Tensor, input_features_mask: torch.Tensor | None = None
    ) -> torch.Tensor:
        """
        Runs the frozen audio encoder. Features kept from here can be passed to `forward` as `audio_features`.

        Args:
            input_features (`torch.Tensor` of shape `(clips, mel, frames)` or as the feature extractor gives it):
                Output of the feature extractor.
            input_features_mask (`torch.Tensor` of shape `(clips, frames)`, *optional*):
                1 where a frame is not padding. Whisper encodes its whole window of 30 s, or, where `config.pad_audio`
                is false, the voice of each clip by itself ([`voice_alone`]); its tokens are then cut to the longest
                sound. Other encoders read each sound without its padding. Either way the features of a clip do not
                depend on the rest of the batch.

        Returns:
            `torch.Tensor` of shape `(clips, layers, tokens, width)`: hidden states of all layers.
        """
        return self.hear(input_features, input_features_mask)[0]

    def hear(self, inputs: torch.Tensor, mask: torch.Tensor | None = None) -> tuple[torch.Tensor, torch.Tensor | None]:
        """As `encode_audio`, with a mask over the tokens, or over frames of the same duration."""
        if mask is not None and self.config.audio_config.model_type == "whisper":
            if not self.config.pad_audio:
                inputs, mask = voice_alone(inputs, mask)
            frames = heard_frames(mask)
            if self.config.pad_audio:
                states = self._run_tower(self.audio_tower, inputs, all_layers=True)[:, :, : frames // 2]
            else:
                states = self._hear_each(inputs, mask, frames // 2)
            return states, mask[:, :frames]
        if mask is None or mask.shape[1] != inputs.shape[1]:
            return self._run_tower(self.audio_tower, inputs, all_layers=True), mask
        # One by one, without padding: many encoders hear it, with an attention mask or without.
        tokens, heard = [], []
        for sound, real in zip(inputs, mask.to(inputs.device).bool()):
            nothing = (len(self.audio_mix.logits), 1, self.config.audio_config.hidden_size)
            states = torch.zeros(nothing, dtype=self.queries.weight.dtype, device=inputs.device)
            if real.any():
                (states,) = self._run_tower(self.audio_tower, sound[real][None], all_layers=True)
            tokens.append(states.transpose(0, 1))
            heard.append(real.any().expand(states.shape[1]))
        return pad_sequence(tokens, batch_first=True).transpose(1, 2), pad_sequence(heard, batch_first=True)

    def _hear_each(self, inputs: torch.Tensor, mask: torch.Tensor, tokens: int) -> torch.Tensor:
        """Hidden states of Whisper, which reads each sound without the rest of its window, padded to `tokens`."""
        clips = []
        for clip, real in zip(inputs.split(1), mask.split(1)):
            layers = self._run_tower(self.audio_tower, clip[..., : heard_frames(real)], all_layers=True)
            clips.append(nn.functional.pad(layers, (0, 0, 0, tokens - layers.shape[2])))
        return torch.cat(clips)

    def encode_video(self, pixel_values_videos: torch.Tensor) -> torch.Tensor:
        """
        Runs the frozen vision encoder. Features kept from here can be passed to `forward` as `video_features`.

        Args:
            pixel_values_videos (`torch.Tensor` of shape `(clips, frames, 3, height, width)`): Sampled frames.

        Returns:
            `torch.Tensor` of shape `(clips, layers, frames, patches, width)`: hidden states of all layers; of
                [`FaceEncoder`] the last alone.
        """
        clips, frames = pixel_values_videos.shape[:2]
        features = self._run_tower(
            self.vision_tower, pixel_values_videos.flatten(0, 1), all_layers=len(self.vision_mix.logits) > 1
        )
        return features.unflatten(0, (clips, frames)).transpose(1, 2)

    def _run_tower(self, tower: PreTrainedModel, inputs: torch.Tensor, all_layers: bool) -> torch.Tensor:
        trainable = any(parameter.requires_grad for parameter in tower.parameters())
        with torch.set_grad_enabled(trainable and torch.is_grad_enabled()):
            if not self.config.pad_audio and isinstance(tower, WhisperEncoder):
                layers = whisper_layers(tower, inputs.to(tower.dtype))
            else:
                outputs = tower(inputs.to(tower.dtype), output_hidden_states=all_layers, return_dict=True)
                layers = outputs.hidden_states if all_layers else (outputs.last_hidden_state,)
        return torch.stack(layers, dim=1).to(self.queries.weight.dtype)

    def forward(
        self,
        input_features: torch.Tensor | None = None,
        audio_mask: torch.Tensor | None = None,
        input_features_mask: torch.Tensor | None = None,
        pixel_values_videos: torch.Tensor | None = None,
        video_mask: torch.Tensor | None = None,
        audio_features: torch.Tensor | None = None,
        video_features: torch.Tensor | None = None,
    ) -> torch.Tensor:
        r"""
        Args:
            input_features (`torch.Tensor` of shape `(clips, mel, frames)`, *optional*):
                Audio features, input of the audio encoder, or samples where it reads those; zeros for a clip without
                sound.
            audio_mask (`torch.Tensor` of shape `(clips,)`, *optional*):
                1 where the clip has sound; all clips by default.
            input_features_mask (`torch.Tensor` of shape `(clips, frames)`, *optional*):
                1 where a frame is not padding; all frames by default.
            pixel_values_videos (`torch.Tensor` of shape `(clips, frames, 3, height, width)`, *optional*):
                Sampled frames, input of the vision encoder; zeros for a clip without frames.
            video_mask (`torch.Tensor` of shape `(clips,)`, *optional*):
                1 where the clip has frames; all clips by default.
            audio_features, video_features (`torch.Tensor`, *optional*):
                Outputs of `encode_audio` and `encode_video`, in place of the encoders' inputs. Cut
                `input_features_mask` to the same duration; it may be per frame or per token.

        Returns:
            `torch.Tensor` of shape `(clips, num_query_tokens, text_hidden_size)`: the emotion vectors.

        Raises:
            `ValueError`: If neither stream is given, or the streams differ in their number of clips.
        """
        if input_features is not None:
            audio_features, input_features_mask = self.hear(input_features, input_features_mask)
        if pixel_values_videos is not None:
            video_features = self.encode_video(pixel_values_videos)
        if audio_features is None and video_features is None:
            raise ValueError(
                "The extractor was given neither sound nor frames: pass input_features or pixel_values_videos."
            )
        stream = audio_features if audio_features is not None else video_features
        clips, device = len(stream), stream.device

        # Embeddings are called, not read: offloaded weights are there only within their own module's forward pass.
        sources = self.source_embedding(torch.arange(3, device=device))
        nothing = sources[NOTHING].expand(clips, 1, -1)
        tokens, visible, whole = [nothing], [torch.ones(clips, 1, dtype=torch.bool, device=device)], []
        if audio_features is not None:
            given = self._stream_mask(audio_mask, clips, device)
            heard = given & frame_mask(input_features_mask, audio_features)
            mixed, pooled = pool(self.audio_mix(audio_features), heard, self.config.audio_pooling)
            tokens.append(self.audio_projection(mixed) + sources[AUDIO])
            visible.append(pooled)
            whole.append(self.audio_statistics(audio_features, heard) * heard.any(dim=1, keepdim=True))
        if video_features is not None:
            given = self._stream_mask(video_mask, clips, device)
            frames, patches = video_features.shape[2:4]
            flat = video_features.flatten(2, 3)
            mixed = self.vision_mix(flat).unflatten(1, (frames, patches))
            face = self.vision_projection(mixed) + sources[VIDEO]
            order = sinusoids(torch.arange(frames, device=device), face.shape[-1])
            tokens.append((face + order.to(face)[:, None]).flatten(1, 2))
            visible.append(given.expand(clips, frames * patches))
            whole.append(self.vision_statistics(flat, visible[-1]) * given)
        if len({stream.shape[0] for stream in tokens}) > 1:
            raise ValueError(
                "Sound and frames are of different numbers of clips: give one row of each per clip, with zeros and "
                "audio_mask or video_mask 0 where a stream is missing."
            )
        queries = self.queries(torch.arange(self.config.num_query_tokens, device=device)).expand(clips, -1, -1)
        read = self.qformer(
            query_embeds=queries,
            encoder_hidden_states=torch.cat(tokens, dim=1),
            encoder_attention_mask=torch.cat(visible, dim=1).long(),
        ).last_hidden_state
        return self.embedding_projection(read + sum(whole)[:, None])

    @staticmethod
    def _stream_mask(mask: torch.Tensor | None, clips: int, device: torch.device) -> torch.Tensor:
        if mask is None:
            return torch.ones(clips, 1, dtype=torch.bool, device=device)
        return mask.to(device).bool()[:, None]


def whisper_layers(tower: WhisperEncoder, input_features: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """All hidden states of Whisper's encoder for sound of any length. Its own `forward` takes full windows alone."""
    hidden = nn.functional.gelu(tower.conv2(nn.functional.gelu(tower.conv1(input_features)))).transpose(1, 2)
    layers = [hidden + tower.embed_positions(torch.arange(hidden.shape[1], device=hidden.device))]
    for layer in tower.layers:
        layers.append(layer(layers[-1], None))
    return (*layers[:-1], tower.layer_norm(layers[-1]))


def heard_frames(mask: torch.Tensor) -> int:
    """Number of input frames of the longest sound in a batch, rounded up to an even number."""
    frames = int(mask.long().sum(dim=1).max())
    return max(frames + frames % 2, 2)


def frame_mask(mask: torch.Tensor | None, encoded: torch.Tensor) -> torch.Tensor:
    """Resamples a mask over input frames to the tokens of the encoder's output `(clips, ..., tokens, width)`."""
    clips, length = encoded.shape[0], encoded.shape[-2]
    if mask is None:
        return torch.ones(clips, length, dtype=torch.bool, device=encoded.device)
    position = torch.arange(length, device=encoded.device) * mask.shape[1] // length
    return mask.to(encoded.device).bool()[:, position]


def pool(tokens: torch.Tensor, mask: torch.Tensor, size: int) -> tuple[torch.Tensor, torch.Tensor]:
    """
    Averages every `size` neighbouring tokens, leaving out those that are masked.

    Args:
        tokens (`torch.Tensor` of shape `(clips, tokens, width)`): Tokens to pool.
        mask (`torch.Tensor` of shape `(clips, tokens)`): True where a token counts.
        size (`int`): Number of tokens that become one.

    Returns:
        `tuple(torch.Tensor, torch.Tensor)`: the means, and a mask that is true where any of their tokens counted.
    """
    missing = -tokens.shape[1] % size
    tokens = nn.functional.pad(tokens, (0, 0, 0, missing)).unflatten(1, (-1, size))
    mask = nn.functional.pad(mask, (0, missing)).unflatten(1, (-1, size))
    total = torch.where(mask[..., None], tokens, 0).sum(dim=2)
    return total / mask.sum(dim=2, keepdim=True).clamp(min=1), mask.any(dim=2)
