"""The file of a conversation: its memory, its newest messages and their emotion vectors."""

import hashlib
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from safetensors.torch import load, save

from ..modeling.conversation_memory_empathav import MEMORY_FILE, ConversationMemory
from ..modeling.memory_file_empathav import digest, one_line, read_file, replace_file
from ..processing.messages_empathav import parse_messages
from .message import Message


if TYPE_CHECKING:
    from .conversation import Conversation
    from .responder import Responder

CONVERSATION_FILE = "conversation.safetensors"
FORMAT = "1"
STATE = ("system", "recent_turns", "tail", "emotions", "transcript")


def pack_conversation(conversation: "Conversation") -> bytes:
    """The content of a conversation's file, which [`unpack_conversation`] reads; for a store of your own."""
    memory = torch.frombuffer(bytearray(conversation.memory.to_bytes()), dtype=torch.uint8)
    tensors = {"memory": memory}
    for place, message in enumerate(conversation.tail):
        if message.vectors is not None:
            tensors[f"clips.{place}"] = message.vectors.detach().cpu().contiguous()
    state = {name: getattr(conversation, name) for name in STATE} | {"tail": conversation.messages}
    text = json.dumps(state)
    return save(tensors, {"format": FORMAT, "conversation": text, "checksum": digest(text, tensors)})


def read_content(data: bytes, name: str) -> tuple[ConversationMemory, dict, dict[int, torch.Tensor]]:
    r"""
    Reads what [`pack_conversation`] wrote, without a checkpoint.

    Args:
        data (`bytes`): The content.
        name (`str`): What errors call it.

    Returns:
        `tuple`: the memory, the `STATE`, and by the place of a newest message the emotion vectors of its clips.

    Raises:
        `ValueError`: If it is damaged or of another format.
    """
    try:
        tensors = load(data)
        metadata = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")]).get("__metadata__") or {}
        if metadata.get("format") != FORMAT:
            raise ValueError(f"its format is {ascii(metadata.get('format')):.20}, and this version reads {FORMAT}")
        if metadata.get("checksum") != digest(metadata["conversation"], tensors):
            raise ValueError("its content is not what its checksum says")
        state = json.loads(metadata["conversation"])
        if state.keys() != set(STATE):
            raise ValueError(f"it holds {', '.join(map(ascii, state))} in place of {', '.join(STATE)}")
        memory = ConversationMemory.from_bytes(tensors.pop("memory").numpy().tobytes(), "its memory")
        vectors = {int(key.removeprefix("clips.")): value for key, value in tensors.items()}
        if strays := [ascii(place) for place in vectors if not 0 <= place < len(state["tail"])]:
            raise ValueError(f"it has clips of message {strays[0]}, which is not there")
        return memory, state, vectors
    except Exception as error:  # safetensors and torch raise many
        raise ValueError(f"{name} is damaged ({one_line(error)}): begin a new conversation.") from error


def unpack_conversation(data: bytes, responder: "Responder", name: str = "The conversation") -> "Conversation":
    r"""
    Continues what [`pack_conversation`] wrote; all of it is checked.

    Args:
        data (`bytes`): The content.
        responder ([`Responder`]): Continues the conversation.
        name (`str`, *optional*): What errors call it.

    Raises:
        `ValueError`: If it is damaged, of another format, or of another checkpoint.
    """
    from .conversation import Conversation

    memory, state, vectors = read_content(data, name)
    labels = responder.processor.emotion_labels
    try:
        turns = parse_messages(state["tail"], labels, may_be_empty=True)
        check_state(state, labels, len(turns) + memory.num_utterances)
    except (ValueError, TypeError, KeyError) as error:
        raise ValueError(f"{name} is of another kind of checkpoint ({one_line(error)}): begin anew.") from error
    conversation = Conversation(responder, memory=memory, system=state["system"], recent_turns=state["recent_turns"])
    for place, turn in enumerate(turns):
        clips = vectors.get(place)
        if clips is not None:
            check_vectors(clips, responder, name)
            clips = clips.to(responder.device, responder.model.dtype)
        conversation.tail.append(Message(turn.role, turn.text, turn.emotion, turn.speaker, clips))
    conversation.emotions, conversation.transcript = state["emotions"], state["transcript"]
    return conversation


def save_conversation(conversation: "Conversation", path: str | os.PathLike, must_be_new: bool = False):
    r"""
    Writes a conversation to one file; an older one there is replaced in one step.

    Args:
        conversation ([`Conversation`]): The conversation.
        path (`str` or `os.PathLike`): The file, or a directory for `conversation.safetensors` in it.
        must_be_new (`bool`, *optional*, defaults to `False`):
            Whether a file that this conversation was not read from is refused, and not replaced with a warning.

    Raises:
        `ValueError`: If someone else has written the file since. It stays.
        `OSError`: If it cannot be written. An older file stays.
    """
    path = os.path.realpath(file_of(path))
    known = conversation.files.get(path)
    conversation.files[path] = replace_file(Path(path), pack_conversation(conversation), known, must_be_new)


def load_conversation(path: str | os.PathLike, responder: "Responder") -> "Conversation":
    r"""
    Reads a conversation. A directory that holds a memory alone is read, too: nothing is word by word then.

    Args:
        path (`str` or `os.PathLike`): As in [`save_conversation`].
        responder ([`Responder`]): Continues the conversation.

    Raises:
        `FileNotFoundError`: If there is none.
        `ValueError`: If it is damaged or of another checkpoint.
    """
    from .conversation import Conversation

    file = file_of(path)
    if not file.is_file() and (file.parent / MEMORY_FILE).is_file():
        return Conversation(responder, memory=ConversationMemory.from_pretrained(file.parent))
    if not file.is_file():
        raise FileNotFoundError(f"No conversation at {file}: give a file that Conversation.save wrote.")
    data = read_file(file)
    conversation = unpack_conversation(data, responder, str(file))
    conversation.files[os.path.realpath(file)] = hashlib.sha256(data).hexdigest()
    return conversation


def peek(path: str | os.PathLike) -> tuple[ConversationMemory, list[dict]]:
    """The memory of a conversation and its newest messages, without a checkpoint; errors as [`load_conversation`]."""
    file = file_of(path)
    if not file.is_file():
        return ConversationMemory.from_pretrained(file.parent), []
    memory, state, _ = read_content(read_file(file), str(file))
    return memory, state["tail"]


def is_conversation(path: str | os.PathLike) -> bool:
    """Whether [`load_conversation`] finds something at `path`."""
    file = file_of(path)
    return file.is_file() or (file.parent / MEMORY_FILE).is_file()


def file_of(path: str | os.PathLike) -> Path:
    """The file that a path names, which may be that of its directory."""
    path = Path(path)
    return path if path.suffix == ".safetensors" and not path.is_dir() else path / CONVERSATION_FILE


def check_vectors(vectors: torch.Tensor, responder: "Responder", name: str):
    """Raises a `ValueError` unless `vectors` are emotion vectors for this checkpoint."""
    config = responder.model.config
    wanted = (config.num_query_tokens, config.text_config.hidden_size)
    if vectors.dim() != 3 or vectors.shape[1:] != wanted or not vectors.float().isfinite().all():
        raise ValueError(
            f"{name} has emotion vectors of shape {tuple(vectors.shape)}, and this checkpoint takes (clips, "
            f"{wanted[0]}, {wanted[1]}), all finite: it is of another checkpoint."
        )


def check_state(state: dict, labels: list[str], messages: int):
    """Raises an error unless settings, emotions and transcript are such as a conversation of `messages` writes."""
    if not (state["system"] is None or isinstance(state["system"], str)) or type(state["recent_turns"]) is not int:
        raise ValueError("its system prompt or recent_turns is of another kind")
    if (
        state["transcript"] is not None
        and len(parse_messages(state["transcript"], labels, may_be_empty=True)) != messages
    ):
        raise ValueError("its transcript is not of all messages")
    for felt in state["emotions"]:
        if type(felt["turn"]) is not int or not 0 <= felt["turn"] < messages:
            raise ValueError(f"an emotion is of message {felt['turn']!r}, not within 0 and {messages - 1}")
        if felt["scores"].keys() != set(labels) or not all(type(score) is float for score in felt["scores"].values()):
            raise ValueError(f"the emotions of message {felt['turn']} are not one number for each label")
