"""Hugging Face's docstrings as mkdocstrings reads them, in Google's style: types without marks, [`Name`] as a link."""

import re

from griffe import Extension


ARGUMENT = re.compile(r"^([ \t]+[\w*, ]+) \((.+?)\):", flags=re.MULTILINE)  # name (`type`, *optional*, defaults to x):
RESULT = re.compile(r"^([ \t]+)(`[^`\n]+`|\[`[^`\n]+`\])(?::|$)", flags=re.MULTILINE)  # `type`: what it is
MARKS = re.compile(r", \*optional\*.*|[`~]|\[(?=`)|(?<=`)\]")  # what is optional, and its default, the signature says
LINK = re.compile(r"\[`~?([\w.]+)`\]")


class HuggingFaceDocstrings(Extension):
    """Rewrites every docstring of a package once the package is read."""

    def on_package(self, *, pkg, **kwargs):
        found = list(walk(pkg))
        paths = {one.name: one.path for one in found if one.is_class or one.is_function}
        for one in found:
            if one.docstring:
                one.docstring.value = rewritten(one.docstring.value, paths)


def walk(thing):
    """A module, class or function, and all that is defined in it."""
    yield thing
    for member in thing.members.values():
        if not member.is_alias:
            yield from walk(member)


def rewritten(text: str, paths: dict[str, str]) -> str:
    """One docstring; a name without a place in the reference stays code."""

    def link(match):
        head, dot, rest = match[1].partition(".")
        return f'<autoref identifier="{paths.get(head, head)}{dot}{rest}" optional>`{match[1]}`</autoref>'

    text = ARGUMENT.sub(lambda match: f"{match[1]} ({MARKS.sub('', match[2])}):", text)
    text = RESULT.sub(lambda match: f"{match[1]}{MARKS.sub('', match[2])}:", text)
    return LINK.sub(link, text)
