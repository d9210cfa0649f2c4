"""Which room of the package may import which: low rooms first, and nothing upwards or sideways."""

import ast
from collections import defaultdict
from pathlib import Path

import pytest


PACKAGE = Path(__file__).parent.parent / "src" / "transformers_empathav"

# A room may import those named here and no others. A new arrow is a decision: say why in docs/architecture.md.
TENSORS = {"modeling", "processing"}
ARROWS = {
    "modeling": set(),
    "processing": set(),
    "hub": {"modeling"},  # a push loads an adapter onto its base, to see that the two fit
    "checkpoint": TENSORS | {"hub"},
    "testing": TENSORS | {"checkpoint"},
    "data": {"modeling", "checkpoint"},
    "emotion": TENSORS | {"checkpoint", "data"},
    "measures": {"data", "emotion"},
    "writers": TENSORS | {"checkpoint", "data"},
    "pairs": {"modeling", "data", "emotion", "measures"},
    "training": TENSORS | {"hub", "checkpoint", "data", "measures"},
    "evaluation": TENSORS | {"checkpoint", "data", "emotion", "measures", "writers", "training"},
    "chat": TENSORS | {"checkpoint"},
    "cli": TENSORS | {"hub", "checkpoint", "data", "emotion", "evaluation", "chat"},
}
# Rooms within a room: none of these imports another; what they share lies beside them.
APART = {
    "training": ("extractor", "compressor", "replies", "epo", "scorer", "faces"),
    "evaluation": ("replies", "clips", "texts", "faces"),
}


def imported(path: Path) -> set[tuple[str, ...]]:
    """Modules of the package that a file imports, anywhere in it, as their folders and name."""
    found, here = set(), path.relative_to(PACKAGE).parent.parts
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names = [name.name for name in node.names]
            found |= {tuple(name.split(".")[1:]) for name in names if name.split(".")[0] == PACKAGE.name}
        elif isinstance(node, ast.ImportFrom):
            parts = tuple((node.module or "").split(".")) if node.module else ()
            if node.level:
                base = here[: len(here) - node.level + 1] + parts
                found |= {base} if parts else {(*base, name.name) for name in node.names}
            elif parts[:1] == (PACKAGE.name,):
                found.add(parts[1:])
    return {parts for parts in found if parts and parts[0] in ARROWS}


FILES = sorted(path for path in PACKAGE.rglob("*.py") if path.parent != PACKAGE)


def test_every_room_is_known():
    assert {path.name for path in PACKAGE.iterdir() if path.is_dir() and any(path.rglob("*.py"))} == set(ARROWS)
    assert [path.name for path in PACKAGE.glob("*.py")] == ["__init__.py"]


def test_no_file_imports_a_room_that_it_may_not():
    wrong = []
    for path in FILES:
        room = path.relative_to(PACKAGE).parts[0]
        for parts in imported(path):
            if parts[0] != room and parts[0] not in ARROWS[room]:
                wrong.append(f"{path.relative_to(PACKAGE)} imports {'.'.join(parts)}")
    assert not wrong, "\n".join(sorted(wrong))


def test_no_allowed_arrow_is_unused():
    used = defaultdict(set)
    for path in FILES:
        used[path.relative_to(PACKAGE).parts[0]] |= {parts[0] for parts in imported(path)}
    unused = {room: sorted(allowed - used[room]) for room, allowed in ARROWS.items() if allowed - used[room]}
    assert not unused


def test_the_rooms_have_an_order():
    done = []
    while len(done) < len(ARROWS):
        following = [room for room, allowed in ARROWS.items() if room not in done and allowed <= set(done)]
        assert following, f"{sorted(set(ARROWS) - set(done))} import each other"
        done += following


@pytest.mark.parametrize("room", APART)
def test_rooms_within_a_room_stand_apart(room):
    wrong = []
    for path in FILES:
        place = path.relative_to(PACKAGE).parts
        if place[0] == room and place[1] in APART[room]:
            others = [parts for parts in imported(path) if parts[0] == room and parts[1] in APART[room]]
            wrong += [f"{'/'.join(place)} imports {'.'.join(parts)}" for parts in others if parts[1] != place[1]]
    assert not wrong, "\n".join(wrong)


def test_the_detector_sees_arrows_within_functions(tmp_path, monkeypatch):
    monkeypatch.setattr(f"{__name__}.PACKAGE", tmp_path / PACKAGE.name)
    folder = tmp_path / PACKAGE.name / "hub"
    folder.mkdir(parents=True)
    lines = ["from ..chat.web import page", "from .. import cli", f"import {PACKAGE.name}.pairs.kinds"]
    body = "def f():\n" + "".join(f"    {line}\n" for line in lines)
    (folder / "card.py").write_text(body)
    assert imported(folder / "card.py") == {("chat", "web"), ("cli",), ("pairs", "kinds")}
