"""The pipeline `audio-visual-emotion`, which every checkpoint brings along: a clip in, its emotions out."""

import torch
from transformers import Pipeline


class EmotionPipeline(Pipeline):
    r"""
    Predicts the emotions of clips.

    ```python
    emotions = pipeline("audio-visual-emotion", model=checkpoint, trust_remote_code=True)
    emotions("clip.mp4")  # [{"label": "happy", "score": 0.9}, ...]
    ```

    Takes one clip or a list of them, with sound, frames or both: whatever `processor.load_clip` reads. Returns a list
    of `{"label", "score"}` per clip, the likeliest first. `top_k=1` returns that one alone.
    """

    _load_processor = True
    _load_tokenizer = False
    _load_feature_extractor = False
    _load_image_processor = False

    def _sanitize_parameters(self, top_k: int | None = None, **kwargs):
        if kwargs:
            raise ValueError(f"The emotion pipeline has no option {', '.join(sorted(kwargs))}: there is only top_k.")
        return {}, {}, {} if top_k is None else {"top_k": top_k}

    def preprocess(self, clip):
        windows = self.processor.load_clip(clip, kind="any")
        messages = [{"role": "user", "content": [{"type": "video", "video": windows}]}]
        return self.processor.apply_chat_template(
            messages, add_generation_prompt=True, tokenize=True, return_dict=True
        )

    @torch.no_grad()
    def _forward(self, model_inputs):
        return {"scores": self.model.predict_emotion(**model_inputs)}

    def postprocess(self, model_outputs, top_k: int | None = None):
        scores = model_outputs["scores"][0].float().tolist()
        found = [{"label": label, "score": score} for label, score in zip(self.model.config.emotion_labels, scores)]
        return sorted(found, key=lambda entry: -entry["score"])[:top_k]
