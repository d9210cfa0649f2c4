"""Makes text from outside safe to show: no file name, transcript or reply moves the cursor or turns words around."""

import unicodedata


# Joiners within words of several scripts and within emoji; other invisible characters of format are shown.
JOINERS = "\u200c\u200d"
# Control, format, half of a surrogate pair, separators of lines and paragraphs.
UNSEEN = ("Cc", "Cf", "Cs", "Zl", "Zp")


def printable(text: str, lines: bool = False) -> str:
    r"""
    The text with control characters, terminal escapes, marks of writing direction and halves of surrogate pairs
    written out, such as `\x1b`.

    Args:
        text (`str`): Anything.
        lines (`bool`, *optional*, defaults to `False`): Whether line breaks and tabs stay, as in a reply.
    """
    kept = JOINERS + "\n\t" if lines else JOINERS
    return "".join(
        character
        if character in kept or unicodedata.category(character) not in UNSEEN
        else character.encode("unicode_escape").decode("ascii")
        for character in text
    )
