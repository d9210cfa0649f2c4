"""
The tests that transformers has for its own models and processors, on ours. They are in no package, so they run apart:

    git clone --depth 1 --branch v5.23.0 https://github.com/huggingface/transformers build/transformers
    PYTHONPATH=build/transformers .venv/bin/python tests/modeling/common_mixins.py
"""

import unittest

import torch
from tests.generation.test_utils import GenerationTesterMixin
from tests.test_modeling_common import ModelTesterMixin
from tests.test_processing_common import ProcessorTesterMixin
from transformers import LlamaConfig, WhisperFeatureExtractor
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES, MODEL_MAPPING_NAMES

from transformers_empathav import EmpathAVForCausalLM, EmpathAVModel, EmpathAVProcessor
from transformers_empathav.testing.tiny import tiny_config, tiny_processor


# By these names the tests know which class returns a loss.
MODEL_MAPPING_NAMES["empathav"] = "EmpathAVModel"
MODEL_FOR_CAUSAL_LM_MAPPING_NAMES["empathav"] = "EmpathAVForCausalLM"

PLACEHOLDERS, VOCABULARY = (8, 9), 12_000  # so many that ids which the tests draw at random are no placeholders


class Tester:
    """Makes the configuration and the inputs, with a clip in each row or without."""

    batch_size, seq_length, is_training = 7, 12, True
    num_hidden_layers, num_attention_heads, hidden_size = 2, 4, 32

    def __init__(self, clips: bool):
        self.clips, self.processor = clips, tiny_processor()

    def get_config(self):
        text = LlamaConfig(
            vocab_size=VOCABULARY,
            hidden_size=32,
            intermediate_size=64,
            num_hidden_layers=2,
            num_attention_heads=4,
            num_key_value_heads=2,
            max_position_embeddings=64,
            tie_word_embeddings=True,
        )
        places = dict(zip(("av_token_id", "memory_token_id"), PLACEHOLDERS))
        return tiny_config(self.processor, text_config=text, emotion_prompt_ids=None, **places)

    def prepare_config_and_inputs_for_common(self):
        config = self.get_config()
        ids = torch.randint(10, VOCABULARY, (self.batch_size, self.seq_length))
        inputs = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
        if self.clips:
            ids[:, 2 : 2 + config.num_query_tokens] = config.av_token_id
            inputs["input_features"] = torch.randn(self.batch_size, 8, 200)
        return config, inputs


class EmpathAVTextTest(ModelTesterMixin, GenerationTesterMixin, unittest.TestCase):
    all_model_classes = (EmpathAVModel, EmpathAVForCausalLM)
    test_all_params_have_gradient = False  # extractor and compressor read nothing here
    _is_composite = True

    def setUp(self):
        self.model_tester = Tester(clips=False)


class EmpathAVClipTest(ModelTesterMixin, unittest.TestCase):
    all_model_classes = (EmpathAVModel, EmpathAVForCausalLM)
    additional_model_inputs = ["input_features"]
    test_all_params_have_gradient = False  # nothing for the compressor, and no face
    _is_composite = True

    def setUp(self):
        self.model_tester = Tester(clips=True)

    @unittest.skip("Clips beside inputs_embeds are an error: model.prompt_embeds places their vectors.")
    def test_inputs_embeds(self):
        pass

    test_inputs_embeds_matches_input_ids = test_inputs_embeds

    @unittest.skip("Runs above.")
    def test_generation_tester_mixin_inheritance(self):
        pass


# Parts of names of tests that ask for what the processor does not do.
LEFT_OUT = {
    "image": "It reads clips, no single images.",
    "multiple_inputs": "It reads clips, no single images.",
    "kwarg": "Its arguments have names; nested and unknown ones are errors.",
    "call_arguments": "Its arguments have names; nested and unknown ones are errors.",
    "model_input_names": "Its arguments have names; nested and unknown ones are errors.",
    "assistant_mask": "It pads on the left alone.",
    "template_audio": "Their clips are addresses, which it fetches only if allowed.",
    "from_and_save": "One that was loaded knows where its code is, in auto_map.",
    "replacement_offsets": "They look for a method in the first base class.",
}


class EmpathAVProcessorTest(ProcessorTesterMixin, unittest.TestCase):
    processor_class = EmpathAVProcessor

    def setUp(self):
        for part, reason in LEFT_OUT.items():
            if part in self._testMethodName:
                self.skipTest(reason)

    @classmethod
    def _setup_from_components(cls):
        return cls.processor_class(*map(cls._setup_component, cls.processor_class.get_attributes()))

    @classmethod
    def _setup_component(cls, attribute):
        heard = WhisperFeatureExtractor(feature_size=8)  # as much as a processor of default settings wants
        return heard if attribute == "feature_extractor" else getattr(tiny_processor(), attribute)


if __name__ == "__main__":
    unittest.main()
