"""Options of recipes that choose a writer."""

import json
import os
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch

from ..checkpoint.wheels import sha256
from .local import LocalWriter
from .remote import RemoteWriter
from .sampling import Sampling


@dataclass
class WriterArguments:
    """A model in this process, or with `server` one behind a server. [`WriterArguments.open`] gives the writer."""

    writer: str | None = field(default=None, metadata={"help": "Checkpoint; with --server the model's name there."})
    adapter: str | None = field(default=None, metadata={"help": "PEFT adapter of the writer."})
    dtype: str | None = field(
        default=None, metadata={"help": "Of the writer's weights in this process; on a CPU float32 by default."}
    )
    rows_per_batch: int = field(default=1, metadata={"help": "Contexts written at once, seven replies each."})
    system_prompt: str | None = field(default=None, metadata={"help": "Goes before every prompt of the writer."})
    server: str | None = field(default=None, metadata={"help": "Address up to and with /v1."})
    concurrency: int = field(default=8, metadata={"help": "Contexts that a server works on at once."})
    requests_per_second: float | None = field(default=None, metadata={"help": "Bound on requests to a server."})
    timeout: float = field(default=120.0, metadata={"help": "Seconds to wait for an answer of a server."})
    retries: int = field(default=6, metadata={"help": "Further tries of a request that failed."})
    api_key_variable: str = field(
        default="OPENAI_API_KEY", metadata={"help": "Environment variable with the server's key, where it wants one."}
    )
    extra_body: str | None = field(default=None, metadata={"help": "Further fields of each request, as JSON."})

    def __post_init__(self):
        if self.server and self.adapter:
            raise ValueError(
                "--adapter is for a writer in this process: load it in the server, and name it as --writer."
            )

    def open(self, sampling: Sampling, device: str | torch.device | None = None) -> LocalWriter | RemoteWriter:
        """Loads the model, or prepares to ask the server."""
        if not self.server:
            return LocalWriter.from_pretrained(self.writer, self.adapter, sampling, device, self.dtype)
        return RemoteWriter(
            self.server,
            self.writer,
            sampling,
            os.environ.get(self.api_key_variable),
            self.concurrency,
            self.requests_per_second,
            self.timeout,
            self.retries,
            json.loads(self.extra_body or "{}"),
        )

    def settings(self, sampling: Sampling) -> dict:
        """What replies depend on. Other settings are another writer, and so is an adapter that was trained again."""
        names = ("writer", "system_prompt", "adapter")
        names += ("extra_body",) if self.server else ("rows_per_batch", "dtype")
        drawn = asdict(sampling)
        if sampling.repetition_penalty == 1:  # journals that were begun without this option go on
            del drawn["repetition_penalty"]
        weights = Path(self.adapter or "", "adapter_model.safetensors")
        digest = sha256(weights) if self.adapter and weights.is_file() else None
        return {
            **{name: getattr(self, name) for name in names},
            **drawn,
            "server": bool(self.server),
            "adapter_sha256": digest,
        }
