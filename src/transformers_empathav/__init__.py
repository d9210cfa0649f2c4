"""Empathetic responses in audio-visual conversations, for the Hugging Face ecosystem."""

from transformers import AutoConfig, AutoModel, AutoModelForCausalLM, AutoProcessor
from transformers.pipelines import PIPELINE_REGISTRY

from .modeling.configuration_empathav import EMOTION_LABELS, EmpathAVConfig, FaceEncoderConfig
from .modeling.conversation_memory_empathav import ConversationMemory
from .modeling.emotion_extractor_empathav import AudioVisualEmotionExtractor
from .modeling.emotion_pipeline_empathav import EmotionPipeline
from .modeling.face_encoder_empathav import FaceEncoder
from .modeling.mamba_compressor_empathav import MambaCompressor
from .modeling.modeling_empathav import EmpathAVForCausalLM, EmpathAVModel
from .modeling.prompt_cache_empathav import PromptCache
from .processing.media_empathav import MediaError, MediaLimits
from .processing.processing_empathav import EmpathAVProcessor


__version__ = "0.1.0"

AutoConfig.register("empathav", EmpathAVConfig)
AutoConfig.register("empathav_face", FaceEncoderConfig)
AutoModel.register(FaceEncoderConfig, FaceEncoder)
# Users make one call and want to generate: both auto classes give the generating model.
AutoModel.register(EmpathAVConfig, EmpathAVForCausalLM)
AutoModelForCausalLM.register(EmpathAVConfig, EmpathAVForCausalLM)
AutoProcessor.register(EmpathAVConfig, EmpathAVProcessor)
PIPELINE_REGISTRY.register_pipeline(
    "audio-visual-emotion", pipeline_class=EmotionPipeline, pt_model=AutoModelForCausalLM, type="multimodal"
)

__all__ = [
    "EMOTION_LABELS",
    "AudioVisualEmotionExtractor",
    "ConversationMemory",
    "EmpathAVConfig",
    "EmpathAVForCausalLM",
    "EmpathAVModel",
    "EmpathAVProcessor",
    "FaceEncoder",
    "FaceEncoderConfig",
    "MambaCompressor",
    "MediaError",
    "MediaLimits",
    "PromptCache",
]
