"""What a chat template takes, found out by rendering it, and messages arranged so that it takes them."""

import re
from collections.abc import Callable
from dataclasses import dataclass

from jinja2 import TemplateError


BETWEEN = "\n\n"  # two messages that become one
REMARKS = {
    "system": "The chat template takes no system message: the system prompt goes into the user's first message.",
    "assistant_first": "The chat template begins with the user: an assistant's message before that becomes history.",
    "repeats": "The chat template wants roles to alternate: neighbours of one role become one message.",
}


@dataclass(frozen=True)
class TemplateRules:
    r"""
    What a chat template takes. Many refuse a system message, or leave it out without a word; many want the roles to
    alternate, from a user's message on; some read content as a list of parts and not as a string.

    Args:
        parts (`bool`): Whether content has to be a list of parts.
        system (`bool`): Whether it takes a system message at the beginning.
        later_system (`bool`): Whether it takes one after others.
        assistant_first (`bool`): Whether it takes a conversation that another than the user begins.
        assistant_alone (`bool`): Whether it takes one without a user's message.
        repeats (`bool`): Whether it takes two messages of one role in a row.
    """

    parts: bool = False
    system: bool = True
    later_system: bool = True
    assistant_first: bool = True
    assistant_alone: bool = True
    repeats: bool = True

    @classmethod
    def of(cls, render: Callable[[list[dict]], str]) -> "TemplateRules":
        r"""
        Finds out what a template takes: what it neither refuses, leaves out nor moves.

        Args:
            render (`Callable`): Renders messages `{"role", "content"}` by the template.

        Returns:
            `TemplateRules`: of a template that does not even take a user's message, that it takes all. Its own error
            then says why.
        """

        def takes(*roles: str, parts: bool) -> bool:
            marks = [f"message{index}" for index in range(len(roles))]
            messages = [{"role": role, "content": mark} for role, mark in zip(roles, marks)]
            try:
                text = render([in_parts(message) for message in messages] if parts else messages)
            except (TemplateError, TypeError):
                return False
            return re.fullmatch(".*".join(["", *marks, ""]), text, flags=re.DOTALL) is not None

        parts = not takes("user", parts=False)
        if parts and not takes("user", parts=True):
            return cls()
        # Some write the system message beside the last one, if that is the user's; some keep the last of several.
        turn = ("user", "assistant")
        system = takes("system", *turn, parts=parts) and takes("system", *turn, "user", parts=parts)
        return cls(
            parts=parts,
            system=system,
            later_system=takes(*(["system"] if system else []), *turn, "system", "user", parts=parts),
            assistant_first=takes("assistant", "user", parts=parts),
            assistant_alone=takes("assistant", parts=parts),
            repeats=takes("user", "user", "assistant", "assistant", "user", parts=parts),
        )

    @property
    def remarks(self) -> list[str]:
        """What becomes of messages that the template does not take, each in one line."""
        return [remark for name, remark in REMARKS.items() if not getattr(self, name)]

    def arrange(self, messages: list[dict]) -> list[dict]:
        """
        The messages as the template takes them. A system message that it refuses goes into the user's message after
        it. Where roles have to alternate, neighbours of one role become one message, whose speaker and emotion are
        those of the later one.
        """
        arranged, joins = [], False
        for index, message in enumerate(messages):
            refused = message["role"] == "system" and not (self.later_system if index else self.system)
            message = {**message, "role": "user"} if refused else message
            if arranged and arranged[-1]["role"] == message["role"] and (joins or not self.repeats):
                content = arranged[-1]["content"] + BETWEEN + message["content"]
                arranged[-1] = {**arranged[-1], **message, "content": content}
            else:
                arranged.append(message)
            joins = refused
        return [in_parts(message) for message in arranged] if self.parts else arranged

    def beginnings(self, roles: list[str], recent: int) -> list[int]:
        r"""
        Where the verbatim part of a conversation may begin.

        Args:
            roles (`list[str]`): Role of each message, without the system message at the beginning.
            recent (`int`): Number of newest messages that should stay verbatim.

        Returns:
            `list[int]`: indices of messages, at least one. They leave no more than `recent` messages verbatim, except
            where the template takes none of these as the first; then it is the nearest one before them.
        """
        wanted = max(len(roles) - recent, 0)
        taken = [
            index
            for index, role in enumerate(roles)
            if (self.assistant_first or role == "user") and (self.assistant_alone or "user" in roles[index:])
        ]
        return [index for index in taken if index >= wanted] or taken[-1:] or [wanted]


def in_parts(message: dict) -> dict:
    """A message whose content is a list of one part."""
    return {**message, "content": [{"type": "text", "text": message["content"]}]}
