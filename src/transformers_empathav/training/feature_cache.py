"""A cache on disk of the frozen features of clips."""

import hashlib
import json
import os
import zlib
from pathlib import Path

import numpy as np
import torch
from accelerate import PartialState
from accelerate.utils import gather_object
from safetensors import SafetensorError
from tqdm.auto import tqdm
from transformers.utils import logging

from ..modeling.emotion_extractor_empathav import AudioVisualEmotionExtractor
from ..modeling.voice_span_empathav import MARGIN, QUIET, SMOOTH
from ..processing.media_empathav import Clip, MediaError, encode_clips
from ..processing.messages_empathav import MediaPart, parse_message
from ..processing.processing_empathav import EmpathAVProcessor
from .clip_features import ClipFeatures, read_entry, write_entry
from .disturbance import Disturbance


logger = logging.get_logger(__name__)
# Bump when features of the same clip come out otherwise: old entries are then computed anew.
FORMAT = 1


class FeatureCache:
    r"""
    Encoder outputs of clips, one safetensors file a clip.

    The name of an entry is a digest of all that its features depend on: the clip's bytes, the weights and
    configurations of the encoders, how sound and frames are sampled, what crops frames to a face, and the disturbance
    of its copy. If one of them changes, features are computed anew. Several processes may fill one folder, and an
    interrupted run goes on.

    Args:
        extractor ([`AudioVisualEmotionExtractor`]): Holds the frozen encoders.
        processor ([`EmpathAVProcessor`]): Decodes and samples.
        folder (`str` or `os.PathLike`, *optional*): Where entries are kept; `None` computes them each time.
        disturbance ([`Disturbance`], *optional*): Of the sound of the copies 1, 2, ...
        dtype (`torch.dtype`, *optional*, defaults to `torch.float16`):
            Features are rounded to it with and without a folder, so that both give the same loss.
    """

    def __init__(
        self,
        extractor: AudioVisualEmotionExtractor,
        processor: EmpathAVProcessor,
        folder: str | os.PathLike | None = None,
        disturbance: Disturbance | None = None,
        dtype: torch.dtype = torch.float16,
    ):
        self.extractor, self.processor, self.dtype = extractor, processor, dtype
        self.folder = None if folder is None else Path(folder)
        self.disturbance = disturbance
        self.fingerprint, self.detector = self._fingerprint(), face_detector(processor)
        self._digests: dict[tuple, str] = {}

    def load(self, item: dict, copy: int = 0) -> list[ClipFeatures]:
        """
        Features of each window of each clip in the last message of `item`; computed where there is no entry.

        Args:
            item (`dict`): A conversation; its last message has clips.
            copy (`int`): 0 for the clip as it is, 1, 2, ... for disturbed ones.

        Raises:
            `MediaError`: the clip cannot be read.
        """
        if self.folder is None:
            return self._compute(item, copy)
        path = self.path(item, copy)
        try:
            return read_entry(path)
        except FileNotFoundError:
            pass
        except SafetensorError as error:
            logger.warning(f"{path} is damaged ({error}) and is computed anew.")
        features = self._compute(item, copy)
        write_entry(path, features)
        return features

    def path(self, item: dict, copy: int = 0) -> Path:
        """Where the entry of an item lies, whether it is there or not."""
        key = hashlib.sha256(self.fingerprint.encode())
        for part in clip_parts(item):
            sound = "" if part.sound is None else self._digest(part.sound)
            key.update(f"{part.kind} {part.sampling_rate} {self._digest(part.source)} {sound} ".encode())
            if part.kind != "audio" and self.processor._cropper is not None:
                key.update(f"faces by {self.detector} ".encode())
        if copy:
            key.update(f"copy {copy} {self.disturbance}".encode())
        name = key.hexdigest()
        return self.folder / name[:2] / f"{name}.safetensors"

    def prepare(self, items: list[dict], copies: int = 0, max_unreadable: float = 0.01, progress: bool = True) -> list:
        r"""
        Computes the entries that are missing, each process its share, and finds out which clips can be read. Call it
        before training, on all processes.

        Args:
            items (`list[dict]`): The corpus.
            copies (`int`): Disturbed copies of each clip.
            max_unreadable (`float`): Share of clips that may be unreadable.
            progress (`bool`): Whether a bar is shown.

        Returns:
            `list[dict]`: The items whose clips can be read, in their order.

        Raises:
            `ValueError`: more than `max_unreadable` of the clips cannot be read; the message lists them.
            `OSError`: an entry cannot be written.
        """
        state, failures = PartialState(), []
        share = range(state.process_index, len(items), state.num_processes)
        for index in tqdm(share, desc="features", disable=not (progress and state.is_local_main_process)):
            try:
                entries = self._missing(items[index], copies)
            except (MediaError, OSError) as error:
                failures.append((index, f"{items[index]['id']}: {' '.join(str(error).split())}"))
                continue
            for path, features in entries.items():  # a full disk is no fault of the clip
                write_entry(path, features)
        failures = dict(sorted(gather_object(failures)))
        state.wait_for_everyone()
        if failures:
            listed = "\n  ".join(failures.values())
            told = f"{len(failures)} of {len(items)} clips cannot be read and are left out:\n  {listed}"
            if len(failures) > max_unreadable * len(items):
                raise ValueError(
                    f"{told}\nMore than {max_unreadable:.1%} is too many: mend the corpus, or allow more."
                )
            if state.is_main_process:
                logger.warning(told)
        return [item for index, item in enumerate(items) if index not in failures]

    def decode(self, item: dict) -> list[Clip]:
        """The windows of the clips in the last message of an item, decoded as the processor does it."""
        return [
            window
            for part in clip_parts(item)
            for window in self.processor.load_clip(part.source, part.kind, part.sound, part.sampling_rate)
        ]

    @torch.no_grad()
    def encode(self, windows: list[Clip]) -> list[ClipFeatures]:
        """Features of decoded windows, rounded to the type of the cache. No window depends on the others."""
        processor, device, features = self.processor, self.extractor.queries.weight.device, []
        for clip in windows:
            inputs = encode_clips([clip], processor.feature_extractor, processor.image_processor)
            inputs = {name: torch.from_numpy(value).to(device) for name, value in inputs.items()}
            audio = video = None
            if clip.audio is not None:
                audio = self.extractor.encode_audio(inputs["input_features"], inputs["input_features_mask"])
            if clip.frames is not None:
                video = self.extractor.encode_video(inputs["pixel_values_videos"])
            features.append(ClipFeatures(*(self._rounded(stream) for stream in (audio, video))))
        return features

    def _missing(self, item: dict, copies: int) -> dict[Path, list[ClipFeatures]]:
        """Features of an item and its copies that have no entry. Without a folder it is only decoded."""
        if self.folder is None:
            self.decode(item)
            return {}
        paths = {copy: self.path(item, copy) for copy in range(copies + 1)}
        return {path: self._compute(item, copy) for copy, path in paths.items() if not path.is_file()}

    def _compute(self, item: dict, copy: int) -> list[ClipFeatures]:
        windows = self.decode(item)
        for number, clip in enumerate(windows):
            if copy and clip.audio is not None:
                seed = zlib.crc32(f"{copy} {number} {digest(clip.audio)}".encode())
                clip.audio = self.disturbance(clip.audio, self.processor.feature_extractor.sampling_rate, seed)
        return self.encode(windows)

    def _rounded(self, features: torch.Tensor | None) -> torch.Tensor | None:
        """The one row of `features` in the type of the cache; larger numbers than it has become its largest."""
        if features is None:
            return None
        limit = torch.finfo(self.dtype).max
        return features[0].clamp(-limit, limit).to("cpu", self.dtype).contiguous()

    def _digest(self, source) -> str:
        """[`digest`], remembered for files that have not changed since."""
        if not isinstance(source, str | os.PathLike) or not os.path.isfile(source):
            return digest(source)
        known = os.stat(source)
        known = (os.fspath(source), known.st_size, known.st_mtime_ns)
        if known not in self._digests:
            self._digests[known] = digest(source)
        return self._digests[known]

    def _fingerprint(self) -> str:
        """Digest of what features depend on beside the clip."""
        processor, extractor = self.processor, self.extractor
        settings = {
            "format": FORMAT,
            "dtype": str(self.dtype),
            "feature_extractor": processor.feature_extractor.to_dict(),
            "image_processor": processor.image_processor.to_dict(),
            "num_frames": processor.num_frames,
            "window_seconds": processor.window_seconds,
            "face_cascade": processor.face_cascade,
            "towers": [
                {**tower.config.to_dict(), "dtype": str(tower.dtype).removeprefix("torch.")}  # it may say the model's
                for tower in (extractor.audio_tower, extractor.vision_tower)
            ],
        }
        if not extractor.config.pad_audio:  # entries of whole windows keep their names
            settings["pad_audio"] = [QUIET, SMOOTH, MARGIN]
        key = hashlib.sha256(json.dumps(settings, sort_keys=True, default=str).encode())
        for tower in (extractor.audio_tower, extractor.vision_tower):
            for name, tensor in tower.state_dict().items():
                key.update(name.encode())
                if name.endswith("num_batches_tracked"):  # loading in half precision makes a float of this count
                    tensor = tensor.long()
                key.update(tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().tobytes())
        return key.hexdigest()


def clip_parts(item: dict) -> list[MediaPart]:
    """
    The clips in the last message of an item.

    Raises:
        `ValueError`: there are none.
    """
    message = item["messages"][-1]
    labels = [] if message.get("emotion") is None else [message["emotion"]]  # the labels were checked by the loader
    parts = parse_message(message, item["id"], labels).clips
    if not parts:
        raise ValueError(f"{item['id']} has no clip in its last message: the extractor learns from clips.")
    return parts


def face_detector(processor: EmpathAVProcessor) -> list | None:
    """What crops frames to a face: version and digest of the detector, margin; `None` where frames stay whole."""
    cropper = processor._cropper
    if cropper is None or cropper.version is None:
        return None
    return [cropper.version, digest(cropper.path), cropper.margin]


def digest(source) -> str:
    """sha256 of the bytes of a file, of bytes, or of an array with its type and shape."""
    key = hashlib.sha256()
    if isinstance(source, str | os.PathLike):
        with open(source, "rb") as file:
            while block := file.read(2**20):
                key.update(block)
    elif isinstance(source, bytes):
        key.update(source)
    else:
        array = np.ascontiguousarray(source)
        key.update(f"{array.dtype} {array.shape} ".encode() + array.tobytes())
    return key.hexdigest()
