"""Processes that are killed while they write: the old or the new is found, whole, and nothing beside it."""

import json
import os
import random
import signal
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from transformers import TrainerCallback, TrainingArguments

from fuzz.cases import CASES, SEED
from fuzz.child import PROCESSES
from helpers import user
from transformers_empathav import ConversationMemory
from transformers_empathav.modeling.memory_file_empathav import MEMORY_FILE
from transformers_empathav.testing.tiny import tiny_model
from transformers_empathav.training.arguments import resume_from
from transformers_empathav.training.compressor.collator import ReconstructionCollator
from transformers_empathav.training.compressor.reconstruction import Reconstruction
from transformers_empathav.training.compressor.trainer import CompressorTrainer


KILLS = max(CASES // 50, 4)


def kill_within(writer, begun, seconds: float, draw: random.Random):
    """Kills a writer at some moment of the time that one writing takes."""
    assert begun.poll(60), "the writer does not write"
    begun.recv()
    time.sleep(draw.uniform(0, 1.2 * seconds))
    writer.kill()
    writer.join()
    assert writer.exitcode == -signal.SIGKILL


def write_memories(versions, folder, begun):
    os.nice(5)
    files = ConversationMemory.from_pretrained(folder).files
    while True:
        for version in versions:
            version = replace(version, files=files)
            begun.send(None)
            version.save_pretrained(folder)
            files = version.files


@pytest.fixture
def versions(model, processor):
    """A memory large enough that writing it takes milliseconds, and the same with one utterance more."""
    memory = model.compress(**processor.encode_history([user("I lost my job")] * 20))
    memory = replace(memory, vectors=memory.vectors.double().repeat(1, 1, 2000))
    return memory, replace(memory, vectors=memory.vectors + 1)


def test_killed_while_writing_a_memory(versions, tmp_path):
    versions[0].save_pretrained(tmp_path)
    begin = time.perf_counter()
    versions[0].save_pretrained(tmp_path)
    seconds, draw = time.perf_counter() - begin, random.Random(f"{SEED} memory")
    for _ in range(KILLS):
        begun, other = PROCESSES.Pipe(duplex=False)
        writer = PROCESSES.Process(target=write_memories, args=(versions, tmp_path, other))
        writer.start()
        other.close()
        kill_within(writer, begun, seconds, draw)
        found = ConversationMemory.from_pretrained(tmp_path)
        assert any(torch.equal(one.vectors, found.vectors) for one in versions)
        found.save_pretrained(tmp_path)
        assert [path.name for path in tmp_path.iterdir()] == [MEMORY_FILE]


class Announce(TrainerCallback):
    """Says when a checkpoint is about to be written."""

    def __init__(self, begun):
        self.begun = begun

    def on_step_end(self, args, state, control, **kwargs):
        self.begun.send(None)


def trainer(processor, folder, steps: int, callbacks=()) -> CompressorTrainer:
    arguments = TrainingArguments(
        str(folder), max_steps=steps, save_strategy="steps", save_steps=1, save_total_limit=2, learning_rate=1e-3,
        use_cpu=True, report_to="none", disable_tqdm=True, resume_from_checkpoint="true",
    )  # fmt: skip
    data = [[{"role": "user", "content": text}] for text in ("I lost my job", "we won")]
    lesson, collator = Reconstruction(tiny_model(processor)), ReconstructionCollator(processor)
    return CompressorTrainer(lesson, arguments, collator, data, callbacks=[*callbacks])


def train_on(processor, folder, begun):
    own = trainer(processor, folder, 100_000, [Announce(begun)])
    own.train(resume_from_checkpoint=resume_from(own.args))


def test_killed_while_writing_a_checkpoint(processor, tmp_path):
    """A run goes on from the newest whole checkpoint, and never falls back behind the one that it went on from."""
    draw, step, args = random.Random(f"{SEED} checkpoint"), 0, trainer(processor, tmp_path, 1).args
    for _ in range(KILLS):
        begun, other = PROCESSES.Pipe(duplex=False)
        writer = PROCESSES.Process(target=train_on, args=(processor, tmp_path, other))
        writer.start()
        other.close()
        kill_within(writer, begun, 0.05, draw)
        found = resume_from(args)
        reached = 0 if found is None else json.loads((Path(found) / "trainer_state.json").read_text())["global_step"]
        assert reached >= step  # a kill that comes late finds more than one
        step = reached
    last = trainer(processor, tmp_path, step + 3)
    last.train(resume_from_checkpoint=resume_from(last.args))
    assert last.state.global_step == step + 3
    names = [path.name for path in tmp_path.rglob("*")]
    assert not [name for name in names if name.startswith(".")]
    assert {f"checkpoint-{step + 2}", f"checkpoint-{step + 3}"} == {name for name in names if "checkpoint" in name}
