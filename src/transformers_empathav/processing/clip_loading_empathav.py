"""The processor's half that turns a media source into clips: limits, windows, and the face cascade."""

import os
import shutil
from pathlib import Path

from transformers.utils import cached_file

from .face_crop_empathav import FaceCropper
from .media_empathav import Clip, MediaLimits, load_clip
from .messages_empathav import MediaPart


class ClipLoadingMixin:
    """
    What [`EmpathAVProcessor`] does with clips. It reads `feature_extractor`, `num_frames`, `window_seconds`, `limits`
    and `face_cascade` of the processor.
    """

    _cropper = None

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path, **kwargs):
        """As in transformers; also loads the face cascade."""
        processor = super().from_pretrained(pretrained_model_name_or_path, **kwargs)
        if processor.face_cascade is not None:
            where = ("cache_dir", "force_download", "local_files_only", "revision", "subfolder", "token")
            where = {key: kwargs[key] for key in where if key in kwargs}
            cascade = cached_file(pretrained_model_name_or_path, processor.face_cascade, **where)
            processor.use_face_cascade(cascade)
        return processor

    def save_pretrained(self, save_directory, push_to_hub=False, repo_id=None, **kwargs):
        """As in transformers; also copies the face cascade."""
        files = super().save_pretrained(save_directory)
        if self._cropper is not None:
            target = Path(save_directory) / self.face_cascade
            if not (target.exists() and target.samefile(self._cropper.cascade_path)):
                shutil.copyfile(self._cropper.cascade_path, target)
        if push_to_hub:  # only now, so that the cascade is uploaded too
            self.push_to_hub(repo_id or Path(save_directory).name, **kwargs)
        return files

    def use_face_cascade(self, path: str | os.PathLike):
        """Crops faces by the OpenCV cascade at `path` from now on. `save_pretrained` copies that file."""
        self.face_cascade = Path(path).name
        self._cropper = FaceCropper(path)

    @property
    def media_limits(self) -> MediaLimits:
        """The limits on every source where a call names no others: `limits` of the processor."""
        return MediaLimits().changed(self.limits)

    def load_clip(
        self,
        source,
        kind: str = "video",
        sound=None,
        sampling_rate: int | None = None,
        limits: MediaLimits | dict | None = None,
        allow_urls: bool = False,
        num_frames: int | None = None,
    ) -> list[Clip]:
        r"""
        Decodes a media source with this processor's settings. The result may be given in messages in place of the
        source.

        Args:
            source: Path, bytes, file object or array.
            kind (`str`, *optional*, defaults to `"video"`):
                `"video"` (with its sound), `"audio"`, or `"any"` for the streams that there are.
            sound (*optional*): Source of sound in place of the video's own.
            sampling_rate (`int`, *optional*): Sampling rate of sound given as an array, in Hz.
            limits, allow_urls (*optional*): As in `__call__`.
            num_frames (`int`, *optional*): Frames sampled per clip; the processor's own number by default.

        Returns:
            `list[Clip]`: windows of at most `window_seconds`, each of which becomes `num_query_tokens` vectors.

        Raises:
            `MediaError`: If the source cannot be used.
        """
        clips = load_clip(
            source,
            sampling_rate=self.feature_extractor.sampling_rate,
            num_frames=self.num_frames if num_frames is None else num_frames,
            window_seconds=self.window_seconds,
            want={"video": "both"}.get(kind, kind),
            sound=sound,
            array_sampling_rate=sampling_rate,
            limits=self.media_limits.changed(limits),
            allow_urls=allow_urls,
        )
        for clip in clips:
            if clip.frames is not None and self._cropper is not None:
                clip.frames, clip.face = self._cropper.crop(clip.frames)
        return clips

    def _load_part(self, part: MediaPart, **options) -> list[Clip]:
        """[`load_clip`] for a clip in a message, which may be decoded already."""
        if isinstance(part.source, list) and part.source and all(isinstance(clip, Clip) for clip in part.source):
            return part.source
        return self.load_clip(part.source, part.kind, part.sound, part.sampling_rate, **options)
