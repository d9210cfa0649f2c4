"""Values of every kind, as programs hand them over by mistake."""

import base64
import io
import wave

import numpy as np
import torch
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from transformers_empathav.processing.media_empathav import Clip


TOKENS = [
    "<|av|>",
    "<|memory|>",
    "<|im_start|>",
    "<|im_end|>",
    "<|im_end",
    "|>",
    "system",
    "\n",
    "\x1b[31m",
    "\ud800",
    "",
]
ROLES = ["system", "user", "assistant"]
PARTS = ["text", "audio", "video", "input_audio", "image_url", "audio_url", "video_url"]
KEYS = ["type", "text", "audio", "video", "path", "url", "bytes", "data", "array", "sampling_rate", "role", "content"]

texts = st.lists(st.sampled_from(TOKENS) | st.text(max_size=8), max_size=4).map("".join)
numbers = st.one_of(
    st.integers(),
    st.floats(),
    st.booleans(),
    st.complex_numbers(),
    st.just(10**400),
    st.just(np.float32(16000)),
    st.just(np.array([16000])),
    st.just(torch.tensor(16000)),
    st.just("16000"),
    st.just("nan"),
    st.just(None),
)
rates = numbers | st.sampled_from([1, 8000, 16000, 44100.0, 48000, 768000, 1e-3, 2e9])
scalars = st.one_of(st.none(), texts, numbers, st.binary(max_size=8))
keys = st.one_of(st.sampled_from(KEYS), st.none(), texts, st.integers(), st.booleans())
anything = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=3),
    max_leaves=8,
)


def sound(seconds: float = 0.05) -> bytes:
    """A short tone as a WAV file."""
    file = io.BytesIO()
    with wave.open(file, "wb") as target:
        target.setparams((1, 2, 16000, 0, "NONE", ""))
        target.writeframes((8000 * np.sin(np.arange(int(16000 * seconds)))).astype("<i2").tobytes())
    return file.getvalue()


WAV = sound()
URI = "data:audio/wav;base64," + base64.b64encode(WAV).decode()
CLIP = Clip(np.sin(np.arange(800)).astype(np.float32), np.zeros((3, 8, 8, 3), np.uint8), 0.0, 0.05)

usual_shapes = st.sampled_from(
    [(800,), (1, 800), (2, 800), (800, 2), (3, 8, 8, 3), (3, 3, 8, 8), (40, 40), (33, 400), (1, 1), (8, 8, 3), (5,)]
)
shapes = npst.array_shapes(min_dims=0, max_dims=5, min_side=0, max_side=8)
usual_types = st.sampled_from(["u1", "i2", "i4", "u4", "f4", ">f4", "f8", "f2", "g"])
dtypes = st.one_of(usual_types, npst.scalar_dtypes(), npst.nested_dtypes(max_itemsize=64), st.just(np.dtype("O")))


@st.composite
def arrays(draw):
    """Arrays of every type, shape and layout, and tensors and lists of them."""
    usual = draw(st.booleans())
    dtype, shape = np.dtype(draw(usual_types if usual else dtypes)), draw(usual_shapes if usual else shapes)
    fill, array = draw(st.integers(0, 255)), np.zeros(shape, dtype)
    if fill and array.size and dtype.itemsize and not dtype.hasobject:
        noise = np.random.default_rng(fill).integers(0, 256, array.nbytes, dtype=np.uint8)
        array = noise.view(dtype).reshape(shape)
        if dtype.kind == "f" and (usual or fill % 2):
            array = np.clip(np.nan_to_num(array), -1, 1)
    layout = draw(st.sampled_from(sorted(LAYOUTS)))
    return Made(array, layout, "array" if usual and draw(st.booleans()) else draw(st.sampled_from(sorted(WRAPPERS))))


class Made:
    """An array by its recipe. What unpickles it gets the array itself, as it lies in memory, which a pickle loses."""

    def __init__(self, array, layout, wrapper):
        self.recipe = array, layout, wrapper

    def __reduce__(self):
        return make, self.recipe

    def __repr__(self):
        array, layout, wrapper = self.recipe
        return f"<{wrapper}, {layout}: {array!r} of {array.dtype} {array.shape}>"


def make(array, layout: str, wrapper: str):
    return WRAPPERS[wrapper](LAYOUTS[layout](array))


LAYOUTS = {
    "as it is": lambda array: array,
    "transposed": lambda array: array.T,
    "backwards": lambda array: array[::-1] if array.ndim else array,
    "every other": lambda array: array[..., ::2] if array.ndim else array,
    "by columns": np.asfortranarray,
    "repeated without memory": lambda array: np.broadcast_to(array, (2, *array.shape)),
    "read only": lambda array: np.broadcast_to(array, array.shape),
}


def as_tensor(array, change=lambda tensor: tensor):
    """A tensor, where there is one of this type."""
    try:
        return change(torch.tensor(np.ascontiguousarray(array)))
    except (TypeError, ValueError, NotImplementedError):
        return array


WRAPPERS = {
    "array": lambda array: array,
    "tensor": as_tensor,
    "sparse": lambda array: as_tensor(array, torch.Tensor.to_sparse),
    "list": lambda array: list(array) if array.ndim else [array],
    "numbers": lambda array: array.tolist(),
    "dictionary": lambda array: {"array": array, "sampling_rate": 16000},
    "masked": np.ma.masked_array,
}

sources = st.one_of(
    anything,
    arrays(),
    texts,
    st.sampled_from([WAV, WAV[:60], URI, "data:,", "nowhere.wav", "http://127.0.0.1/a", "."]),
    st.just({"array": np.zeros(800, np.float32), "sampling_rate": 16000}),
    st.just({"bytes": WAV, "path": None}),
    st.just([CLIP]),
    st.builds(io.BytesIO, st.just(WAV)),
)
openai = st.one_of(sources, st.fixed_dictionaries({}, optional={"url": sources, "data": texts, "format": scalars}))
parts = st.fixed_dictionaries(
    {"type": st.sampled_from(PARTS) | anything},
    optional={
        "text": texts | anything,
        "audio": sources,
        "video": sources,
        "path": sources,
        "url": sources,
        "bytes": sources,
        "sampling_rate": rates,
        "input_audio": openai,
        "image_url": openai,
        "audio_url": openai,
        "video_url": openai,
    },
)
good_parts = st.one_of(
    st.builds(lambda text: {"type": "text", "text": text}, texts),
    st.sampled_from(
        [{"type": "audio", "bytes": WAV}, {"type": "audio", "url": URI}, {"type": "video", "video": [CLIP]}]
    ),
)
messages = st.fixed_dictionaries(
    {
        "role": st.sampled_from(ROLES) | anything,
        "content": texts | st.lists(good_parts, max_size=3) | st.lists(parts | good_parts | anything, max_size=3),
    },
    optional={"emotion": st.sampled_from(["sad", "happy", "bored"]) | scalars, "speaker": texts | scalars},
)
good_messages = st.fixed_dictionaries(
    {"role": st.sampled_from(ROLES[1:]), "content": texts | st.lists(good_parts, min_size=1, max_size=3)},
    optional={"emotion": st.sampled_from(["sad", "happy"]), "speaker": texts},
)
conversations = st.one_of(
    st.lists(good_messages, min_size=1, max_size=6),
    st.lists(messages | good_messages, max_size=4),
    st.lists(st.lists(good_messages, max_size=3), max_size=3),
    st.lists(messages | anything, max_size=3),
    anything,
)
