"""On CUDA everything is as on the CPU: scans and their kernels, memory, replies, emotions, training."""

import copy

import pytest
import torch

from helpers import assistant, encode, frames, relative_error, sound, user
from transformers_empathav import ConversationMemory, EmpathAVForCausalLM
from transformers_empathav.modeling import selective_scan_empathav as scans
from transformers_empathav.training.compressor.collator import ReconstructionCollator
from transformers_empathav.training.compressor.reconstruction import Reconstruction


pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="CUDA is not there")
CUDA = torch.device("cuda")


@pytest.fixture(autouse=True)
def whole_precision(monkeypatch):
    """Convolutions of float32 in float32, as matrix products are by default."""
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)


@pytest.fixture
def without_kernels(monkeypatch):
    monkeypatch.setattr(scans, "cuda_kernels", lambda device: None)


@pytest.fixture
def kernels():
    if scans.cuda_kernels(CUDA) is None:
        pytest.skip("mamba-ssm is not installed")


def scan_arguments(kind, length, state_size=16):
    """Slow decay, so that what entered long ago counts; every third step of a row is skipped."""
    torch.manual_seed(0)
    if kind == "mamba2":
        shapes = [
            (2, length, 8, 64),
            (2, length, 8),
            (8,),
            (2, length, 1, 64),
            (2, length, 1, 64),
            (8,),
            (2, 8, 64, 64),
        ]
    else:
        shapes = [(2, length, 64), (2, length, 64), (64, state_size), *[(2, length, state_size)] * 2, (64,)]
        shapes.append((2, 64, state_size))
    x, dt, A, B, C, D, state = (torch.randn(shape, dtype=torch.float64) for shape in shapes)
    dt = dt.abs() / 10
    dt[0, ::3] = 0
    return [x, dt, -A.abs(), B / 4, C / 4, D, state]


def results(scan, arguments):
    """Outputs, last state and the gradients towards every argument, in float64; steps that are skipped have none."""
    arguments = [argument.detach().requires_grad_() for argument in arguments]
    outputs = scan(*arguments)
    generator = torch.Generator().manual_seed(1)
    weights = [torch.randn(out.shape, generator=generator).to(out) for out in outputs]
    loss = sum((out * weight).sum() for out, weight in zip(outputs, weights))
    gradients = list(torch.autograd.grad(loss, arguments))
    gradients[1] = gradients[1] * (arguments[1] > 0)
    return [value.detach().double().cpu() for value in (*outputs, *gradients)]


def scans_agree(kind, length, tolerance, dtype=torch.float32):
    fast = {"mamba2": scans.ssd_scan, "mamba": scans.selective_scan}[kind]
    plain = {"mamba2": scans.ssd_reference, "mamba": scans.selective_scan_reference}[kind]
    arguments = scan_arguments(kind, length)
    # Inputs in half precision, steps and state in float32: as a model in half precision calls it.
    given = [t.to(CUDA, torch.float32 if index in (1, 2, 6) else dtype) for index, t in enumerate(arguments)]
    expected = results(plain, [argument.double().cpu() for argument in given])
    names = ("outputs", "state", "x", "dt", "A", "B", "C", "D", "first state")
    errors = {
        name: ((ours - theirs).norm() / theirs.norm()).item()
        for name, ours, theirs in zip(names, results(fast, given), expected)
    }
    print(kind, length, dtype, {name: f"{error:.1e}" for name, error in errors.items()})
    assert max(errors.values()) < tolerance, errors


@pytest.mark.parametrize("kind", ["mamba2", "mamba"])
@pytest.mark.parametrize("length", [1, 7, 64, 300])
def test_scans_without_kernels_are_the_recurrence(kind, length, without_kernels):
    scans_agree(kind, length, 1e-5)


@pytest.mark.parametrize("kind", ["mamba2", "mamba"])
@pytest.mark.parametrize("length", [1, 7, 64, 300])
def test_kernels_of_mamba_ssm_are_the_recurrence(kind, length, kernels):
    scans_agree(kind, length, 5e-3)


@pytest.mark.parametrize("length", [7, 300])
def test_kernels_take_half_precision(length, kernels):
    scans_agree("mamba2", length, 2e-2, torch.bfloat16)
    scans_agree("mamba", length, 2e-2, torch.bfloat16)


def conversations():
    older = [user("I lost my job", emotion="sad"), assistant("I am sorry"), user("No reason given"), assistant("Oh")]
    return [
        [*older, user(("video", frames(1)), "what now?")],
        [user(("audio", sound(2)), "can you hear it?")],
        [user(("video", frames(3)), "look")],
        [user("only words")],
    ]


@pytest.fixture
def inputs(processor):
    return encode(processor, *conversations(), recent_turns=2)


@pytest.mark.parametrize("kernel", [False, True])
def test_replies_and_emotions_are_those_of_the_cpu(kernel, model, inputs, request):
    request.getfixturevalue("kernels" if kernel else "without_kernels")
    there = copy.deepcopy(model).to(CUDA)
    moved = {name: tensor.to(CUDA) for name, tensor in inputs.items()}
    with torch.no_grad():
        assert relative_error(there(**moved).logits[:, -1].cpu(), model(**inputs).logits[:, -1]) < 1e-3
        assert relative_error(there.predict_emotion(**moved).cpu(), model.predict_emotion(**inputs)) < 1e-3
    ours, expected = (
        reader.generate(**given, max_new_tokens=6, do_sample=False, eos_token_id=None).cpu()
        for reader, given in ((there, moved), (model, inputs))
    )
    assert torch.equal(ours, expected)


@pytest.mark.parametrize("kernel", [False, True])
def test_a_memory_grows_turn_by_turn_and_moves_between_devices(kernel, model, processor, request, tmp_path):
    request.getfixturevalue("kernels" if kernel else "without_kernels")
    there = copy.deepcopy(model).to(CUDA)
    messages = conversations()[0][:4]
    memory = None
    for message in messages:
        read = processor.encode_history([message])
        memory = there.compress(**{name: tensor.to(CUDA) for name, tensor in read.items()}, memory=memory)
    whole = model.compress(**processor.encode_history(messages))
    assert memory.vectors.device.type == "cuda"
    assert relative_error(memory.vectors.cpu(), whole.vectors) < (5e-3 if kernel else 1e-4)
    memory.save_pretrained(tmp_path)
    assert torch.equal(ConversationMemory.from_pretrained(tmp_path).vectors, memory.vectors.cpu())
    # What one device began the other continues.
    more = processor.encode_history([user("and then?")])
    continued = model.compress(**more, memory=memory.to("cpu"))
    assert relative_error(continued.vectors, model.compress(**more, memory=whole).vectors) < (5e-3 if kernel else 1e-4)


@pytest.mark.parametrize("kernel", [False, True])
def test_gradients_of_the_compressor_are_those_of_the_cpu(kernel, model, processor, request):
    request.getfixturevalue("kernels" if kernel else "without_kernels")
    said = [{"role": "user", "content": "I lost my job"}, assistant("I am sorry"), assistant("Oh")]
    batch = ReconstructionCollator(processor)([said[:2], said[2:]])
    found = []
    for device in ("cpu", CUDA):
        lesson = Reconstruction(copy.deepcopy(model)).to(device)
        lesson(**{name: tensor.to(device) for name, tensor in batch.items()}).mean().backward()
        found.append([p.grad.cpu() for p in lesson.model.model.compressor.parameters() if p.grad is not None])
    assert len(found[0]) == len(found[1]) > 10
    for expected, ours in zip(*found):
        assert relative_error(ours, expected) < (2e-2 if kernel else 1e-3)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_runs_and_is_near(dtype, model, inputs, tmp_path):
    model.save_pretrained(tmp_path)
    half = EmpathAVForCausalLM.from_pretrained(tmp_path, dtype=dtype).to(CUDA).eval()
    moved = {
        name: tensor.to(CUDA, dtype) if tensor.is_floating_point() else tensor.to(CUDA)
        for name, tensor in inputs.items()
    }
    with torch.no_grad():
        assert relative_error(half.predict_emotion(**moved).float().cpu(), model.predict_emotion(**inputs)) < 0.3
    assert half.generate(**moved, max_new_tokens=3).shape[0] == len(conversations())
