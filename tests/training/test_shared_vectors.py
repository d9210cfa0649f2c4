"""Vectors of clips and memory with a language model that several processes share."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml
from accelerate.commands.config.config_args import load_config_from_file
from peft import get_peft_model

from pairs import clip, pair
from transformers_empathav.testing.tiny import tiny_model
from transformers_empathav.training.collator import PAIR, ConversationCollator
from transformers_empathav.training.lora import language_model_lora
from transformers_empathav.training.shared_vectors import shared_vectors


ROOT = Path(__file__).parents[2]
CONFIGS = ROOT / "recipes" / "accelerate_configs"
SHARDED = """
import sys

import torch
import torch.distributed as dist
from accelerate.utils.fsdp_utils import get_parameters_from_modules
from peft import get_peft_model
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from trl.trainer.utils import add_fused_lm_head

from helpers import wake
from pairs import mixed_pairs
from transformers_empathav.testing.tiny import tiny_model, tiny_processor
from transformers_empathav.training.collator import PAIR, ConversationCollator
from transformers_empathav.training.lora import language_model_lora
from transformers_empathav.training.shared_vectors import shared_vectors, text_inputs

dist.init_process_group("gloo")
processor = tiny_processor()
batch = ConversationCollator(processor, PAIR)(mixed_pairs())
text = {k: x for k, x in text_inputs(batch).items() if k not in ("modalities", "completion_mask")}
labels = batch["input_ids"].masked_fill(batch["completion_mask"] == 0, -100)


def build():
    torch.manual_seed(0)
    model = wake(tiny_model(processor)).requires_grad_(False)
    add_fused_lm_head(model)
    model = get_peft_model(model, language_model_lora(4))
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                parameter.copy_(0.3 * torch.randn(parameter.shape))
    return model


def loss(model):
    vectors = shared_vectors(model.get_base_model(), batch, 2)
    chosen, rejected = model(**text, **vectors, labels=labels, fused_lm_head=True).log_probs.sum(1).chunk(2)
    return -torch.nn.functional.logsigmoid(0.5 * (chosen - rejected)).mean()


plain, sharded = build(), build()
whole = get_parameters_from_modules(sys.argv[1], sharded, torch.device("cpu"))
mesh = init_device_mesh("cpu", (2,))
for layer in sharded.get_base_model().model.language_model.layers:
    fully_shard(layer, mesh=mesh, ignored_params=whole)
fully_shard(sharded, mesh=mesh, ignored_params=whole)
wanted, found = loss(plain), loss(sharded)
assert abs(wanted - found) < 1e-6, (wanted, found)
wanted.backward()
found.backward()
gradients = {name: x.grad for name, x in plain.named_parameters() if x.grad is not None}
for name, parameter in sharded.named_parameters():
    if name in gradients:
        assert torch.allclose(parameter.grad.full_tensor(), gradients[name], atol=1e-6), name
try:
    other = build()
    fully_shard(other, mesh=mesh)
    loss(other)
except RuntimeError as error:
    assert "fsdp_ignored_modules" in str(error)
    print("done")
dist.destroy_process_group()
"""


def ignored_modules():
    return yaml.safe_load((CONFIGS / "fsdp.yaml").read_text())["fsdp_config"]["fsdp_ignored_modules"]


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.yaml")), ids=lambda path: path.stem)
def test_accelerate_understands_its_configurations(path):
    assert load_config_from_file(str(path)).num_processes >= 1


def test_what_fsdp_leaves_whole_is_what_makes_vectors(processor):
    model = get_peft_model(tiny_model(processor), language_model_lora(4))
    network = model.get_base_model().model
    matched = {id(module) for name, module in model.named_modules() if re.fullmatch(ignored_modules(), name)}
    assert matched == {id(part) for part in (network.extractor, network.compressor, network.get_input_embeddings())}


def test_a_sharded_language_model_gives_the_same_loss_and_gradients(tmp_path):
    (tmp_path / "sharded.py").write_text(SHARDED)
    paths = [str(ROOT / "src"), str(ROOT / "tests"), os.environ.get("PYTHONPATH", "")]
    done = subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", "2", "sharded.py", ignored_modules()],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths), "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0 and done.stdout.count("done") == 2, done.stderr


def test_the_extractor_runs_outside_autocast(model, processor):
    batch = ConversationCollator(processor, PAIR)([pair("a", [clip(1)])])
    wanted = shared_vectors(model, batch)["av_embeds"]
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(shared_vectors(model, batch)["av_embeds"], wanted)
