"""Takes sound and frames that are in memory: arrays, tensors, PIL images, and what `datasets` decodes."""

import numpy as np
from PIL import Image

from .media_limits_empathav import MediaError, number
from .media_photos_empathav import in_colour
from .media_sound_empathav import Loudness, as_floats, is_flat, resample, to_mono
from .messages_empathav import unwrap


_MAX_CHANNELS = 32
_LOUDEST_FLOAT = 8
_BLOCK = 1 << 20  # samples that are converted at once


def in_memory(source, rate):
    """
    Convert what holds sound or frames in memory to NumPy arrays. Other sources stay as they are.

    Args:
        source: A dictionary or an `AudioDecoder` of `datasets`, a tensor, an array, a PIL image, or a list of these.
        rate (*optional*): Sampling rate that was given beside it.

    Returns:
        `tuple`: the source, its sampling rate, and whether it is in memory.
    """
    try:
        source, stated = unwrap(source)
    except ValueError as error:
        raise MediaError(str(error)) from None
    rate = rate if stated is None else stated
    if callable(getattr(source, "get_all_samples", None)):
        samples = source.get_all_samples()
        sound = np.atleast_2d(_as_array(samples.data))
        if sound.ndim == 2 and sound.shape[0] > sound.shape[1] > 0:
            raise MediaError(f"the decoded sound: its shape {sound.shape} is not (channels, samples).")
        return sound, samples.sample_rate, True
    if callable(getattr(source, "get_frame_at", None)):
        raise MediaError(
            "a decoder of video is no media source; give the file: cast the column to datasets.Video(decode=False)."
        )
    if isinstance(source, list | tuple):
        return [_as_array(item) for item in source], rate, True
    if isinstance(source, np.ndarray | Image.Image) or _is_tensor(source) or hasattr(type(source), "__array__"):
        return _as_array(source), rate, True
    return source, rate, False


def _is_tensor(value):
    return callable(getattr(value, "detach", None)) and callable(getattr(value, "numpy", None))


def _as_array(value):
    """Tensors and other arrays as NumPy arrays; what is none of these, as it is."""
    if isinstance(value, Image.Image | np.ndarray | list | tuple) or not hasattr(type(value), "__array__"):
        return value
    if _is_tensor(value):
        value = value.detach().cpu()
        value = value.float() if str(value.dtype) == "torch.bfloat16" else value
        return value.numpy()
    return np.asarray(value)


def is_sound(array):
    """Whether an array is sound and not frames, by the number of its axes."""
    if isinstance(array, list):
        return not (array and (isinstance(array[0], Image.Image) or np.ndim(array[0]) > 1))
    return not isinstance(array, Image.Image) and array.ndim < 3


def sound_of(source, array, rate, sampling_rate):
    """
    Mono sound out of an array of shape `(samples,)`, `(channels, samples)` or `(samples, channels)`.

    Args:
        source (`Source`): The source.
        array (`np.ndarray` or `list`): The samples.
        rate (`int`): Their rate, in Hz.
        sampling_rate (`int`): Sampling rate of the sound returned, in Hz.

    Returns:
        `np.ndarray` of shape `(samples,)`
    """
    shapes = "(samples,) or (channels, samples)"
    try:
        rate = number(rate, "its sampling rate", least=1)
    except ValueError as error:
        raise source.error(str(error)) from None
    source.check(rate, "Hz", "max_sampling_rate")
    if isinstance(array, Image.Image):
        raise source.error(f"sound must be of shape {shapes}, and this is a picture; it goes into a video part.")
    try:
        array = np.asarray(array)
    except ValueError as error:
        raise source.error(f"sound must be of shape {shapes}, but {error}") from None
    if array.size == 0:
        raise source.error("it is of zero length; record it again, or leave this part out.")
    if array.ndim not in (1, 2) or array.dtype.kind not in "fiu":
        raise source.error(
            f"sound must be numbers of shape {shapes}, not {array.dtype} of shape {array.shape}; frames go into a"
            " video part."
        )
    source.check(array.nbytes, "bytes", "max_bytes")
    channels = np.atleast_2d(array)
    if channels.shape[0] > channels.shape[1]:
        channels = channels.T
    if channels.shape[0] > _MAX_CHANNELS or 1 < channels.shape[1] <= _MAX_CHANNELS and channels.shape[0] > 1:
        raise source.error(f"shape {array.shape} leaves no axis for channels; give (samples,) or (channels, samples).")
    source.check(channels.shape[1] / rate, "s long", "max_seconds")
    source.check(channels.size, "samples over all channels", "max_samples")
    if array.dtype.kind in "iu" and array.dtype.itemsize > 2:
        peak = max(abs(int(array.min())), abs(int(array.max())))
        if peak and is_flat(np.array([-peak, peak]) / 2.0 ** (8 * array.dtype.itemsize - 1)):
            raise source.error(
                f"its {array.dtype} samples reach only {peak}, silence on that scale; give them in the type in which"
                " they were recorded, e.g. astype(np.int16)."
            )
    loudness, blocks = Loudness(), range(0, channels.shape[1], _BLOCK)
    for begin in blocks:
        loudness.add(as_floats(channels[:, begin : begin + _BLOCK]))
    weights, reason = loudness.weights()
    if weights is not None:
        source.warn(reason)
    mono = np.concatenate([to_mono(as_floats(channels[:, begin : begin + _BLOCK]), weights) for begin in blocks])
    if array.dtype.kind == "f" and _LOUDEST_FLOAT < (peak := max(mono.max(), -mono.min())) < np.inf:
        raise source.error(f"samples reach {peak:g}; floats are read in [-1, 1], scale them or give int16.")
    return resample(source.name, mono, rate, sampling_rate)


def stills_of(source, images, fps, seconds):
    """
    Frames out of arrays of shape `(height, width, 3)`, uint8 RGB, or PIL images.

    Args:
        source (`Source`): The source.
        images (`np.ndarray` of shape `(frames, height, width, 3)`, `list` or `PIL.Image.Image`): The frames.
        fps (`float`, *optional*): Frames per second.
        seconds (`float`, *optional*): Length, where there is no `fps`.

    Returns:
        `Stills`
    """
    if isinstance(images, Image.Image):
        images = [images]
    if isinstance(images, list):
        images = [in_colour(source, image) if isinstance(image, Image.Image) else image for image in images]
        images = [np.asarray(image) for image in images]
        if len({np.shape(image) for image in images}) > 1:
            raise source.error(f"sizes differ ({np.shape(images[0])} and others); give all frames in one size.")
    frames = np.asarray(images)
    if frames.dtype != np.uint8 or frames.ndim != 4 or frames.shape[-1] != 3:
        hint = "sound goes into an audio part"
        if frames.ndim == 4 and frames.shape[1] in (1, 3, 4):
            hint = "its channels seem to come first: move them, e.g. by permute(0, 2, 3, 1)"
        elif frames.ndim == 3:
            hint = "a single picture goes into a list"
        elif frames.dtype.kind == "f" and frames.ndim == 4:
            hint = "give 0 to 255 as uint8"
        raise source.error(
            f"uint8 of shape (frames, height, width, 3) is needed, not {frames.dtype} of shape {frames.shape}; {hint}."
        )
    if frames.size == 0:
        raise source.error(f"shape {frames.shape} holds nothing; give at least one frame, or leave this part out.")
    source.check(frames.nbytes, "bytes", "max_bytes")
    source.check(frames.shape[1] * frames.shape[2], "pixels a frame", "max_pixels")
    source.check(len(frames), "frames", "max_frames")
    if fps is not None:
        try:
            fps = number(fps, "its rate in frames per second")
        except ValueError as error:
            raise source.error(str(error)) from None
    seconds = len(frames) / (fps or 25.0) if fps or seconds is None else seconds
    source.check(seconds, "s long", "max_seconds")
    return Stills(frames, seconds)


class Stills:
    """Frames in memory, evenly spread over `seconds`; `at` gives those on screen at the given times."""

    def __init__(self, frames, seconds):
        self.frames, self.seconds = frames, seconds

    def at(self, times):
        """The frames at `times`, rising seconds from the beginning: `(times, height, width, 3)`."""
        return self.frames[np.minimum(times / self.seconds * len(self.frames), len(self.frames) - 1).astype(int)]
