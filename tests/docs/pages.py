"""Blocks of code on pages of the documentation."""

import re
from pathlib import Path

PAGES = Path(__file__).parents[2] / "docs"


def blocks(page: str) -> list[tuple[str, str]]:
    """Kind, "console" or "python", and text of each block of code of a page, in its order."""
    return re.findall(r"^```(console|python)\n(.*?)^```", page, flags=re.DOTALL | re.MULTILINE)
