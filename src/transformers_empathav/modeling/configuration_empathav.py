"""Configuration of EmpathAV: one language model, two frozen encoders, a Q-Former and a state-space compressor."""

import math

from transformers import AutoConfig, Blip2QFormerConfig, PreTrainedConfig
from transformers.configuration_utils import SubConfigSpec


EMOTION_LABELS = ("angry", "disgust", "fearful", "happy", "neutral", "sad", "surprised")

FACE_ARCHITECTURES = ("mini_xception", "residual")

# Fields by which some causal LMs transform their logits, and the value that means no transform. The head here is a
# plain matrix, so any other value is refused.
LOGIT_TRANSFORMS = {"final_logit_softcapping": None, "logits_scaling": 1.0, "logit_scale": 1.0}


class FaceEncoderConfig(PreTrainedConfig):
    r"""
    Configuration of [`FaceEncoder`]: the mini-Xception network for facial expressions (arXiv 1710.07557), or a
    residual network of plain convolutions.

    Args:
        architecture (`str`, *optional*, defaults to `"mini_xception"`):
            `"mini_xception"`, or `"residual"`: 3x3 convolutions with channel gates.
        image_size (`int`, *optional*, defaults to 64):
            Height and width, in pixels, to which faces are resized.
        num_channels (`int`, *optional*, defaults to 3):
            Channels of the input images: RGB.
        stem_channels (`int`, *optional*, defaults to 8):
            Output channels of the two plain convolutions at the entry.
        module_channels (`list[int]`, *optional*, defaults to `[16, 32, 64, 128]`):
            Output channels of the residual modules, each of which halves height and width.
        batch_norm_eps (`float`, *optional*, defaults to 1e-3):
            Epsilon of the batch normalisation layers.
        module_depths (`list[int]`, *optional*):
            Residual blocks in each module of `"residual"`, one each by default.
        standardize (`bool`, *optional*, defaults to `False`):
            Whether each face is brought to zero mean and unit spread before anything else.
        classifier_dropout (`float`, *optional*, defaults to 0.0):
            Share of channels dropped before the classifier in training.
    """

    model_type = "empathav_face"

    architecture: str = "mini_xception"
    image_size: int = 64
    num_channels: int = 3
    stem_channels: int = 8
    module_channels: list[int] | tuple[int, ...] = (16, 32, 64, 128)
    batch_norm_eps: float = 1e-3
    module_depths: list[int] | tuple[int, ...] | None = None
    standardize: bool = False
    classifier_dropout: float = 0.0

    def __post_init__(self, **kwargs):
        if self.architecture not in FACE_ARCHITECTURES:
            raise ValueError(
                f"The face encoder has no architecture {self.architecture!r}: take "
                f"{' or '.join(map(repr, FACE_ARCHITECTURES))}."
            )
        if self.module_depths is not None and len(self.module_depths) != len(self.module_channels):
            raise ValueError(
                f"module_depths names {len(self.module_depths)} modules and module_channels "
                f"{len(self.module_channels)}: give each module its depth and its channels."
            )
        if self.id2label is None:
            self.id2label = dict(enumerate(EMOTION_LABELS))
            self.label2id = {label: index for index, label in enumerate(EMOTION_LABELS)}
        super().__post_init__(**kwargs)

    @property
    def hidden_size(self) -> int:
        """Width of `last_hidden_state`: the output channels of the last residual module."""
        return self.module_channels[-1]

    @property
    def num_hidden_layers(self) -> int:
        """Number of residual modules."""
        return len(self.module_channels)


class EmpathAVConfig(PreTrainedConfig):
    r"""
    Configuration of [`EmpathAVForCausalLM`] (arXiv 2412.17572).

    Args:
        text_config (`PreTrainedConfig` or `dict`, *optional*):
            The language model: any causal LM that `AutoConfig` knows.
        audio_config (`PreTrainedConfig` or `dict`, *optional*):
            The frozen audio encoder: any that `AutoConfig` knows, Whisper by default. Of Whisper only the encoder is
            built.
        vision_config (`PreTrainedConfig` or `dict`, *optional*):
            The frozen vision encoder: any that `AutoConfig` knows, or [`FaceEncoderConfig`], the default.
        qformer_config (`PreTrainedConfig` or `dict`, *optional*):
            The Q-Former that attends to the outputs of both encoders, a `Blip2QFormerConfig`.
        compressor_config (`PreTrainedConfig` or `dict`, *optional*):
            The state-space network of the [`MambaCompressor`]: `mamba2` (default) or `mamba`.
        audio_pooling (`int`, *optional*, defaults to 4):
            Number of neighbouring audio tokens that are averaged into one before the Q-Former reads them. Whisper
            gives 50 tokens per second.
        pad_audio (`bool`, *optional*, defaults to `True`):
            Whether Whisper reads a clip in its window of 30 s, filled up with silence, as it was trained. Otherwise it
            reads the voice alone, without silence before and after it, which takes a fraction of the time. An
            extractor is trained with one or the other.
        num_query_tokens (`int`, *optional*, defaults to 8):
            Number of emotion vectors per clip.
        memory_tokens_per_utterance (`int`, *optional*, defaults to 4):
            Number of memory vectors per utterance of the history.
        carry_state (`bool`, *optional*, defaults to `True`):
            Whether the compressor's state goes on from one utterance to the next. Otherwise it reads each utterance by
            itself: what it keeps of one does not depend on how many came before. A compressor is trained with one or
            the other.
        av_token_id (`int`, *optional*, defaults to 0):
            Placeholder id in `input_ids` whose embedding an emotion vector replaces.
        memory_token_id (`int`, *optional*, defaults to 1):
            Placeholder id in `input_ids` whose embedding a memory vector replaces. In `history_input_ids` it is the
            read-out token, at which the compressor outputs a memory vector.
        emotion_labels (`list[str]`, *optional*):
            The seven emotions, in the order in which `predict_emotion` returns their probabilities.
        emotion_prompt_ids (`list[int]`, *optional*):
            Token ids of the prompt under which `predict_emotion` scores the labels. It holds `av_token_id` exactly
            once. That placeholder is replaced by the emotion vectors of the last user turn, or by its text if it has
            no clip.
        emotion_label_ids (`list[list[int]]`, *optional*):
            Token ids of each label as it continues that prompt, with its leading space.
        emotion_temperature (`float`, *optional*, defaults to 1.0):
            By what `predict_emotion` divides the scores of clips before they become probabilities: above 1 it is less
            sure. Found on speakers whom the extractor was not trained on. Scores of texts stay as they are.
        user_turn_ids (`list[int]`, *optional*):
            Token ids that open a user turn, to find the last one in `input_ids`. If empty, a row counts as user turn
            from its beginning.
        turn_end_ids (`list[int]`, *optional*):
            Token ids that close a turn.
        role_token_ids (`dict[str, list[int]]`, *optional*):
            Token ids of each role's name, with which an utterance of the history begins. The compressor finds the role
            of an utterance by them.
        compressor_fingerprint (`str`, *optional*):
            SHA-256 of the weights of the compressor and of the embeddings that it reads, written by `save_pretrained`.
            Memories carry it, so that another compressor refuses them.
        emotion_threshold (`float`, *optional*, defaults to 0.5):
            Probability from which a conversation counts the likeliest emotion as felt; below it is unsure.
        initializer_range (`float`, *optional*, defaults to 0.02):
            Standard deviation from which new weights are drawn.
    """

    model_type = "empathav"
    sub_configs_defaults = {
        "text_config": SubConfigSpec(config_class=AutoConfig, model_type="llama"),
        "audio_config": SubConfigSpec(config_class=AutoConfig, model_type="whisper"),
        "vision_config": SubConfigSpec(config_class=AutoConfig, model_type="vit"),
        "qformer_config": Blip2QFormerConfig,
        "compressor_config": SubConfigSpec(config_class=AutoConfig, model_type="mamba2"),
    }

    text_config: dict | PreTrainedConfig | None = None
    audio_config: dict | PreTrainedConfig | None = None
    vision_config: dict | PreTrainedConfig | None = None
    qformer_config: dict | PreTrainedConfig | None = None
    compressor_config: dict | PreTrainedConfig | None = None
    audio_pooling: int = 4
    pad_audio: bool = True
    num_query_tokens: int = 8
    memory_tokens_per_utterance: int = 4
    carry_state: bool = True
    av_token_id: int = 0
    memory_token_id: int = 1
    emotion_labels: list[str] | tuple[str, ...] = EMOTION_LABELS
    emotion_prompt_ids: list[int] | None = None
    emotion_label_ids: list[list[int]] | None = None
    emotion_temperature: float = 1.0
    user_turn_ids: list[int] | tuple[int, ...] = ()
    turn_end_ids: list[int] | tuple[int, ...] = ()
    role_token_ids: dict[str, list[int]] | None = None
    compressor_fingerprint: str | None = None
    emotion_threshold: float = 0.5
    initializer_range: float = 0.02

    def __post_init__(self, **kwargs):
        # When remote code is loaded without this package, AutoConfig does not know the type "empathav_face".
        if self.vision_config is None:
            self.vision_config = FaceEncoderConfig()
        elif isinstance(self.vision_config, dict) and self.vision_config.get("model_type") == "empathav_face":
            self.vision_config = FaceEncoderConfig(**self.vision_config)
        if self.qformer_config is None:
            self.qformer_config = default_qformer_config()
        derive_compressor = self.compressor_config is None
        super().__post_init__(**kwargs)
        if derive_compressor:
            self.compressor_config = default_compressor_config(self.text_config.hidden_size)
        self.tie_word_embeddings = getattr(self.text_config, "tie_word_embeddings", False)
        self.emotion_labels = list(self.emotion_labels)
        self.role_token_ids = self.role_token_ids or {}
        # save_pretrained would record the saved class alone. With the whole map here, model, configuration and
        # processor load by trust_remote_code whichever of them was saved.
        self.auto_map = {
            "AutoConfig": "configuration_empathav.EmpathAVConfig",
            "AutoModel": "modeling_empathav.EmpathAVForCausalLM",
            "AutoModelForCausalLM": "modeling_empathav.EmpathAVForCausalLM",
            "AutoProcessor": "processing_empathav.EmpathAVProcessor",
        }
        self.custom_pipelines = {
            "audio-visual-emotion": {
                "impl": "emotion_pipeline_empathav.EmotionPipeline",
                "pt": ["AutoModelForCausalLM"],
                "default": {},
                "type": "multimodal",
            }
        }
        self._check()

    def _check(self):
        if self.compressor_config.model_type not in ("mamba2", "mamba"):
            raise ValueError(
                f"compressor_config has the model type {self.compressor_config.model_type!r}; the compressor needs a "
                "state-space model whose state can be continued: use 'mamba2' or 'mamba'."
            )
        if self.av_token_id == self.memory_token_id:
            raise ValueError(
                f"av_token_id and memory_token_id are both {self.av_token_id}, but emotion and memory vectors need "
                "different placeholders: choose two token ids."
            )
        if max(self.av_token_id, self.memory_token_id) >= self.text_config.vocab_size:
            raise ValueError(
                f"The placeholders {self.av_token_id} and {self.memory_token_id} lie outside the vocabulary of "
                f"{self.text_config.vocab_size} tokens: resize the embeddings or take unused special tokens."
            )
        if self.emotion_prompt_ids is not None and list(self.emotion_prompt_ids).count(self.av_token_id) != 1:
            raise ValueError("emotion_prompt_ids must hold av_token_id exactly once, where the emotion vectors go.")
        if not self.emotion_temperature > 0:
            raise ValueError(
                f"emotion_temperature is {self.emotion_temperature}, which must be above 0: 1 changes nothing."
            )
        for name, neutral in LOGIT_TRANSFORMS.items():
            value = getattr(self.text_config, name, neutral)
            if value not in (neutral, None):
                raise ValueError(
                    f"The language model transforms its logits ({name}={value}), which EmpathAV would not reproduce: "
                    "choose a language model without it."
                )


def default_qformer_config() -> Blip2QFormerConfig:
    """A small Q-Former: two layers of width 256, each with cross-attention, without dropout."""
    return Blip2QFormerConfig(
        hidden_size=256,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=1024,
        cross_attention_frequency=1,
        encoder_hidden_size=256,
        initializer_range=0.0625,  # 256**-0.5; with the usual 0.02 so narrow a stack needs epochs to pass a signal on
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
    )


def default_compressor_config(hidden_size: int) -> PreTrainedConfig:
    """A four-layer Mamba-2 of width `hidden_size`, with heads of 64 channels where that divides evenly."""
    head_dim = math.gcd(2 * hidden_size, 64)
    return AutoConfig.for_model(
        "mamba2",
        hidden_size=hidden_size,
        num_hidden_layers=4,
        expand=2,
        head_dim=head_dim,
        num_heads=2 * hidden_size // head_dim,
        state_size=64,
        n_groups=1,
        chunk_size=64,
        use_bias=False,
        vocab_size=1,
        bos_token_id=None,
        eos_token_id=None,
        pad_token_id=None,
    )


EmpathAVConfig.register_for_auto_class()
