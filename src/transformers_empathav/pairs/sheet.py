"""Pairs to read, on one HTML page that needs neither scripts nor a network."""

import os
import random
from collections.abc import Sequence
from html import escape
from pathlib import Path

from ..data.replies import text_of
from .choose import CHOSEN


STYLE = """
body { font: 15px/1.45 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; color: #222 }
article { border-top: 2px solid #ccc; padding: .5rem 0 1rem } h2 { margin-top: 2.5rem }
table { border-collapse: collapse; width: 100%; font-size: 14px } td, th { text-align: left; padding: .15rem .5rem }
td.n, th.n { text-align: right; font-variant-numeric: tabular-nums } tr.chosen { background: #fdecea }
.right { background: #e8f5e9; padding: .1rem .4rem } .who { color: #777; display: inline-block; width: 6rem }
"""
HEADINGS = ("asked", "reply", "distance", "context", "length", "obedience", "reason")


def write_sheet(path: str | os.PathLike, pairs: dict[str, Sequence[dict]], count: int, seed: int = 0):
    r"""
    Writes a page with pairs of each kind, drawn at random, with their contexts and all candidates.

    Args:
        path (`str` or `os.PathLike`): The page.
        pairs (`dict[str, Sequence[dict]]`): Rows of [`make_pairs`] for each kind.
        count (`int`): Pairs of each kind at most.
        seed (`int`, *optional*, defaults to 0): Of the draw.
    """
    body = []
    for kind, rows in pairs.items():
        drawn = random.Random(seed).sample(list(rows), min(count, len(rows)))
        body.append(f"<h2>{escape(kind)}: {len(drawn)} of {len(rows)}, drawn at random</h2>")
        body += [article(row) for row in drawn]
    page = (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Preference pairs</title>'
        f"<style>{STYLE}</style></head><body><h1>Preference pairs</h1><p>The page holds sentences of the corpus: mind "
        f"its licence before you pass it on. Green: the chosen reply; red: the rejected one.</p>{''.join(body)}"
        "</body></html>\n"
    )
    Path(path).write_text(page, encoding="utf-8")


def article(row: dict) -> str:
    """HTML of one pair."""
    said = "".join(
        f'<div><span class="who">{escape(message["role"])}</span>{escape(text_of(message))}</div>'
        for message in row["prompt"]
    )
    head = "".join(f"<th{'' if name in ('asked', 'reply', 'reason') else ' class=n'}>{name}</th>" for name in HEADINGS)
    lines = "".join(line(candidate) for candidate in row["candidates"])
    return (
        f'<article><small>{escape(row["id"])}</small>{said}<p><span class="right">'
        f"{escape(row['chosen'][0]['content'])}</span> ({escape(row['emotion'])}, by {escape(row['emotion_by'])})</p>"
        f"<table><tr>{head}</tr>{lines}</table></article>"
    )


def line(candidate: dict) -> str:
    """A table row with one candidate and its scores."""
    numbers = "".join(
        f'<td class="n">{candidate[name]:.2f}</td>'
        for name in ("emotional_distance", "contextual_similarity", "length_ratio", "obedience")
    )
    return (
        f"<tr{' class=chosen' if candidate['reason'] == CHOSEN else ''}><td>{escape(candidate['emotion'])}</td>"
        f"<td>{escape(candidate['text'])}</td>{numbers}<td>{escape(candidate['reason'])}</td></tr>"
    )
