"""Who answers a turn: the language model, or fixed words where the person may be in danger."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from .safety import Safety, cheerful, next_careful
from .writing import after, as_written, unless


if TYPE_CHECKING:
    from .conversation import Conversation


def named_danger(conversation: "Conversation", text: str) -> Safety | None:
    """What is found in a message by its words, or in the one before where a careful answer asked about that."""
    responder, tail = conversation.responder, conversation.tail
    found = responder.safety(text)
    if found is None and len(tail) > 1 and tail[-1].text in responder.careful:
        before = responder.find_danger(tail[-2].text)
        found = before if before is not None and before.sure else None
    return noted(conversation, found)


def answer(
    conversation: "Conversation", text: str, inputs: dict, generation: dict, danger: Safety | None
) -> Iterator[str]:
    r"""
    Writes the reply. What the language model's states say of the message is known once they have read the prompt.

    Args:
        conversation ([`Conversation`]): Whose `safety` is set before the first piece.
        text (`str`): The newest message.
        inputs (`dict`): Arguments of `generate` for its prompt.
        generation (`dict`): Options of [`write`].
        danger ([`Safety`], *optional*): Of [`named_danger`].

    Yields and returns as [`write`].
    """
    responder = conversation.responder
    if danger is not None and danger.sure and responder.careful:
        return (yield from careful(conversation))
    watch = None if danger is not None else responder.watch(inputs["input_ids"])
    if watch is None:
        writing = responder.write(inputs, conversation.cache, **generation)
    else:
        conversation.cache.shorten(inputs["input_ids"].shape[1] - watch.tokens)
        writing = responder.write(inputs, conversation.cache, watch=watch, **generation)
        begun = next(writing)
        danger = noted(conversation, responder.find_danger(text, watch.score))
        writing = after(begun, writing)
    if danger is None or not responder.careful:
        return (yield from writing)
    if danger.sure:
        writing.close()
        return (yield from careful(conversation))
    return (yield from unless(cheerful, writing, as_written(responder.check, responder.processor.tokenizer)))


def careful(conversation: "Conversation") -> Iterator[str]:
    """The careful answer whose turn it is."""
    responder = conversation.responder
    said = [message.text for message in conversation.tail if message.role == "assistant"]
    return as_written(next_careful(responder.careful, said), responder.processor.tokenizer)


def noted(conversation: "Conversation", found: Safety | None) -> Safety | None:
    """What was found; what is sure is the turn's."""
    conversation.safety = found if found is not None and found.sure else None
    return found
