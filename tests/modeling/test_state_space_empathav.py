import copy
import sys
from types import ModuleType

import pytest
import torch
from transformers import LlamaConfig, Mamba2Config, Mamba2Model, MambaConfig, MambaModel, PreTrainedModel

from transformers_empathav.modeling import selective_scan_empathav as scans
from transformers_empathav.modeling import state_space_empathav as state_space
from transformers_empathav.modeling.state_space_empathav import StateSpaceStack, init_state_space


LENGTH = 512
CUTS = [[256, 256], [1, 63, 64, 65, 319], [200, 1, 1, 1, 309], [511, 1]]


def config_of(kind, **changes):
    sizes = dict(hidden_size=32, num_hidden_layers=3, vocab_size=8, state_size=16) | changes
    if kind == "mamba":
        return MambaConfig(**sizes)
    groups = int(kind.removeprefix("mamba2-"))
    return Mamba2Config(**(dict(num_heads=4, head_dim=16, n_groups=groups, chunk_size=64) | sizes))


def stack_of(kind, dtype=torch.float32, **changes):
    """A stack whose state matters: slow decay, and weights far from those of initialisation."""
    torch.manual_seed(0)
    stack = StateSpaceStack(config_of(kind, **changes)).to(dtype)
    with torch.no_grad():
        for name, parameter in stack.named_parameters():
            if name.endswith("A_log"):
                parameter -= 4
            elif name.endswith(("in_proj.weight", "x_proj.weight", "conv1d.weight")):
                parameter *= 2
            elif name.endswith(("bias", "norm.weight", "norm_f.weight", "D")):
                parameter += 0.3 * torch.randn_like(parameter)
    return stack


def inputs_of(batch=2, length=LENGTH, dtype=torch.float32):
    return torch.randn(batch, length, 32, generator=torch.Generator().manual_seed(1)).to(dtype)


def error(a, b):
    return ((a - b).abs().max() / b.abs().max()).item()


def assert_same(ours, theirs, tolerance):
    """The same (hidden states, state)."""
    assert error(ours[0], theirs[0]) < tolerance
    assert error(ours[1].conv, theirs[1].conv) < tolerance
    assert error(ours[1].ssm, theirs[1].ssm) < tolerance


def read_in_pieces(stack, inputs, lengths):
    outputs, state = [], None
    for piece in inputs.split(lengths, dim=1):
        output, state = stack(piece, state=state)
        outputs.append(output)
    return torch.cat(outputs, dim=1), state


def mask_of(lengths, length=LENGTH):
    return (torch.arange(length) < torch.tensor(lengths)[:, None]).long()


def scan_arguments(kind, length=77, dtype=torch.float64):
    torch.manual_seed(2)
    if kind == "mamba":
        shapes = [(2, length, 8), (2, length, 8), (8, 5), (2, length, 5), (2, length, 5), (8,), (2, 8, 5)]
    else:
        groups = int(kind.removeprefix("mamba2-"))
        shapes = [(2, length, 4, 8), (2, length, 4), (4,), (2, length, groups, 5), (2, length, groups, 5), (4,)]
        shapes.append((2, 4, 8, 5))
    x, dt, A, B, C, D, state = (torch.randn(shape, dtype=dtype) for shape in shapes)
    return [t.requires_grad_() for t in (x, dt.abs().detach(), -A.abs().detach(), B, C, D, state)]


KINDS = pytest.mark.parametrize("kind", ["mamba2-1", "mamba2-2", "mamba"])
REFERENCES = {"mamba2-1": Mamba2Model, "mamba2-2": Mamba2Model, "mamba": MambaModel}


@KINDS
def test_scan_is_the_recurrence(kind, monkeypatch):
    arguments = scan_arguments(kind)
    weights = torch.randn_like(arguments[0]), torch.randn_like(arguments[-1])
    monkeypatch.setattr(scans, "SCAN_BLOCK_ELEMENTS", 10 * arguments[-1].numel())
    if kind == "mamba":
        fast, plain = scans.selective_scan(*arguments), scans.selective_scan_reference(*arguments)
    else:
        fast, plain = scans.ssd_scan(*arguments, chunk_size=16), scans.ssd_reference(*arguments)
    for ours, reference in zip(fast, plain):
        assert error(ours, reference) < 1e-10
    gradients = [
        torch.autograd.grad(sum((out * weight).sum() for out, weight in zip(results, weights)), arguments)
        for results in (fast, plain)
    ]
    for ours, reference in zip(*gradients):
        assert error(ours, reference) < 1e-10


@pytest.mark.parametrize("shape", [(5, 2, 3), (5, 2, 1)])
def test_linear_recurrence_gradients_also_where_the_decay_is_broadcast(shape):
    torch.manual_seed(0)
    arguments = [torch.rand(shape), torch.randn(5, 2, 3), torch.randn(2, 3)]
    assert torch.autograd.gradcheck(scans.LinearRecurrence.apply, [t.double().requires_grad_() for t in arguments])


@pytest.mark.parametrize("mild", [True, False])
@KINDS
def test_published_weights_load_and_give_the_same_outputs(kind, mild):
    biases = {"use_bias": not mild, "use_conv_bias": not mild}
    config = config_of(kind, **biases)
    reference = REFERENCES[kind](config).eval()
    if not mild:
        reference.load_state_dict(stack_of(kind, **biases).state_dict(), strict=False)
    stack = StateSpaceStack(config)
    weights = {name: weight for name, weight in reference.state_dict().items() if not name.startswith("embeddings.")}
    stack.load_state_dict(weights, strict=True)
    inputs = inputs_of()
    with torch.no_grad():
        assert error(stack(inputs)[0], reference(inputs_embeds=inputs).last_hidden_state) < 1e-5


@KINDS
def test_the_state_matters(kind):
    stack, inputs = stack_of(kind), inputs_of()
    _, state = stack(inputs[:, :256])
    assert error(stack(inputs[:, 256:])[0], stack(inputs[:, 256:], state=state)[0]) > 0.1


@KINDS
@pytest.mark.parametrize("lengths", CUTS, ids=str)
def test_reading_in_pieces_is_reading_at_once(kind, lengths):
    stack, inputs = stack_of(kind), inputs_of()
    with torch.no_grad():
        assert_same(read_in_pieces(stack, inputs, lengths), stack(inputs), 1e-5)


@KINDS
def test_token_by_token_is_reading_at_once(kind):
    stack, inputs = stack_of(kind), inputs_of(length=70)
    with torch.no_grad():
        assert_same(read_in_pieces(stack, inputs, 1), stack(inputs), 1e-5)


@KINDS
def test_pieces_agree_in_double_precision(kind):
    stack, inputs = stack_of(kind, torch.float64), inputs_of(dtype=torch.float64)
    with torch.no_grad():
        assert_same(read_in_pieces(stack, inputs, CUTS[1]), stack(inputs), 1e-10)


@KINDS
def test_ragged_rows_and_the_segment_after_them(kind):
    stack, inputs, more = stack_of(kind), inputs_of(batch=4), inputs_of(batch=4, length=90) + 0.5
    lengths, more_lengths = [512, 1, 130, 2], [90, 64, 0, 3]
    with torch.no_grad():
        first, state = stack(inputs, attention_mask=mask_of(lengths))
        second, after = stack(more, attention_mask=mask_of(more_lengths, 90), state=state)
        for row in range(4):
            n, m = lengths[row], more_lengths[row]
            alone = stack(inputs[row : row + 1, :n])
            assert_same((first[row : row + 1, :n], state.select([row])), alone, 1e-5)
            if m:
                alone = stack(more[row : row + 1, :m], state=alone[1])
                assert_same((second[row : row + 1, :m], after.select([row])), alone, 1e-5)


@KINDS
def test_a_long_input_is_read_in_pieces_without_gradients(kind, monkeypatch):
    stack, inputs, mask = stack_of(kind), inputs_of(batch=3), mask_of([512, 70, 0])
    with_gradients = stack(inputs, attention_mask=mask)
    monkeypatch.setattr(state_space, "TOKENS_AT_ONCE", 3 * 100)
    with torch.no_grad():
        outputs, state = stack(inputs, attention_mask=mask)
    assert state.ssm.requires_grad is False
    real = mask.bool()
    assert_same((outputs[real], state), (with_gradients[0][real], with_gradients[1]), 1e-5)


@KINDS
def test_an_empty_row_keeps_its_state_bit_for_bit(kind):
    stack, inputs = stack_of(kind), inputs_of(length=40)
    _, state = stack(inputs)
    _, after = stack(inputs, attention_mask=mask_of([40, 0], 40), state=state)
    assert torch.equal(after.ssm[:, 1], state.ssm[:, 1])
    assert torch.equal(after.conv[:, 1], state.conv[:, 1])
    assert not torch.equal(after.ssm[:, 0], state.ssm[:, 0])
    outputs, same = stack(inputs[:, :0], state=state)
    assert outputs.shape == (2, 0, 32)
    assert torch.equal(same.ssm, state.ssm)


@KINDS
@pytest.mark.parametrize("dtype, tolerance", [(torch.float32, 1e-4), (torch.float64, 1e-10)])
def test_gradients_flow_through_the_state(kind, dtype, tolerance):
    stack, inputs = stack_of(kind, dtype), inputs_of(dtype=dtype)

    def gradients(lengths):
        leaf = inputs.clone().requires_grad_()
        outputs, state = read_in_pieces(stack, leaf, lengths)
        # Only the last output and the state are used: all gradient of the first pieces comes through states.
        loss = outputs[:, -1].square().sum() + state.ssm.square().sum() + state.conv.square().sum()
        return torch.autograd.grad(loss, [leaf, *stack.parameters()])

    for in_pieces, at_once in zip(gradients([100, 1, 411]), gradients([LENGTH])):
        assert error(in_pieces, at_once) < tolerance
        assert at_once.abs().max() > 0


@KINDS
def test_gradients_reach_a_given_state_and_not_a_detached_one(kind):
    stack, inputs = stack_of(kind), inputs_of(length=20)
    _, state = stack(inputs)
    stack(inputs, state=state.detach())[0].sum().backward()
    assert state.detach().ssm.grad_fn is None
    state.ssm.retain_grad()
    state.conv.retain_grad()
    stack(inputs, state=state)[0].square().sum().backward()
    assert state.ssm.grad.abs().sum() > 0
    assert state.conv.grad.abs().sum() > 0


@KINDS
def test_padding_gets_no_gradient_and_leaves_the_others_alone(kind):
    stack, inputs = stack_of(kind), inputs_of(length=50).requires_grad_()
    outputs, state = stack(inputs, attention_mask=mask_of([50, 20], 50))
    (outputs[1, :20].square().sum() + state.ssm[:, 1].square().sum()).backward()
    assert inputs.grad.isfinite().all()
    assert inputs.grad[1, :20].abs().sum() > 0
    assert inputs.grad[1, 20:].abs().sum() == 0
    assert inputs.grad[0].abs().sum() == 0


@KINDS
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_computes_in_float32(kind, dtype, monkeypatch):
    monkeypatch.setattr(state_space, "cpu_multiplies_bfloat16", lambda: False)
    stack = stack_of(kind, dtype)
    widened = copy.deepcopy(stack).float()
    inputs = inputs_of(dtype=dtype)
    with torch.no_grad():
        outputs, state = stack(inputs)
        expected, expected_state = widened(inputs.float())
    assert outputs.dtype == dtype
    assert state.ssm.dtype == state.conv.dtype == torch.float32
    assert error(state.ssm, expected_state.ssm) < 1e-5
    assert error(outputs.float(), expected) < torch.finfo(dtype).eps
    stack(inputs)[0].float().sum().backward()
    assert all(p.grad.dtype == dtype and p.grad.isfinite().all() for p in stack.parameters())


@KINDS
def test_bfloat16_products_keep_the_state_in_float32(kind, monkeypatch):
    monkeypatch.setattr(state_space, "cpu_multiplies_bfloat16", lambda: True)
    stack, inputs = stack_of(kind, torch.bfloat16), inputs_of(dtype=torch.bfloat16)
    with torch.no_grad():
        outputs, state = stack(inputs)
        expected, expected_state = copy.deepcopy(stack).float()(inputs.float())
    assert outputs.dtype == torch.bfloat16 and state.ssm.dtype == torch.float32
    assert error(state.ssm, expected_state.ssm) < 0.05
    assert error(outputs.float(), expected) < 0.05


def test_autocast_leaves_the_scan_in_float32():
    arguments = [t.float().detach() for t in scan_arguments("mamba2-2")]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = scans.ssd_scan(*arguments, chunk_size=16)[0]
    assert torch.equal(inside, scans.ssd_scan(*arguments, chunk_size=16)[0])


@KINDS
def test_gradient_checkpointing_gives_the_same_gradients(kind):
    class Wrapper(PreTrainedModel):
        config_class = LlamaConfig
        supports_gradient_checkpointing = True

        def __init__(self, config, stack):
            super().__init__(config)
            self.stack = stack

    wrapper = Wrapper(LlamaConfig(), stack_of(kind)).train()
    inputs = inputs_of(length=30)

    def gradients():
        outputs, state = wrapper.stack(inputs)
        loss = outputs.square().sum() + state.ssm.square().sum()
        return torch.autograd.grad(loss, list(wrapper.stack.parameters()))

    kept = gradients()
    wrapper.gradient_checkpointing_enable()
    assert wrapper.stack.layers[0].gradient_checkpointing
    for recomputed, expected in zip(gradients(), kept):
        assert error(recomputed, expected) < 1e-5


@KINDS
def test_initialisation_has_the_distribution_of_transformers(kind):
    torch.manual_seed(0)
    heads = {} if kind == "mamba" else {"num_heads": 128, "head_dim": 4}
    config = config_of(kind, hidden_size=256, rescale_prenorm_residual=True, **heads)
    reference = dict(REFERENCES[kind](config).named_parameters())
    for name, parameter in StateSpaceStack(config).named_parameters():
        expected = reference[name]
        if name.endswith(("A_log", "D", "norm.weight", "norm_f.weight", "conv1d.bias")):
            assert torch.equal(parameter, expected), name
        else:
            spread = expected.std().item()
            assert parameter.std().item() == pytest.approx(spread, rel=0.35), name
            assert parameter.mean().item() == pytest.approx(expected.mean().item(), abs=0.35 * spread), name


@KINDS
def test_a_stack_can_be_built_without_memory(kind):
    with torch.device("meta"):
        stack = StateSpaceStack(config_of(kind))
    assert all(parameter.device.type == "meta" for parameter in stack.parameters())


def test_initialisation_leaves_other_modules_and_loaded_weights_alone():
    stack = stack_of("mamba2-1")
    before = copy.deepcopy(stack.state_dict())
    for parameter in stack.parameters():
        parameter._is_hf_initialized = True
    stack.apply(lambda module: init_state_space(module, stack.config))
    assert all(torch.equal(weight, before[name]) for name, weight in stack.state_dict().items())
    linear = torch.nn.Linear(3, 3)
    weight = linear.weight.clone()
    init_state_space(linear, stack.config)
    assert torch.equal(linear.weight, weight)


def test_state_has_constant_size_and_can_be_indexed():
    stack, inputs = stack_of("mamba2-2"), inputs_of(batch=3)
    _, short = stack(inputs[:, :1])
    _, long = stack(inputs)
    assert short.ssm.shape == long.ssm.shape == (3, 3, 4, 16, 16)
    assert short.conv.shape == long.conv.shape == (3, 3, 64 + 2 * 2 * 16, 3)
    for rows in ([2, 0], slice(1, 3), torch.tensor([1])):
        assert torch.equal(long.select(rows).ssm, long.ssm[:, rows])
        assert torch.equal(long.select(rows).conv, long.conv[:, rows])
    moved = long.to("meta")
    assert moved.ssm.device.type == moved.conv.device.type == "meta"


@pytest.mark.parametrize("mask", [[[0, 1, 1], [1, 1, 1]], [[1, 0, 1], [1, 1, 0]]])
def test_left_padding_and_holes_are_refused(mask):
    with pytest.raises(ValueError, match="pad on the right"):
        stack_of("mamba2-1")(inputs_of(length=3), attention_mask=torch.tensor(mask))


def test_wrong_sizes_are_refused():
    stack, inputs = stack_of("mamba2-1"), inputs_of(length=5)
    with pytest.raises(ValueError, match="attention_mask has shape"):
        stack(inputs, attention_mask=torch.ones(2, 4))
    _, state = stack(inputs)
    with pytest.raises(ValueError, match="a state of the same stack"):
        stack(inputs[:1], state=state)
    with pytest.raises(ValueError, match="a state of the same stack"):
        stack_of("mamba")(inputs, state=state)
    with pytest.raises(ValueError, match="'mamba2' or 'mamba'"):
        StateSpaceStack(LlamaConfig())


@pytest.fixture
def mamba_ssm(monkeypatch):
    """Stand-ins with the signatures and the limits of mamba-ssm's kernels; the scans believe to be on CUDA."""
    calls = []

    def mamba_chunk_scan_combined(x, dt, A, B, C, chunk_size, D=None, initial_states=None, return_final_states=False):
        assert return_final_states
        calls.append("mamba2")
        return scans.ssd_reference(x, dt, A, B, C, D, initial_states)

    def selective_scan_fn(u, delta, A, B, C, D=None):
        calls.append("mamba")
        assert all(t.is_contiguous() for t in (u, delta, B, C))
        state = torch.zeros(*u.shape[:2], A.shape[1], dtype=u.dtype)
        u, delta, B, C = (t.transpose(1, 2) for t in (u, delta, B, C))
        return scans.selective_scan_reference(u, delta, A, B, C, D, state)[0].transpose(1, 2)

    names = ["mamba_ssm", "mamba_ssm.ops", "mamba_ssm.ops.selective_scan_interface"]
    names += ["mamba_ssm.ops.triton", "mamba_ssm.ops.triton.ssd_combined"]
    for name in names:
        monkeypatch.setitem(sys.modules, name, ModuleType(name))
    sys.modules["mamba_ssm.ops.selective_scan_interface"].selective_scan_fn = selective_scan_fn
    sys.modules["mamba_ssm.ops.triton.ssd_combined"].mamba_chunk_scan_combined = mamba_chunk_scan_combined
    scans._import_kernels.cache_clear()
    kernels = scans.cuda_kernels(torch.device("cuda"))
    monkeypatch.setattr(scans, "cuda_kernels", lambda device: kernels)
    yield calls
    scans._import_kernels.cache_clear()


@KINDS
def test_kernels_of_mamba_ssm_are_given_what_they_need(kind, mamba_ssm, monkeypatch):
    stack, inputs = stack_of(kind, torch.float64), inputs_of(length=40, dtype=torch.float64)
    mask = mask_of([40, 7], 40)

    def results():
        leaf = inputs.clone().requires_grad_()
        _, state = stack(leaf[:, :9])
        outputs, state = stack(leaf, attention_mask=mask, state=state)
        loss = outputs[mask.bool()].square().sum() + state.ssm.square().sum()
        return outputs[mask.bool()], state.ssm, *torch.autograd.grad(loss, [leaf, *stack.parameters()])

    by_kernel = results()
    assert set(mamba_ssm) == {kind.split("-")[0]}
    monkeypatch.setattr(scans, "cuda_kernels", lambda device: None)
    for ours, expected in zip(by_kernel, results()):
        assert error(ours, expected) < 1e-8


def test_without_mamba_ssm_or_cuda_no_kernel_is_used(monkeypatch):
    assert scans.cuda_kernels(torch.device("cpu")) is None
    monkeypatch.setitem(sys.modules, "mamba_ssm", None)
    scans._import_kernels.cache_clear()
    assert scans.cuda_kernels(torch.device("cuda")) is None
    scans._import_kernels.cache_clear()
