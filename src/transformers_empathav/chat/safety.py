"""Statements of acute danger: where people help, shown beside the answer, and what is answered."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from .safety_lexicon import danger_in


SUICIDE, SELF_HARM, VIOLENCE = "suicide", "self-harm", "violence"
UNNAMED = "danger"  # read from a message or a reply, without saying which
# What a reply sends people to whom it takes to be in danger. A doctor or the police alone may be everyday talk.
SENDS_TO = re.compile(
    r"\b(emergency (number|services|room)|ambulance|crisis line|help ?line|hotline|poison (line|control))\b|"
    r"\b(call|ring|phone|tell|go to|contact) the police\b",
    re.IGNORECASE,
)
ALL = (SUICIDE, SELF_HARM, VIOLENCE)
# What is answered where a danger was found: the first time, the second, and from then on.
CAREFUL = (
    "What you write worries me, and I take it seriously. Are you safe right now? I am only a program and may "
    "misunderstand you. Please talk to somebody who can be with you: a crisis line, your emergency number, or a "
    "person whom you trust. You can go on writing to me.",
    "I am still here, and I am still worried. Is somebody near you now? If anybody is in danger at this moment, call "
    "your emergency number. If you can wait, a crisis line listens day and night. You can write to me meanwhile.",
    "I cannot judge from here how safe you are, and people can. Have you reached somebody? Please call a crisis line "
    "or your emergency number, or ask somebody to sit with you. I go on reading what you write.",
)
# What is answered in place of a cheerful reply, where a message may speak of danger.
CHECK = (
    "I want to be sure that I understand you. How are you feeling about this? If any of it is hard to carry, please "
    "tell somebody who is near you, too."
)
CHEERS = re.compile(
    r"\b(great|nice|good|amazing|cool|excit\w+|awesome|wonderful|sweet|fun|funny|hilarious|brave|lucky|love|lovely|"
    r"happy|helpful|fantastic|congrat\w+|wow|yay|glad|proud|pleased|thrilled|enjoy\w*|beautiful|perfect|adventure|"
    r"accomplishment)\b",
    re.IGNORECASE,
)
NOTICE = {
    SUICIDE: "You say that you may want to die. This program cannot help you. People can, now:",
    SELF_HARM: "You say that you hurt yourself, or want to. This program cannot help you. People can, now:",
    VIOLENCE: "You say that somebody hurts or threatens you. This program cannot help you. People can, now:",
}


def next_careful(careful: Sequence[str], said: Sequence[str]) -> str:
    """The careful answer whose turn it is, by how many of them were `said`; the last one from then on."""
    return careful[min(sum(answer in careful for answer in said), len(careful) - 1)]


def cheerful(reply: str) -> bool:
    """Whether the first sentence of a reply is, by its words; "glad you told me" is not."""
    first = re.split(r"(?<=[.!?])\s", reply.strip())[0]
    return (
        CHEERS.search(re.sub(r"glad (that )?you (told|tell|said|wrote)|not (good|nice|great|fun)", "", first))
        is not None
    )


@dataclass(frozen=True)
class HelpLine:
    """
    Somebody who helps.

    Args:
        country (`str`): ISO 3166 code, such as `"GB"`; empty for all countries.
        name (`str`): Who they are.
        contact (`str`): Number or address.
        source (`str`): Where it says so.
        kinds (`tuple[str, ...]`): Of danger: `"suicide"`, `"self-harm"`, `"violence"`.
    """

    country: str
    name: str
    contact: str
    source: str
    kinds: tuple[str, ...] = (SUICIDE, SELF_HARM)


HELP_LINES = (
    HelpLine("", "Find A Helpline, of your country", "findahelpline.com", "https://findahelpline.com", ALL),
    HelpLine("US", "Emergency", "911", "https://www.911.gov", ALL),
    HelpLine("US", "988 Suicide & Crisis Lifeline", "call or text 988", "https://988lifeline.org"),
    HelpLine("US", "National Domestic Violence Hotline", "1-800-799-7233", "https://www.thehotline.org", (VIOLENCE,)),
    HelpLine("CA", "Suicide Crisis Helpline", "call or text 988", "https://988.ca"),
    HelpLine("GB", "Emergency", "999", "https://www.police.uk", ALL),
    HelpLine("GB", "Samaritans", "116 123", "https://www.samaritans.org"),
    HelpLine(
        "GB", "National Domestic Abuse Helpline", "0808 2000 247", "https://www.nationaldahelpline.org.uk", (VIOLENCE,)
    ),
    HelpLine("IE", "Samaritans", "116 123", "https://www.samaritans.org"),
    HelpLine("AU", "Lifeline", "13 11 14", "https://www.lifeline.org.au"),
    HelpLine("AU", "1800RESPECT", "1800 737 732", "https://www.1800respect.org.au", (VIOLENCE,)),
    HelpLine("DE", "Notruf", "112", "https://112.eu", ALL),
    HelpLine("DE", "TelefonSeelsorge", "0800 111 0 111", "https://www.telefonseelsorge.de"),
    HelpLine("DE", "Hilfetelefon Gewalt gegen Frauen", "116 016", "https://www.hilfetelefon.de", (VIOLENCE,)),
    HelpLine("AT", "TelefonSeelsorge", "142", "https://www.telefonseelsorge.at"),
    HelpLine("CH", "Die Dargebotene Hand", "143", "https://www.143.ch"),
    HelpLine("FR", "Numéro national de prévention du suicide", "3114", "https://3114.fr"),
    HelpLine("NL", "113 Zelfmoordpreventie", "113", "https://www.113.nl"),
)


@dataclass(frozen=True)
class Safety:
    """
    What was found in a statement, and who helps.

    Args:
        kind (`str`):
            `"suicide"`, `"self-harm"` or `"violence"`; `"danger"` where the language model's states or the reply speak
            of one. A recogniser of your own may have others.
        lines (`tuple[HelpLine, ...]`): Who helps.
        sure (`bool`, *optional*, defaults to `True`):
            Whether it counts by itself. What is in doubt is not shown; but no cheerful reply is given to it.
    """

    kind: str
    lines: tuple[HelpLine, ...]
    sure: bool = True

    @property
    def notice(self) -> str:
        """What a person is told before the lines."""
        return NOTICE.get(self.kind, "You may be in danger. This program cannot help you. People can, now:")

    def to_dict(self) -> dict:
        """As JSON has it."""
        lines = [{"country": line.country, "name": line.name, "contact": line.contact} for line in self.lines]
        return {"kind": self.kind, "notice": self.notice, "lines": lines}


class SafetyLexicon:
    r"""
    Looks for statements of acute danger with a lexicon of English phrases, [`danger_in`], and for replies that send to
    those who help ([`SafetyLexicon.of_reply`]): they are often right where the lexicon finds nothing.

    Args:
        country (`str`, *optional*):
            ISO 3166 code of a country. Its lines are shown, and those for all countries; without it those of every
            country.
        lines (`Sequence[HelpLine]`, *optional*): Who helps; `HELP_LINES` by default.

    Raises:
        `ValueError`: no line is of that country.

    Example:

    ```python
    responder = Responder("build/smollm2-135m-tuned", safety=SafetyLexicon("DE"))
    Responder("build/smollm2-135m-tuned", safety=my_classifier)  # text -> Safety or None
    ```
    """

    def __init__(self, country: str | None = None, lines: Sequence[HelpLine] = HELP_LINES):
        known = sorted({line.country for line in lines if line.country})
        if country is not None and country.upper() not in known:
            raise ValueError(
                f"There is no help line of {country!r}: there are those of {', '.join(known)}. Without a country the "
                "lines of all are shown."
            )
        self.lines = tuple(line for line in lines if country is None or line.country in ("", country.upper()))

    def __call__(self, text: str) -> Safety | None:
        """What is found in a text; `None` where nothing is."""
        kind = danger_in(text)
        return None if kind is None else Safety(kind, tuple(line for line in self.lines if kind in line.kinds))

    def unnamed(self, sure: bool = True) -> Safety:
        """The lines of all kinds, for a danger that nobody named."""
        return Safety(UNNAMED, self.lines, sure)

    def of_reply(self, reply: str) -> Safety | None:
        """The lines of all kinds where a reply sends to somebody who helps; else `None`."""
        return self.unnamed() if SENDS_TO.search(reply) else None
