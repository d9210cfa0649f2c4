"""SECURITY.md says what the code does."""

import re
from dataclasses import asdict
from pathlib import Path

from transformers_empathav.processing.media_limits_empathav import MediaLimits
from transformers_empathav.processing.media_photos_empathav import _FORMATS
from transformers_empathav.processing.media_urls_empathav import _MAX_REDIRECTS


TEXT = (Path(__file__).parent.parent / "SECURITY.md").read_text(encoding="utf-8")


def test_the_limits_are_those_of_the_code():
    rows = re.findall(r"^\| .* \| ([\d,]+)[ \w]* \| `(\w+)` \|$", TEXT, flags=re.MULTILINE)
    stated = {name: float(figure.replace(",", "")) for figure, name in rows}
    limits = asdict(MediaLimits())
    assert stated == {name: limits[name] for name in limits if name not in ("max_side", "min_share")}
    assert all(name in TEXT for name in _FORMATS) and _MAX_REDIRECTS == 5 and "five\n  redirects" in TEXT


def test_what_it_names_is_there():
    root = Path(__file__).parent.parent
    for name in re.findall(r"`([\w/]+\.py)`", TEXT):
        assert (root / name).is_file() or (root / "src" / "transformers_empathav" / name).is_file(), name
    assert re.search(r"^fuzz:", (root / "Makefile").read_text(), flags=re.MULTILINE)
